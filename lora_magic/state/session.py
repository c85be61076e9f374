"""Session: one base model, any number of adapters, which is active, what is merged.

The only mutable public type. Every verb of `%lora` is a method here; what a verb does is in the
files beside this one and in the rooms below. A verb that fails, or is interrupted, leaves the
session as it was. Knows no notebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace as replaced
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lora_magic.adapters import attach, files, store
from lora_magic.adapters.combine import Compression
from lora_magic.adapters.count import ParameterCount
from lora_magic.adapters.live_adapter import Adapter
from lora_magic.adapters.merge import MergeReport
from lora_magic.adapters.spec import BASE_NAME, check_name
from lora_magic.base import load as loading
from lora_magic.base.fingerprint import Verification
from lora_magic.base.model import BaseRecord
from lora_magic.base.task import names_of
from lora_magic.compare import classify as classifying
from lora_magic.compare.answer import Answer
from lora_magic.compare.ask import ask
from lora_magic.compare.comparison import Comparison
from lora_magic.compare.prediction import Classification, Prediction
from lora_magic.compare.run import Follow, compare
from lora_magic.errors import AdapterError, CommandError, listed
from lora_magic.lowrank.spectrum import Spectrum
from lora_magic.paths import path_of, quoted
from lora_magic.training import rows, sources
from lora_magic.training.reporter import Reporter
from lora_magic.training.summary import RunSummary

from . import adopt, combining, merging, queries
from .panel import Panel
from .receipt import Receipt
from .resolve import parts_of, resolve_spec
from .session_lock import SessionLock
from .session_state import SessionState
from .status import Status
from .train import train
from .transaction import transactional

HOME = ".lora_magic"


class Session:
    """One base model and its adapters.

    `model` is always the very object that was loaded; calling it answers with the active adapter
    in force. The base is frozen from `load` to `reset`, which gives every flag back. After any
    sequence of verbs, errors and interrupts `verify()` is true.
    """

    def __init__(self) -> None:
        self._state = SessionState()
        self._lock = SessionLock()
        self.home = Path(HOME)

    # What there is

    def __repr__(self) -> str:
        return f"<Session: {self.status().line}>"

    @property
    def model(self) -> Any:
        """The base model's own object, with the active adapter's modules in its slots.

        Waits for a control that answers, since others stand there meanwhile; off the main thread it
        raises `StateError` instead, as `verify` and every verb do.
        """
        with self._lock.turn():
            return self._state.base.model

    @property
    def tokenizer(self) -> Any:
        """The base model's tokenizer, or None."""
        return self._state.base.tokenizer

    @property
    def adapters(self) -> Mapping[str, Adapter]:
        """The adapters' records by name, in the order of attaching."""
        return MappingProxyType(
            {name: a.record(name == self.active) for name, a in self._state.attached.items()}
        )

    @property
    def active(self) -> str:
        """The name of the adapter that answers, or "base"."""
        return self._state.active

    @property
    def merged(self) -> str | None:
        """The name of the merged adapter, or None."""
        return self._state.merged

    def status(self) -> Status:
        """What is loaded, attached, active and merged, and what to type next."""
        unchanged = self._state.empty or (not self._state.changed and bool(self.verify(quick=True)))
        return queries.status(self._state, self.adapters, unchanged)

    def verify(self, quick: bool = False) -> Verification:
        """Is every bit of the base what it was at load? True as a bool when it is.

        Rereads every parameter and buffer, tied and quantised state too; `quick` compares
        pointers and version counters only, and says so.
        """
        # A slot that is being written would be taken for a stranger's.
        with self._lock.turn():
            found = self._state.base.fingerprint.verify(quick)
            strangers = tuple(f"{path} (another module)" for path in self._state.slots.strangers())
            found = replaced(found, changed=(*found.changed, *strangers))
            if not quick:
                self._state.changed = not found
            return found

    # The base

    @transactional
    def load(
        self,
        model: str,
        *,
        bits: int | None = None,
        dtype: Any = None,
        device: str | None = None,
        task: str = "causal",
        labels: Any = None,
        trust_remote_code: bool = False,
        home: str | None = None,
        replace: bool = False,
    ) -> BaseRecord:
        """Load a base: "demo", a folder saved by transformers, or a hub id.

        `bits` quantises the linear layers: 4 for NF4 with double quantisation (QLoRA's base), 8
        for int8. `dtype` is a name or one of torch's; without it, and without `device`, both are
        chosen.
        With `task` "classification" the base gives a text one of `labels`: a list of names, names
        with commas, a number, or a column whose distinct values are taken. The same load again is
        instant. Another base while there are trained, unsaved adapters is refused with `StateError`
        unless `replace`.
        """
        home_folder = self.home if home is None else path_of(home, "--home")
        named = None if labels is None else names_of(labels)
        key = ("load", str(model), bits, str(dtype), str(device), trust_remote_code, task, named)
        if key != self._state.key:
            self._state.refuse_loss(f"load {model}", replace)
            base = loading.load(
                str(model),
                bits=bits,
                dtype=dtype,
                device=device,
                trust_remote_code=trust_remote_code,
                task=task,
                labels=named,
            )
            self._state.take(base, key)
        self.home = home_folder
        return self._state.record()

    @transactional
    def use(self, model: Any, tokenizer: Any = None, *, replace: bool = False) -> BaseRecord:
        """Take a live model and its tokenizer as the base; nothing is moved or cast.

        Of a PeftModel with LoRA adapters the base and copies of the adapters are adopted; `reset`
        gives it back with its own layers in place.
        """
        key = ("use", id(model), id(tokenizer))
        state = self._state
        if key == state.key:
            return state.record()
        state.refuse_loss("use", replace)
        adopt.adopt_model(state, model, tokenizer, key)
        return state.record()

    @transactional
    def reset(self) -> Receipt:
        """Free everything and give the base back as it was found. May be called twice."""
        if self._state.empty:
            return Receipt("nothing is loaded; nothing to reset")
        name, count = self._state.base.name, len(self._state.attached)
        lost = self._state.unsaved()
        found = self.verify()
        self._state.release()
        state = "as it was found"
        if not found:
            state = f"CHANGED from outside the session in {len(found.changed)} tensors"
        freed = f"{count} adapter{'s' * (count != 1)} freed"
        told = f" (trained and not saved: {listed(lost)})" if lost else ""
        return Receipt(f"{name} given back {state}; {freed}{told}")

    # Adapters

    @transactional
    def attach(
        self,
        name: str,
        *,
        method: str | None = None,
        rank: int | None = None,
        alpha: float | None = None,
        dropout: float | None = None,
        targets: str | Sequence[str] | None = None,
        init: str | None = None,
        rslora: bool | None = None,
        dora: bool | None = None,
        bias: str | None = None,
        norms: bool | None = None,
        rank_pattern: str | Mapping[str, int] | None = None,
        alpha_pattern: str | Mapping[str, float] | None = None,
        virtual_tokens: int | None = None,
        for_: str | None = None,
        seed: int | None = None,
        replace: bool = False,
    ) -> Adapter:
        """A new adapter, active from now on. LoRA unless `method` says otherwise: W = W0 + s·B·A.

        What each flag means is said at `AdapterSpec`, what each method can do in the table of
        `lora_magic.adapters.methods`. `for_` (style, instructions, domain) sets rank, alpha and
        targets by use. Other defaults are the base's recipe; the seed comes from the name. The same
        spec under the same name returns the adapter that is there; another spec is an
        `AdapterError` that names `replace`.
        """
        state = self._state
        flags = {
            "method": method,
            "rank": rank,
            "alpha": alpha,
            "dropout": dropout,
            "targets": targets,
            "init": init,
            "rslora": rslora,
            "dora": dora,
            "bias": bias,
            "norms": norms,
            "rank_pattern": rank_pattern,
            "alpha_pattern": alpha_pattern,
            "virtual_tokens": virtual_tokens,
            "for_": for_,
            "seed": seed,
        }
        recipe = state.base.recipe
        check_name(name)
        state.refuse_while_merged("attach")
        spec = resolve_spec(name, recipe, flags)
        there = state.attached.get(name)
        if there is not None and there.spec != spec and not replace:
            raise AdapterError(
                f"{name!r} is attached with another spec ({there.spec.difference(spec)}); to start "
                "anew, add --replace, or choose another name."
            )
        with state.all_or_nothing():
            if there is None or replace:
                state.keep(attach.create(state.base, state.slots, name, spec))
            state.activate(name)
        return state.attached[name].record(active=True)

    @transactional
    def detach(self, name: str) -> Receipt:
        """Take an adapter away; if it was active, the base answers."""
        state = self._state
        _ = state.base
        state.refuse_while_merged("detach")
        state.named(name)
        unsaved = name in state.unsaved()
        with state.all_or_nothing():
            if name in state.together:
                state.activate(BASE_NAME)
            del state.attached[name]
        lost = " (its training was not saved)" if unsaved else ""
        return Receipt(f"{name} detached{lost}; {state.active} is active")

    @transactional
    def swap(self, name: str) -> Receipt:
        """Let another adapter answer, or "base", or several at once: `a=0.7,b=0.3`.

        Of several each changes the base by its weight times what it changes alone; for LoRA that is
        ΔW = Σ wᵢ·ΔWᵢ.
        """
        state = self._state
        _ = state.base
        state.refuse_while_merged("swap")
        parts = parts_of(name) if isinstance(name, str) else None
        if parts is not None:
            called = state.activate_several(parts)
            return Receipt(f"{called} {'are active together' if ',' in called else 'is active'}")
        if name != BASE_NAME:
            state.named(name)
        state.activate(name)
        return Receipt(f"{name} is active")

    @transactional
    def save(self, name: str | None = None, folder: str | Path | None = None) -> Receipt:
        """Write an adapter; by default to `.lora_magic/adapters/NAME`.

        PEFT's format for the methods that PEFT has, and the same folder with a type of ours for the
        others.
        """
        state = self._state
        attached = state.named_or_active(name, "save")
        home = self.home / "adapters" / attached.name
        target = home if folder is None else path_of(folder, "save")
        others = [n for n in state.saved_in(target) if n != attached.name]
        other = others[0] if others else store.other_adapter_in(target, attached)
        if other:
            raise AdapterError(
                f"{target} holds {other}, which was saved there; choose another folder: "
                f"%lora save {attached.name} DIR"
            )
        size = store.save(state.base, state.slots, attached, target)
        attached.saved_to = target.resolve()
        return Receipt(
            f"{attached.name} saved to {target} ({size / 1e3:.0f} kB)",
            (("open again", f"%lora open {quoted(target)} {attached.name}"),),
        )

    @transactional
    def open(
        self,
        folder: str | Path,
        name: str | None = None,
        *,
        other_base: bool = False,
        replace: bool = False,
    ) -> Adapter:
        """Read an adapter, in PEFT's format or ours, and activate it.

        `folder` may be the name of an adapter saved at home, or a hub id. Opening the folder that
        an adapter of this name was read from, or saved to, returns it as long as it has not changed
        since. One that was made for another base is refused unless `other_base`.
        """
        state = self._state
        base, slots = state.base, state.slots
        state.refuse_while_merged("open")
        given, home = path_of(folder, "open"), self.home / "adapters"
        path = files.find(given, str(folder), home)
        called = check_name(given.name if name is None else name, f"%lora open {quoted(folder)}")
        there = state.attached.get(called)
        if there is not None and there.saved_to != path.resolve() and not replace:
            raise AdapterError(
                f"{called!r} is attached already; choose another name "
                f"(%lora open {quoted(folder)} NAME) or add --replace."
            )
        with state.all_or_nothing():
            if there is None or replace:
                state.keep(store.read(base, slots, path, called, other_base=other_base))
            state.activate(called)
        return state.attached[called].record(active=True)

    # Training

    @transactional
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
        lora_plus: float | None = None,
        optimizer: str | None = None,
        template: str | None = None,
        system: str | None = None,
        more: bool = False,
        reporter: Reporter | None = None,
    ) -> RunSummary:
        """Train an adapter on rows, from its recorded beginning, or with `more` from where it is.

        `text` is a cell's body, `data` a frame, list, dataset or path. The loss is on the
        completions only. `lora_plus` lets B learn at that many times A's rate (LoRA+,
        arXiv 2402.12354); `optimizer` is "adamw", "paged-adamw" (a quantised base's default) or
        "paged-adamw-8bit". Stopped by a person (■) the adapter keeps its steps and
        `TrainingStopped` is raised; after any other error it is what it was.
        """
        _ = self._state.base
        self._state.refuse_while_merged("train")
        attached = self._state.named(name)
        if text is not None and (data is not None or columns is not None):
            raise CommandError(
                "train: text and data (or its columns) at once; keep one of the two."
            )
        labelled = self._state.base.task.classifies
        if text is not None:
            examples = rows.read_text(text, format, labelled=labelled)
        else:
            examples = sources.read_data(data, columns=columns, format=format, labelled=labelled)
        return train(
            self._state,
            attached,
            examples,
            template=template,
            system=system,
            more=more,
            reporter=reporter,
            epochs=epochs,
            steps=steps,
            lr=lr,
            batch_size=batch_size,
            max_length=max_length,
            eval=eval,
            seed=seed,
            lora_plus=lora_plus,
            optimizer=optimizer,
        )

    # Looking

    @transactional
    def ask(
        self,
        prompt: str,
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Answer | Prediction:
        """Answer a prompt with the active adapter; the most likely tokens unless `temperature`.

        Of a classifier the answer is the label of a text, with the probability of each.
        """
        base = self._state.base
        if base.task.classifies:
            classifying.refuse_flags(max_new_tokens, temperature, seed)
            return classifying.classify(
                base.model,
                base.needs_tokenizer(),
                prompt,
                base.task.labels,
                adapter=self.active,
                untrained=bool(queries.untrained(self._state, [self.active])),
                context=queries.room(self._state, self._state.together),
            )
        return ask(
            base.model,
            base.needs_tokenizer(),
            self._state.form_of(self.active),
            prompt,
            adapter=self.active,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            context=queries.room(self._state, self._state.together),
        )

    @transactional
    def compare(
        self,
        *prompts: str | Sequence[str],
        adapters: str | Sequence[str] | None = None,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        watch: Follow | None = None,
    ) -> Comparison | Classification:
        """The same prompts answered by the base and by each adapter, with the same seed.

        A list of prompts may be given as one argument. Of a classifier it is the probabilities of
        each text's labels that stand side by side. `watch` is called after each new token with a
        function that gives the prompt and (adapter, text so far) of the answers being written; if
        it returns true they end there.
        """
        base = self._state.base
        variants = queries.variants(self._state, adapters)
        if base.task.classifies:
            classifying.refuse_flags(max_new_tokens, temperature, seed)
            return classifying.compare(
                base.model,
                self._state.slots,
                base.needs_tokenizer(),
                variants,
                queries.flat(prompts),
                base.task.labels,
                untrained=queries.untrained(self._state, [variant.name for variant in variants]),
                context=queries.room(self._state, [variant.name for variant in variants]),
            )
        return compare(
            base.model,
            self._state.slots,
            base.needs_tokenizer(),
            variants,
            queries.flat(prompts),
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            context=queries.room(self._state, [variant.name for variant in variants]),
            watch=watch,
        )

    def ratio(
        self,
        name: str | None = None,
        *,
        method: str | None = None,
        rank: int | None = None,
        targets: str | Sequence[str] | None = None,
        virtual_tokens: int | None = None,
    ) -> ParameterCount:
        """Trainable parameters against the base's: of an adapter, or of one that could be.

        With any flag it is a plan, counted by the method's formula: the adapter with that rank or
        those targets, or another `method` with its own defaults. Nothing is attached.
        """
        flags = {
            "method": method,
            "rank": rank,
            "targets": targets,
            "virtual_tokens": virtual_tokens,
        }
        return queries.ratio(self._state, name, flags)

    @transactional
    def spectrum(self, *names: str, module: str | None = None) -> Spectrum:
        """The singular values of ΔW of adapters, module by module, from their factors."""
        return queries.spectrum(self._state, names, module)

    def panel(self, view: str | None = None, **start: Any) -> Panel:
        """Controls: ratio, spectrum and comparison in tabs under the status, or one `view` of them.

        They call the session as a cell would, and offer what is there at any time. `start` is what
        they begin with: `adapter`, `method`, `rank`, `targets`, `virtual_tokens` for "ratio";
        `adapters` for "spectrum"; `prompt`, `adapters`, `temperature`, `max_new_tokens`, `seed` for
        "compare". Needs a notebook to be drawn in. Raises `CommandError` for anything else.
        """
        return Panel(self, view, start)

    # Merging

    @transactional
    def merge(self, name: str | None = None) -> MergeReport:
        """Fold ΔW into copies of the target weights: W = W0 + ΔW, no extra latency.

        The base's tensors are kept as they are, so `unmerge` is exact. Merging what is merged
        does nothing; merging another adapter unmerges first.
        """
        return merging.merge(self._state, name)

    @transactional
    def unmerge(self) -> Receipt:
        """Put the base's own weights back, bit for bit; the adapter stays active, unmerged."""
        return merging.unmerge(self._state)

    # New adapters out of old ones

    @transactional
    def blend(
        self,
        new: str,
        weights: str | Mapping[str, float],
        *,
        method: str = "sum",
        rank: int | None = None,
        density: float | None = None,
        seed: int | None = None,
        replace: bool = False,
    ) -> Adapter:
        """A new adapter out of others, not activated: ΔW = Σ wᵢ·ΔWᵢ.

        `weights` are `{"a": 0.7, "b": -0.3}` or "a=0.7 b=-0.3"; they need not sum to 1. The sum is
        exact, whatever the ranks, scales and targets, unless `rank` cuts it to the best ΔW of that
        rank. `method` may be "ties", "dare" or "magnitude" instead of "sum", which keep a share
        `density` of the entries (0.2, 0.5 and 0.5 unless given; `seed` is of dare's draw) and are
        cut to the parts' ranks together, unless `rank` says otherwise. With a part whose ΔW is not
        low rank (DoRA, (IA)³, full fine-tuning) `rank` is needed. The result is a plain LoRA; its
        record says what was lost. The same blend again returns the adapter that is there. Raises
        `AdapterError` for parts without a ΔW, and for a name that is taken unless `replace`.
        """
        return combining.blend(
            self._state,
            new,
            weights,
            method=method,
            rank=rank,
            density=density,
            seed=seed,
            replace=replace,
        )

    @transactional
    def compress(
        self,
        name: str | None = None,
        new: str | None = None,
        *,
        rank: int | None = None,
        energy: float | None = None,
        replace: bool = False,
    ) -> Compression:
        """A plain LoRA of a smaller rank, not activated: the best ΔW there is (Eckart–Young).

        By `rank`, or by the share `energy` of Σσ² that each module is to keep. It is called
        `NAME_r4` or `NAME_e95` unless `new` is given. Without either nothing is made: the record
        says what each rank would lose. A full fine-tune becomes a LoRA on every matrix, its biases,
        norms and head trained beside it. Raises `AdapterError` for a method without a ΔW, and for a
        name that is taken unless `replace`.
        """
        return combining.compress(self._state, name, new, rank=rank, energy=energy, replace=replace)
