"""A session's state: its base, adapters, active and merged adapter, and the guard on each change.

Knows the base, its slots and the adapters; knows no verb. A failed lookup raises an error that
lists what exists and the command to type. Importing this does not import torch.
"""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic.adapters.spec import BASE_NAME, valid_name
from lora_magic.errors import AdapterError, BaseModelError, StateError, listed, near
from lora_magic.interrupts import undisturbed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lora_magic.adapters.live_adapter import Adapter, LiveAdapter, Record
    from lora_magic.adapters.slots import Slots
    from lora_magic.base.model import BaseModel, BaseRecord
    from lora_magic.base.prompt import PromptForm

    from .ledger import Run
    from .serving import Server


#: How many of the prompts that were answered are remembered.
ASKED = 10


def libraries_imported() -> bool:
    """Has `import_libraries` nothing left to do?"""
    return "lora_magic.adapters.bridge.library" in sys.modules


def import_libraries() -> None:
    """Import torch, transformers, peft and all of ours that needs them: some seconds.

    An interrupted import of torch cannot be repeated in the same process, so ■ is deferred.
    """
    with undisturbed():
        import torch  # noqa: F401

        from lora_magic.adapters import attach, bridge  # noqa: F401
        from lora_magic.base import load  # noqa: F401


#: The session that uses a model, by each of the model's modules; ends with either of them.
_users: weakref.WeakKeyDictionary[nn.Module, weakref.ref[SessionState]] = (
    weakref.WeakKeyDictionary()
)


def refuse_taken(model: nn.Module, state: SessionState) -> None:
    """Raise `BaseModelError` if another session uses the model or a part of it."""
    if _user(model, state) is not None:
        # A session that nobody can reach any more may wait for the garbage collector.
        gc.collect()
    if _user(model, state) is not None:
        raise BaseModelError(
            "this model belongs to another session, which has frozen it and may have an adapter in "
            "it; first type %lora reset there (in Python: session.reset())."
        )


def _user(model: nn.Module, state: SessionState) -> SessionState | None:
    """Another session that uses one of the model's modules."""
    for module in model.modules():
        user = _users.get(module, lambda: None)()
        if user is not None and user is not state:
            return user
    return None


@dataclass(frozen=True, eq=False)
class Adopted:
    """What a session begins with after `use` of a PeftModel: its adapters, and which is active."""

    slots: Slots
    attached: Mapping[str, LiveAdapter]
    active: str
    modules: Mapping[str, nn.Module]


@dataclass(frozen=True, eq=False)
class View:
    """What the session holds between two verbs, for readers in other threads."""

    base: BaseModel | None = None
    form: PromptForm | None = None
    attached: tuple[tuple[LiveAdapter, Record], ...] = ()
    active: str = BASE_NAME
    merged: str | None = None
    changed: bool = False
    key: tuple[object, ...] = ()

    def adapters(self) -> dict[str, Adapter]:
        """The adapters' records by name."""
        return {a.name: a.record(a.name == self.active, record) for a, record in self.attached}

    def record(self) -> BaseRecord | None:
        """The base's record, or None."""
        if self.base is None:
            return None
        form = self.form
        kind = "none: no tokenizer" if form is None else form.kind
        return self.base.record(kind, form.end_token if form else None)


class SessionState:
    """One base, its adapters, which is active, what is merged.

    `key` identifies the load, to recognise its repetition; `changed` is the result of the last full
    check of the base; `base_scores` are the base's own answers, losses and norms, valid while
    it is loaded. `asked` are the last prompts that were answered on this base, each once: an export
    is checked on them. `wrapped` says whether the base came inside a PeftModel. `published` is the
    last view of a session between two verbs; `run` is the training run that the current verb has
    begun, `runs` those of several adapters; `server` is the endpoint over this base, None before
    `serve`.
    """

    def __init__(self) -> None:
        self.key: tuple[object, ...] = ()
        self.attached: dict[str, LiveAdapter] = {}
        self.active = BASE_NAME
        self.merged: str | None = None
        self.changed = False
        self.wrapped = False
        self.published = View()
        self.run: Run | None = None
        self.runs: list[Run] = []
        self.server: Server | None = None
        self.base_scores: dict[object, Any] = {}
        self.asked: deque[str] = deque(maxlen=ASKED)
        self._base: BaseModel | None = None
        self._slots: Slots | None = None
        self._form: PromptForm | None = None
        self._modules: dict[str, nn.Module] = {}

    # The base

    @property
    def empty(self) -> bool:
        """Is no base loaded?"""
        return self._base is None

    @property
    def base(self) -> BaseModel:
        """The base; raises `StateError` when none is loaded."""
        if self._base is None:
            raise StateError("no base model is loaded; type: %lora load demo")
        return self._base

    @property
    def slots(self) -> Slots:
        """The base's slots; raises `StateError` when no base is loaded."""
        _ = self.base
        assert self._slots is not None  # set and cleared with the base
        return self._slots

    @property
    def device(self) -> str:
        """The base's device; the CPU's while none is loaded."""
        return "cpu" if self._base is None else self._base.device.type

    @property
    def slots_now(self) -> Slots | None:
        """The base's slots, or None, for readers in other threads."""
        return self._slots

    def take(
        self, base: BaseModel, key: tuple[object, ...], adopted: Adopted | None = None
    ) -> None:
        """Release the current base and use this one, without adapters or with the adopted ones.

        If it fails it has changed nothing; the caller releases `base`.
        """
        from lora_magic.adapters.slots import Slots
        from lora_magic.base.prompt import PromptForm

        slots = adopted.slots if adopted else Slots(base.model)
        form = None if base.tokenizer is None else PromptForm.of(base.tokenizer)
        with undisturbed():
            self.release()
            self._base, self._slots, self._form, self.key = base, slots, form, key
            for path in ("", *slots.paths()):
                _users[slots.original(path)] = weakref.ref(self)
            if adopted:
                self.wrapped, self.attached = True, dict(adopted.attached)
                self.write(adopted.modules, adopted.active, None)

    def release(self) -> None:
        """Restore the base to its state before `load`; free everything. May be called twice."""
        if self._base is None:
            return
        with undisturbed():
            if self.server is not None:
                self.server.stop()
                self.server = None
            self.slots.write({})
            self._base.release()
            for path in ("", *self.slots.paths()):
                _users.pop(self.slots.original(path), None)
            self._base, self._slots, self._form, self.key = None, None, None, ()
            self.changed, self.wrapped, self.base_scores = False, False, {}
            self.asked.clear()
            self._modules, self.attached, self.active, self.merged = {}, {}, BASE_NAME, None
            # The last view has the base too.
            self.published = View()
        import torch

        # A model's modules form reference cycles: without this their memory is not freed.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # The model may outlive a session that nobody has reset, but not the process, in whose end a
        # module's own names are None.
        if self._base is not None and self._slots is not None and not ending():
            self._slots.write({})
            self._base.release()

    def record(self) -> BaseRecord:
        """The base's record."""
        _ = self.base
        found = self.view().record()
        assert found is not None  # there is a base
        return found

    def view(self) -> View:
        """What the session holds now."""
        attached = tuple((a, a.recorded()) for a in self.attached.values())
        state = (self.active, self.merged, self.changed, self.key)
        return View(self._base, self._form, attached, *state)

    def form_of(self, name: str) -> PromptForm:
        """The prompt form that an adapter was trained in, else the base's own.

        If several adapters are active, it is the first one's.
        """
        self.base.needs_tokenizer()
        first = name.partition(",")[0].partition("=")[0]
        form = self.attached[first].form if first in self.attached else None
        form = form or self._form
        assert form is not None  # a base with a tokenizer has a form
        return form

    def remember(self, prompts: Iterable[str | None]) -> None:
        """Note prompts that were answered, the last ones only; they are in no file."""
        for prompt in prompts:
            if prompt and prompt.strip():
                with suppress(ValueError):
                    self.asked.remove(prompt)
                self.asked.append(prompt)

    # Adapters

    def named(self, name: str) -> LiveAdapter:
        """The adapter of that name; raises `AdapterError` with the near miss."""
        if not isinstance(name, str):
            raise AdapterError(
                f"adapter {name!r}: expected a name; attached: {listed(self.attached)}."
            )
        if name in self.attached:
            return self.attached[name]
        if name == BASE_NAME:
            raise AdapterError(f"base is not an adapter; attached: {listed(self.attached)}.")
        raise AdapterError(
            f"no adapter {name!r}; attached: {listed(self.attached)}.{near(name, self.attached)} "
            f"To create it, type: %lora attach {valid_name(name)}"
        )

    def named_or_active(self, name: str | None, verb: str) -> LiveAdapter:
        """The adapter of that name, or the active one when no name is given."""
        _ = self.base
        if name is None and self.active == BASE_NAME:
            raise StateError(
                f"{verb}: no adapter is active; attached: {listed(self.attached)}. "
                f"Type: %lora {verb} NAME"
            )
        if name is None and self.active not in self.attached:
            raise StateError(
                f"{verb}: several adapters are active ({self.active}); name one (%lora {verb} "
                f"NAME), or blend them: %lora blend NEW {self.active.replace(',', ' ')}"
            )
        return self.named(name or self.active)

    def activate(self, name: str) -> None:
        """Write an adapter's replacements into the slots, or the originals for "base"."""
        self.write(self.attached[name].replacements if name != BASE_NAME else {}, name, None)

    def activate_several(self, parts: Sequence[tuple[float, str]]) -> str:
        """Activate several adapters, each with its weight; returns their common name.

        A single one with weight 1 is activated as usual. Raises `AdapterError` for one that is not
        attached or cannot be weighted.
        """
        from lora_magic.adapters.mixture import mixed

        found = [(weight, self.named(name)) for weight, name in parts]
        if len(found) == 1 and found[0][0] == 1:
            self.activate(found[0][1].name)
            return found[0][1].name
        several = [(weight, a.name, a.replacements) for weight, a in found]
        called = ",".join(f"{a.name}={weight:g}" for weight, a in found)
        self.write(mixed(self.slots, several), called, None)
        return called

    @property
    def active_names(self) -> tuple[str, ...]:
        """The active adapters: none for the base, several for a weighted sum."""
        if self.active == BASE_NAME:
            return ()
        return tuple(part.partition("=")[0] for part in self.active.split(","))

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """The modules that the session has written into the slots."""
        return dict(self._modules)

    def write(self, modules: Mapping[str, nn.Module], active: str, merged: str | None) -> None:
        """Write modules into the slots and set the state to match, all or nothing."""
        with self.all_or_nothing():
            self.slots.write(modules)
            self._modules = dict(modules)
            self.active, self.merged = active, merged

    def foreign(self) -> list[str]:
        """The paths of slots into which someone else has put another module."""
        return self._slots.foreign_paths() if self._slots else []

    def restore(self, foreign: Sequence[str] = ()) -> None:
        """Write the session's modules into the slots again if other modules are there.

        Those that were `foreign` before the verb are the person's own, and stay.
        """
        if self._slots is None or self._base is None:
            return
        from lora_magic.adapters import bridge

        if self._slots.written != self._modules or self.foreign() != list(foreign):
            self._slots.restore(self._modules)
        bridge.forget(self._base.model)

    def keep(self, attached: LiveAdapter) -> None:
        """Add an adapter; it replaces one of the same name."""
        if attached.name in self.active_names:
            self.activate(BASE_NAME)
        attached.start_history, attached.start_steps = attached.history, attached.steps
        self.attached[attached.name] = attached

    def unsaved(self) -> list[str]:
        """The adapters trained here or made from others whose current state is not saved.

        A folder that was removed, altered or overwritten since then is no save of theirs.
        """
        made = [a for a in self.attached.values() if a.history.steps or a.history.made]
        if not made:
            return []
        from lora_magic.adapters.store import is_saved

        return [a.name for a in made if not is_saved(a)]

    def saved_in(self, folder: Path) -> list[str]:
        """The adapters whose current state is saved in a folder."""
        from lora_magic.adapters.store import is_saved

        path = folder.resolve() if os.path.isdir(folder) else None
        there = [a for a in self.attached.values() if path is not None and a.saved_to == path]
        return [a.name for a in there if is_saved(a)]

    # Guards

    def refuse_while_merged(self, verb: str) -> None:
        """Raise `StateError` when something is merged."""
        if self.merged is not None:
            raise StateError(
                f"{verb}: {self.merged} is merged into the base; first type: %lora unmerge"
            )

    def refuse_foreign(self, verb: str) -> None:
        """Raise `StateError` if someone has put other modules into the base.

        They would be taken for a library's, or be lost.
        """
        if paths := self.foreign():
            raise StateError(
                f"{verb}: the base was changed from outside the session (another module at "
                f"{listed(paths, 2)}). Put its own back, or type %lora reset, and load it again."
            )

    def changed_names(self) -> tuple[str, ...]:
        """The base's tensors that were replaced or written to since `load`; none is read."""
        return () if self._base is None else self._base.fingerprint.verify(quick=True).changed

    def refuse_loss(self, verb: str, replace: bool) -> None:
        """Raise `StateError` when trained, unsaved adapters would be lost."""
        lost = self.unsaved()
        if lost and not replace:
            raise StateError(
                f"{verb} would lose {listed(lost)}, trained and not saved; save first "
                f"(%lora save {lost[0]}) or add --replace."
            )

    @contextmanager
    def all_or_nothing(self, trained: LiveAdapter | None = None) -> Iterator[None]:
        """On any error or interrupt in the block, restore slots, adapters and state.

        The weights of `trained` are restored with its record, so that the two always agree.
        """
        slots = self.slots
        before = (self._modules, dict(self.attached), self.active, self.merged)
        records = [(a, a.recorded()) for a in self.attached.values()]
        weights: dict[str, Tensor] = trained.state() if trained else {}
        try:
            yield
        except BaseException:
            with undisturbed():
                slots.write(before[0])
                self._modules, self.attached, self.active, self.merged = before
                for attached, record in records:
                    attached.set_record(record)
                if trained:
                    trained.set_state(weights)
            raise
