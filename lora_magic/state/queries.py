"""Reads a session's state and changes nothing: variants, counts, board, status."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lora_magic.adapters.build import refuse_zero_outputs
from lora_magic.adapters.coverage import left_out
from lora_magic.adapters.files import saved_in
from lora_magic.adapters.live_adapter import LiveAdapter, stackable
from lora_magic.adapters.spec import BASE_NAME, AdapterSpec
from lora_magic.adapters.store import is_saved_as
from lora_magic.adapters.targets import canonical, leaf_names
from lora_magic.base import DEMO
from lora_magic.compare.stack import Variant
from lora_magic.cost.count import ParameterCount, planned
from lora_magic.errors import AdapterError, PromptError, listed, near
from lora_magic.evaluation.board import Board, board_of

from .resolve import resolve_spec
from .session_state import SessionState, View
from .status import Status, machine, next_commands

if TYPE_CHECKING:
    from .session import Session

#: The prompt to suggest on the embedded model, which knows the answer.
_DEMO_PROMPT = "What does a fox eat?"
#: The prompt to suggest on any other base, and the text on a classifier.
_PROMPT, _TEXT = "Tell me a short story.", "It was a quiet day."
#: Short prompts of one line, without a character that a magic's line reads in another way.
_TYPABLE = re.compile(r"\w(?:[\w ,.!?:'’]|-(?!-)){0,76}[\w.!?]")


def prompt_of(view: View) -> str:
    """A prompt to suggest: on the embedded model a question that it knows, on any other base one
    that an adapter was trained on, the active adapter's first, else one that suits any base."""
    if view.key[:2] == ("load", DEMO):
        return _DEMO_PROMPT
    now = {part.partition("=")[0] for part in view.active.split(",")}
    for _, record in sorted(view.attached, key=lambda pair: pair[0].name not in now):
        if _TYPABLE.fullmatch(record.example):
            return record.example
    return _TEXT if view.base is not None and view.base.task.classifies else _PROMPT


def variants(state: SessionState, adapters: str | Sequence[str] | None) -> list[Variant]:
    """The base and the named adapters as columns of a comparison.

    By default all that were trained or made from others; if there are none, all.
    """
    state.base.needs_tokenizer()
    names = compared(state) if adapters is None else adapter_names(adapters)
    weighted = next((name for name in names if "=" in name and name != state.active), None)
    if weighted:
        raise AdapterError(
            f"{weighted!r}: expected the name of an adapter. To average the probabilities of "
            "several, add --mix a=0.7,b=0.3; to mix their weights, type: %lora swap a=0.7,b=0.3"
        )
    if adapters is None and len(state.active_names) > 1:
        names.append(state.active)
    return [variant(state, name) for name in dict.fromkeys([BASE_NAME, *names])]


def compared(state: SessionState) -> list[str]:
    """The adapters in a comparison that names none: those with something to show, or all.

    The merged one is among them: without it, its column would be missing from its own model.
    """
    ready = [n for n, a in state.attached.items() if a.history.ready or n == state.merged]
    return ready or list(state.attached)


def untrained(state: SessionState, names: Iterable[str]) -> set[str]:
    """Those of the names ("base" too) whose classification head is random and untrained."""
    if not state.base.task.fresh:
        return set()
    trained = {n for n, a in state.attached.items() if a.history.steps or a.history.elsewhere}
    return (state.attached.keys() - trained | {BASE_NAME}) & set(names)


def usable_context(state: SessionState, names: Sequence[str]) -> int:
    """Tokens available for a prompt and its answer: the context minus the virtual tokens."""
    virtual = [state.attached[name].tokens for name in names if name in state.attached]
    return state.base.context - max(virtual, default=0)


def flat(prompts: Sequence[Any]) -> list[str]:
    """All prompts in one list; each argument is a prompt, a list, or a pandas or numpy column."""
    texts: list[str] = []
    for given in prompts:
        column = given.tolist() if hasattr(given, "tolist") else given
        texts += column if isinstance(column, list | tuple) else [column]
    odd = [prompt for prompt in texts if not isinstance(prompt, str)]
    if odd:
        raise PromptError(f"expected a prompt as text, got {type(odd[0]).__name__}.")
    return texts


def adapter_names(adapters: str | Sequence[str]) -> list[str]:
    """The names in a list or a comma-separated string; they need not be attached."""
    parts = adapters.split(",") if isinstance(adapters, str) else adapters
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise AdapterError(f"adapters {adapters!r}: expected names, as in adapters=['pirate'].")
    names = [part.strip() for part in parts]
    if not names or not all(names):
        raise AdapterError(
            f"adapters {adapters!r}: a name is blank; type several as calm,pirate, or none for all."
        )
    return names


def variant(state: SessionState, name: str) -> Variant:
    """The base or an adapter as it answers; raises `AdapterError` for one that is not attached."""
    if name == BASE_NAME:
        return Variant(BASE_NAME, {}, {}, state.form_of(BASE_NAME))
    form = state.form_of(name)
    if name == state.active and len(state.active_names) > 1:
        return Variant(name, state.modules, stackable(state.modules), form)
    attached = state.named(name)
    if name == state.merged:
        # The merged copies are in the slots, so they are compared.
        return Variant(name, state.slots.written, None, form)
    return Variant(name, attached.replacements, attached.stackable(), form)


def ratio(state: SessionState, name: str | None, flags: Mapping[str, Any]) -> ParameterCount:
    """The counts of an adapter, or of the one that these flags of `attach` would make."""
    base = state.base
    attached = _one(state, name)
    if attached is not None and all(value is None for value in flags.values()):
        given = (attached.name, attached.spec, base.parameters, attached.counts)
        return ParameterCount(*given, left_out=attached.left_out)
    spec = spec_of(state, name, flags)
    shapes = state.slots.shapes
    counts = planned(shapes, spec, base.task.head)
    if spec.dora:
        refuse_zero_outputs(state.slots, [count.module for count in counts if count.rank])
    without = left_out(shapes, [count.module for count in counts if count.rank])
    return ParameterCount(None, spec, base.parameters, counts, left_out=without)


def spec_of(state: SessionState, name: str | None, flags: Mapping[str, Any]) -> AdapterSpec:
    """The spec of an adapter, by default the active one, changed by these flags of `attach`.

    With `method`, without an active adapter, or if the active one does not read the flags: the spec
    of a new adapter.
    """
    changed = {flag: value for flag, value in flags.items() if value is not None}
    attached = _one(state, name)
    fits = attached and (name is not None or all(map(attached.method.reads, changed)))
    if attached is None or "method" in changed or not fits:
        return resolve_spec("plan", state.base.recipe, changed)
    if "targets" in changed:
        changed["targets"] = canonical(changed["targets"])
    return replace(attached.spec, **{"rank_pattern": (), "alpha_pattern": (), **changed})


def _one(state: SessionState, name: str | None) -> LiveAdapter | None:
    """The adapter of that name, else the active one; None if none or several are active."""
    chosen = name or (state.active if state.active in state.attached else None)
    return state.named(chosen) if chosen else None


def board(view: View, names: Sequence[str], sort: str | None) -> Board:
    """The board of the named adapters, or of all, sorted by a column if one is given.

    Raises `AdapterError` for names that are not attached, `CommandError` for an unknown column.
    """
    records = view.adapters()
    if unknown := [name for name in names if name not in records]:
        raise AdapterError(
            f"board: no adapter{'s' * (len(unknown) > 1)} {listed(map(repr, unknown))}; "
            f"attached: {listed(records) or 'none'}.{near(unknown[0], records)}"
        )
    found = board_of(
        (
            records[attached.name],
            record.run,
            str(record.saved_to) if is_saved_as(record.saved_to, record.saved_as) else "",
        )
        for attached, record in view.attached
        if attached.name in names or not names
    )
    return found if sort is None else found.sorted(sort)


def status(view: View, unchanged: bool, resumable: Sequence[str] = ()) -> Status:
    """What is loaded, attached, active and merged, what can be resumed, and what to type next."""
    commands: Sequence[str] = ["%lora load demo"]
    adapters = view.adapters()
    if view.base is not None:
        prompt = prompt_of(view) if view.base.tokenizer is not None else None
        commands = next_commands(adapters, view.active, view.merged, prompt)
    return Status(
        machine=machine(),
        base=view.record(),
        unchanged=unchanged,
        adapters=tuple(adapters.values()),
        active=view.active,
        merged=view.merged,
        next_commands=tuple(commands),
        resumable=tuple(resumable),
    )


# Names for completion: nothing is loaded or computed, even while the model is busy.


def attached_names(session: Session) -> list[str]:
    """The attached adapters."""
    return list(session._state.attached)


def module_names(session: Session) -> list[str]:
    """The kinds of module that an adapter can target, as `q_proj`, whatever is in the slots now."""
    slots = session._state.slots_now
    if slots is None:
        return []
    return leaf_names(path for path, m in slots.shapes.modules.items() if m.carries_lora)


def saved_names(session: Session) -> list[str]:
    """The adapters saved in the home folder."""
    return saved_in(session.home / "adapters")
