"""Session: one base model, any number of adapters, which is active, what is merged.

The only mutable public type. Every verb of `%lora` is a method here. A verb that fails, or is
interrupted, leaves the session as it was. Knows every room below it; knows no notebook.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from lora_magic.adapters import attach, bridge, store
from lora_magic.adapters.attached import Adapter, Attached, History
from lora_magic.adapters.count import Ratio, planned
from lora_magic.adapters.merge import MergeReport, merged_module
from lora_magic.adapters.slots import Slots
from lora_magic.adapters.spec import BASE_NAME, AdapterSpec, check_name, seed_of
from lora_magic.adapters.targets import canonical, resolve
from lora_magic.base import load as loading
from lora_magic.base.device import short_name
from lora_magic.base.fingerprint import Verification
from lora_magic.base.model import BaseModel, BaseRecord
from lora_magic.base.prompt import PromptForm
from lora_magic.compare.answer import Answer
from lora_magic.compare.ask import ask
from lora_magic.compare.comparison import Comparison
from lora_magic.compare.run import Voice, compare
from lora_magic.errors import AdapterError, StateError, TrainingStopped, listed, near
from lora_magic.lowrank.spectrum import Spectrum, spectrum_of
from lora_magic.training import encode, rows, run, sources, spec
from lora_magic.training.reporter import Reporter
from lora_magic.training.summary import RunSummary
from .receipt import Receipt
from .status import Status, machine, next_commands

HOME = ".lora_magic"
_PROBE = "How far are the merged and the unmerged answer apart?"
_PROMPT = "What does a fox eat?"


class Session:
    """One base model and its adapters.

    `model` is always the very object that was loaded; calling it answers with the active adapter
    in force. The base is frozen from `load` to `reset`, which gives every flag back. After any
    sequence of verbs, errors and interrupts `verify()` is true.
    """

    def __init__(self) -> None:
        self._base: BaseModel | None = None
        self._key: tuple[object, ...] = ()
        self._slots: Slots | None = None
        self._form: PromptForm | None = None
        self._attached: dict[str, Attached] = {}
        self._active = BASE_NAME
        self._merged: str | None = None
        self.home = Path(HOME)

    # What there is

    @property
    def model(self) -> Any:
        """The base model's own object, with the active adapter's modules in its slots."""
        return self._needs_base().model

    @property
    def tokenizer(self) -> Any:
        """The base model's tokenizer, or None."""
        return self._needs_base().tokenizer

    @property
    def adapters(self) -> Mapping[str, Adapter]:
        """The adapters' records by name, in the order of attaching."""
        return MappingProxyType({name: a.record() for name, a in self._attached.items()})

    @property
    def active(self) -> str:
        """The name of the adapter that answers, or "base"."""
        return self._active

    @property
    def merged(self) -> str | None:
        """The name of the merged adapter, or None."""
        return self._merged

    def status(self) -> Status:
        """What is loaded, attached, active and merged, and what to type next."""
        adapters = self.adapters
        commands = ["%lora load demo"]
        if self._base is not None:
            commands = list(next_commands(adapters, self._active, self._merged, _PROMPT))
        return Status(
            machine=machine(),
            base=None if self._base is None else self._record(),
            unchanged=self._base is None or bool(self.verify(quick=True)),
            adapters=tuple(adapters.values()),
            active=self._active,
            merged=self._merged,
            next_commands=tuple(commands),
        )

    def verify(self, quick: bool = False) -> Verification:
        """Is every bit of the base what it was at load? True as a bool when it is.

        Rereads every parameter and buffer, tied and quantised state too; `quick` compares
        pointers and version counters only, and says so.
        """
        base, slots = self._needs_base(), self._needs_slots()
        found = base.fingerprint.verify(quick)
        strangers = tuple(f"{path} (another module)" for path in slots.strangers())
        if not strangers:
            return found
        changed = (*found.changed, *strangers)
        return Verification(found.tensors, found.bytes, changed, found.quick, found.seconds)

    # The base

    def load(
        self,
        model: str,
        *,
        dtype: str | None = None,
        device: str | None = None,
        trust_remote_code: bool = False,
        home: str | None = None,
        replace: bool = False,
    ) -> BaseRecord:
        """Load a base: "demo", a folder saved by transformers, or a hub id.

        The same load again is instant. Another base while there are trained, unsaved adapters is
        refused with `StateError` unless `replace`.
        """
        key = ("load", str(model), dtype, device, trust_remote_code)
        if self._base is None or key != self._key:
            self._refuse_loss(f"load {model}", replace)
            base = loading.load(
                str(model), dtype=dtype, device=device, trust_remote_code=trust_remote_code
            )
            self._take(base, key)
        if home is not None:
            self.home = Path(home).expanduser()
        return self._record()

    def use(self, model: Any, tokenizer: Any = None, *, replace: bool = False) -> BaseRecord:
        """Take a live model and its tokenizer as the base; nothing is moved or cast.

        Of a PeftModel with LoRA adapters the base and the adapters are adopted.
        """
        key = ("use", id(model), id(tokenizer))
        if self._base is not None and key == self._key:
            return self._record()
        self._refuse_loss("use", replace)
        if self._base is not None and model is self._base.model:
            self.reset()
        if bridge.is_wrapper(model):
            return self._adopt(model, tokenizer, key)
        if isinstance(model, nn.Module):
            bridge.refuse_injected(model)
        self._take(loading.use(model, tokenizer), key)
        return self._record()

    def _adopt(self, wrapper: Any, tokenizer: Any, key: tuple[object, ...]) -> BaseRecord:
        for name in wrapper.peft_config:
            check_name(name)
        active = wrapper.active_adapter
        model, taken = bridge.unwrap(wrapper)
        base = loading.use(model, tokenizer)
        slots = Slots(model)
        attached = {
            name: attach.restore(base, slots, name, bridge.own(config), state, seed_of(name))
            for name, (config, state) in taken.items()
        }
        self._take(base, key)
        self._slots = slots
        self._attached = attached
        self._activate(active if active in attached else BASE_NAME)
        return self._record()

    def _take(self, base: BaseModel, key: tuple[object, ...]) -> None:
        slots = Slots(base.model)
        form = None if base.tokenizer is None else PromptForm.of(base.tokenizer)
        self.reset()
        self._base, self._key, self._slots, self._form = base, key, slots, form

    def _record(self) -> BaseRecord:
        form = self._form
        kind = "none: no tokenizer" if form is None else form.kind
        return self._needs_base().record(kind, form.end_token if form else None)

    def reset(self) -> Receipt:
        """Free everything and give the base back as it was found. May be called twice."""
        if self._base is None:
            return Receipt("nothing is loaded; nothing to reset")
        name, count = self._base.name, len(self._attached)
        self._needs_slots().write({})
        self._base.release()
        self._base, self._slots, self._form, self._key = None, None, None, ()
        self._attached, self._active, self._merged = {}, BASE_NAME, None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return Receipt(f"{name} given back as it was found; {count} adapters freed")

    # Adapters

    def attach(
        self,
        name: str,
        *,
        rank: int | None = None,
        alpha: float | None = None,
        dropout: float | None = None,
        targets: str | Sequence[str] | None = None,
        seed: int | None = None,
        replace: bool = False,
    ) -> Adapter:
        """A new LoRA adapter, active from now on: W = W0 + (α/r)·B·A, B = 0 at first.

        Defaults are the base's recipe; the seed comes from the name. The same spec under the same
        name returns the adapter that is there; another spec is an `AdapterError` that names
        `replace`.
        """
        base, slots = self._needs_base(), self._needs_slots()
        check_name(name)
        self._refuse_while_merged("attach")
        recipe = base.recipe
        wanted = AdapterSpec(
            rank=recipe.rank if rank is None else rank,
            alpha=float(recipe.alpha if alpha is None else alpha),
            dropout=0.0 if dropout is None else float(dropout),
            targets=canonical(recipe.targets if targets is None else targets),
            seed=seed_of(name) if seed is None else seed,
        )
        there = self._attached.get(name)
        if there is None or replace:
            self._keep(attach.create(base, slots, name, wanted))
        elif there.spec != wanted:
            raise AdapterError(
                f"{name!r} is attached with another spec ({there.spec.line} seed "
                f"{there.spec.seed}; asked for {wanted.line} seed {wanted.seed}); "
                f"to start anew, add --replace, or choose another name."
            )
        self._activate(name)
        return self._attached[name].record()

    def detach(self, name: str) -> Receipt:
        """Take an adapter away; if it was active, the base answers."""
        self._needs_base()
        self._refuse_while_merged("detach")
        attached = self._named(name)
        lost = " (its training was not saved)" if attached.history.steps and not attached.saved else ""
        with self._all_or_nothing():
            if self._active == name:
                self._activate(BASE_NAME)
            del self._attached[name]
        return Receipt(f"{name} detached{lost}; {self._active} is active")

    def swap(self, name: str) -> Receipt:
        """Let another adapter answer, or "base"."""
        self._needs_base()
        self._refuse_while_merged("swap")
        if name != BASE_NAME:
            self._named(name)
        self._activate(name)
        return Receipt(f"{name} is active")

    def save(self, name: str | None = None, folder: str | Path | None = None) -> Receipt:
        """Write an adapter in PEFT's format; by default to `.lora_magic/adapters/NAME`."""
        base, slots = self._needs_base(), self._needs_slots()
        attached = self._named_or_active(name, "save")
        target = Path(folder).expanduser() if folder else self.home / "adapters" / attached.name
        size = store.save(base, slots, attached, target)
        attached.saved = True
        return Receipt(
            f"{attached.name} saved to {target} ({size / 1e3:.0f} kB)",
            (("open again", f"%lora open {target} {attached.name}"),),
        )

    def open(
        self, folder: str | Path, name: str | None = None, *, replace: bool = False
    ) -> Adapter:
        """Read an adapter in PEFT's format and activate it.

        `folder` may be the name of an adapter saved at home. Opening the same folder twice
        returns the adapter that is there.
        """
        base, slots = self._needs_base(), self._needs_slots()
        self._refuse_while_merged("open")
        path = Path(folder).expanduser()
        if not path.exists() and (self.home / "adapters" / path).is_dir():
            path = self.home / "adapters" / path
        called = check_name(path.name if name is None else name)
        there = self._attached.get(called)
        if there is not None and not replace:
            if there.source != str(path) or not there.saved:
                raise AdapterError(
                    f"{called!r} is attached already; choose another name "
                    f"(%lora open {folder} NAME) or add --replace."
                )
        else:
            self._keep(store.read(base, slots, path, called))
        self._activate(called)
        return self._attached[called].record()

    # Training

    def train(
        self,
        name: str,
        data: Any = None,
        *,
        text: str | None = None,
        columns: str | None = None,
        format: str | None = None,
        epochs: float | None = None,
        steps: int | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        eval: float | None = None,
        seed: int | None = None,
        template: str | None = None,
        system: str | None = None,
        more: bool = False,
        reporter: Reporter | None = None,
    ) -> RunSummary:
        """Train an adapter on rows, from its recorded beginning, or with `more` from where it is.

        `text` is a cell's body, `data` a frame, list, dataset or path. The loss is on the
        completions only. Stopped by a person (■) the adapter keeps its steps and
        `TrainingStopped` is raised; after any other error it is what it was.
        """
        base = self._needs_base()
        self._refuse_while_merged("train")
        attached = self._named(name)
        tokenizer = base.needs_tokenizer()
        if text is not None:
            examples = rows.read_text(text, format)
        else:
            examples = sources.read_data(data, columns=columns, format=format)
        kept = attached.form if more and template is None and system is None else None
        form = kept or PromptForm.of(tokenizer, template, system)
        plan = spec.plan(
            base.recipe,
            len(examples),
            steps=steps,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            max_length=max_length,
            seed=seed,
            eval=eval,
            context=base.context,
        )
        encoded = encode.encode(examples, tokenizer, form, plan.max_length)
        summary = self._run(attached, encoded, plan, more, reporter)
        attached.form = form
        attached.history = _history(attached.history if more else History(), summary)
        attached.saved = False
        if summary.stopped:
            raise TrainingStopped(
                f"{name} stopped after step {summary.steps} of {summary.planned_steps}; it keeps "
                f"what it learned. To go on, run the cell again with --more."
            )
        return summary

    def _run(
        self, attached: Attached, encoded: Any, plan: Any, more: bool, reporter: Reporter | None
    ) -> RunSummary:
        before = attached.state()
        try:
            with self._all_or_nothing():
                if not more:
                    attached.set_state(attached.start)
                self._activate(attached.name)
                base = self._needs_base()
                with attached.trainable():
                    return run.run(
                        attached.name,
                        base.model,
                        base.tokenizer,
                        encoded,
                        plan,
                        reporter=reporter,
                    )
        except BaseException:
            attached.set_state(before)
            raise

    # Looking

    def ask(
        self,
        prompt: str,
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Answer:
        """Answer a prompt with the active adapter; the most likely tokens unless `temperature`."""
        base = self._needs_base()
        tokenizer = base.needs_tokenizer()
        return ask(
            base.model,
            tokenizer,
            self._form_of(self._active),
            prompt,
            adapter=self._active,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
        )

    def compare(
        self,
        *prompts: str,
        adapters: str | Sequence[str] | None = None,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Comparison:
        """The same prompts answered by the base and by each adapter, with the same seed."""
        base, slots = self._needs_base(), self._needs_slots()
        tokenizer = base.needs_tokenizer()
        names = self._names(adapters) or list(self._attached)
        voices = [self._voice(BASE_NAME), *(self._voice(n) for n in names if n != BASE_NAME)]
        return compare(
            base.model,
            slots,
            tokenizer,
            voices,
            prompts,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
        )

    def _voice(self, name: str) -> Voice:
        form = self._form_of(name)
        if name == BASE_NAME:
            return Voice(BASE_NAME, {}, {}, form)
        attached = self._named(name)
        if name == self._merged:
            return Voice(name, self._needs_slots().written, None, form)
        return Voice(name, attached.replacements, attached.deltas(), form)

    def ratio(
        self,
        name: str | None = None,
        *,
        rank: int | None = None,
        targets: str | Sequence[str] | None = None,
    ) -> Ratio:
        """Trainable parameters against the base's: of an adapter, or of a rank and targets."""
        base, slots = self._needs_base(), self._needs_slots()
        chosen = name or (self._active if self._active != BASE_NAME else None)
        spec_there = self._named(chosen).spec if chosen else None
        if spec_there is not None and rank is None and targets is None:
            attached = self._named(str(chosen))
            return Ratio(
                chosen, spec_there.rank, spec_there.targets, base.parameters, attached.counts
            )
        wanted_rank = rank or (spec_there.rank if spec_there else base.recipe.rank)
        names = targets or (spec_there.targets if spec_there else base.recipe.targets)
        wanted = AdapterSpec(wanted_rank, 1.0, 0.0, canonical(names), 0)
        with slots.held({}):
            counts = planned(base.model, resolve(base.model, wanted.targets), wanted.rank)
        return Ratio(None, wanted.rank, wanted.targets, base.parameters, counts)

    def spectrum(self, *names: str, module: str | None = None) -> Spectrum:
        """The singular values of ΔW of adapters, module by module, from their factors."""
        self._needs_base()
        chosen = list(names)
        if not chosen:
            chosen = [self._active] if self._active != BASE_NAME else list(self._attached)
        if not chosen:
            raise StateError("no adapter is attached, so there is no ΔW; type: %lora attach NAME")
        deltas = {name: self._named(name).deltas() for name in chosen}
        if module is not None:
            deltas = {name: _only(found, module) for name, found in deltas.items()}
        return spectrum_of(deltas)

    # Merging

    def merge(self, name: str | None = None) -> MergeReport:
        """Fold ΔW into copies of the target weights: W = W0 + ΔW, no extra latency.

        The base's tensors are kept as they are, so `unmerge` is exact. Merging what is merged
        does nothing; merging another adapter unmerges first.
        """
        slots = self._needs_slots()
        attached = self._named_or_active(name, "merge")
        dtype = short_name(self._needs_base().placement.dtype)
        if self._merged == attached.name:
            return MergeReport(attached.name, (), dtype, 0.0, 0.0, already=True)
        started = time.perf_counter()
        pairs = {
            path: merged_module(path, slots.original(path), delta)
            for path, delta in attached.deltas().items()
        }
        modules = {path: module for path, (module, _) in pairs.items()}
        difference = self._logit_difference(attached.replacements, modules)
        with self._all_or_nothing():
            slots.write(modules)
            self._merged = self._active = attached.name
        return MergeReport(
            attached.name,
            tuple(row for _, row in pairs.values()),
            dtype,
            difference,
            time.perf_counter() - started,
        )

    def unmerge(self) -> Receipt:
        """Put the base's own weights back, bit for bit; the adapter stays active, unmerged."""
        slots = self._needs_slots()
        if self._merged is None:
            raise StateError("nothing is merged; to merge, type: %lora merge NAME")
        name = self._merged
        with self._all_or_nothing():
            slots.write(self._attached[name].replacements)
            self._merged = None
        return Receipt(f"{name} unmerged: the base's own weights are back; {name} is active")

    def _logit_difference(
        self, one: Mapping[str, nn.Module], other: Mapping[str, nn.Module]
    ) -> float:
        base, slots = self._needs_base(), self._needs_slots()
        ids = list(range(8))
        if base.tokenizer is not None:
            ids = list(base.tokenizer(_PROBE, add_special_tokens=False)["input_ids"])
        probe = torch.tensor([ids[: base.context]], device=base.device)
        logits = []
        for modules in (one, other):
            with slots.held(modules), torch.no_grad():
                logits.append(base.model(input_ids=probe).logits.float())
        return float((logits[0] - logits[1]).abs().max())

    # What the verbs share

    def _needs_base(self) -> BaseModel:
        if self._base is None:
            raise StateError("no base model is loaded; type: %lora load demo")
        return self._base

    def _needs_slots(self) -> Slots:
        self._needs_base()
        assert self._slots is not None  # slots come and go with the base
        return self._slots

    def _named(self, name: str) -> Attached:
        if name in self._attached:
            return self._attached[name]
        if name == BASE_NAME:
            raise AdapterError("base is no adapter: it has no ΔW; name one of the adapters.")
        there = list(self._attached)
        raise AdapterError(
            f"no adapter {name!r}; attached: {listed(there)}.{near(name, there)} "
            f"To make it, type: %lora attach {name}"
        )

    def _named_or_active(self, name: str | None, verb: str) -> Attached:
        self._needs_base()
        if name is None and self._active == BASE_NAME:
            raise StateError(
                f"{verb}: no adapter is active; attached: {listed(self._attached)}. "
                f"Type: %lora {verb} NAME"
            )
        return self._named(name or self._active)

    def _names(self, adapters: str | Sequence[str] | None) -> list[str]:
        if adapters is None:
            return []
        parts = adapters.split(",") if isinstance(adapters, str) else list(adapters)
        names = [part.strip() for part in parts if part.strip()]
        return list(dict.fromkeys(names))

    def _form_of(self, name: str) -> PromptForm:
        form = self._attached[name].form if name in self._attached else None
        form = form or self._form
        assert form is not None  # there is a tokenizer: the callers asked for it
        return form

    def _activate(self, name: str) -> None:
        replacements = self._attached[name].replacements if name != BASE_NAME else {}
        with self._all_or_nothing():
            self._needs_slots().write(replacements)
            self._active = name

    def _keep(self, attached: Attached) -> None:
        if self._active == attached.name:
            self._activate(BASE_NAME)
        self._attached[attached.name] = attached

    def _refuse_while_merged(self, verb: str) -> None:
        if self._merged is not None:
            raise StateError(
                f"{verb}: {self._merged} is merged into the base; first type: %lora unmerge"
            )

    def _refuse_loss(self, verb: str, replace: bool) -> None:
        lost = [n for n, a in self._attached.items() if a.history.steps and not a.saved]
        if lost and not replace:
            raise StateError(
                f"{verb}: {listed(lost)} is trained and not saved; save it (%lora save {lost[0]}) "
                "or add --replace."
            )

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Whatever is raised within, an interrupt too: slots, active and merged as before."""
        slots = self._needs_slots()
        before = (slots.written, dict(self._attached), self._active, self._merged)
        try:
            yield
        except BaseException:
            _insist(lambda: slots.write(before[0]))
            self._attached, self._active, self._merged = before[1], before[2], before[3]
            raise


def _insist(restore: Callable[[], None]) -> None:
    """Finish a restoration even when ■ is pressed again in the middle of it."""
    while True:
        try:
            restore()
        except KeyboardInterrupt:
            continue
        return


def _history(before: History, summary: RunSummary) -> History:
    first = before.first_loss if before.steps else summary.first_loss
    return History(before.steps + summary.steps, first, summary.last_loss, summary.examples)


def _only(deltas: Mapping[str, Any], module: str) -> dict[str, Any]:
    """The deltas whose path is `module`, ends with it, or holds it."""
    for test in (
        lambda path: path == module or path.endswith(f".{module}"),
        lambda path: module in path,
    ):
        found = {path: delta for path, delta in deltas.items() if test(path)}
        if found:
            return found
    raise AdapterError(
        f"--module {module}: the adapter has no such module; it has {listed(deltas)}."
        f"{near(module, deltas)}"
    )
