"""Session: one base model, any number of adapters, which is active, what is merged.

The only mutable public type. Every verb of `%lora` is a method here; the files beside this one and
the rooms below do the work. A verb that fails or is interrupted leaves the session as it was. Knows
no notebook; imports torch with the first verb, not before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace as replaced
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lora_magic import numbers
from lora_magic.adapters.spec import BASE_NAME, check_name
from lora_magic.checks import is_number
from lora_magic.errors import AdapterError, CommandError, StateError, listed
from lora_magic.paths import path_of, quoted
from lora_magic.printable import one_line

from .receipt import Receipt
from .session_lock import SessionLock
from .transaction import renamed, transactional

if TYPE_CHECKING:
    from lora_magic.adapters.combine import Compression
    from lora_magic.adapters.live_adapter import Adapter
    from lora_magic.adapters.merge import MergeReport
    from lora_magic.base.fingerprint import Verification
    from lora_magic.base.model import BaseRecord
    from lora_magic.base.template import Turns
    from lora_magic.compare.ask import Answer, OnText
    from lora_magic.compare.bulk import Answers
    from lora_magic.compare.comparison import Comparison
    from lora_magic.compare.lens import Lens
    from lora_magic.compare.prediction import Classification, Prediction
    from lora_magic.cost.count import ParameterCount
    from lora_magic.cost.matrix import MatrixCount
    from lora_magic.cost.plan import CostPlan
    from lora_magic.data.records import Function
    from lora_magic.data.row import Rows
    from lora_magic.evaluation.board import Board
    from lora_magic.evaluation.evaluation import Evaluation
    from lora_magic.evaluation.passes import Watch
    from lora_magic.evaluation.ranks import RankEvidence
    from lora_magic.export.receipt import Export
    from lora_magic.export.script.script import Script
    from lora_magic.lowrank.similarity import Similarity
    from lora_magic.lowrank.spectrum import Spectrum
    from lora_magic.magics.panel import Panel
    from lora_magic.magics.plan_panel import PlanPanel
    from lora_magic.training.preview import Preview
    from lora_magic.training.reporter import Reporter
    from lora_magic.training.summary import RunSummary

    from .comparing import OnUnfinished
    from .doctor import Examination
    from .history import Difference, History
    from .kept import KeptRows
    from .ledger import Ledger
    from .removing import Removal
    from .serving import Server
    from .session_state import SessionState, View
    from .status import Status
    from .sweep_result import Sweep
    from .voting import Ballot, Ballots

HOME = ".lora_magic"


def _sampling(
    max_new_tokens: int | None, temperature: float, top_p: float, seed: int
) -> dict[str, Any]:
    """How tokens are chosen, as keywords of `generate`."""
    return {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
    }


class Session:
    """One base model and its adapters.

    `model` is the loaded object itself; calling it applies the active adapter. The base is frozen
    from `load` to `reset`, which restores every `requires_grad`. After any sequence of verbs,
    errors and interrupts `verify()` is true.
    """

    def __init__(self) -> None:
        self._lock = SessionLock()
        self._kept: dict[str, KeptRows] = {}
        self._ballots: Ballots = {}
        self.home = Path(HOME)

    @cached_property
    def _ledger(self) -> Ledger:
        from .ledger import Ledger

        return Ledger()

    @cached_property
    def _state(self) -> SessionState:
        from .session_state import SessionState, import_libraries

        import_libraries()
        return SessionState()

    # State

    def __repr__(self) -> str:
        return f"<Session: {one_line(self.status().line)}>"

    @property
    def model(self) -> Any:
        """The base model's own object, with the active adapter's modules in its slots.

        Blocks while a panel control generates, because it has swapped modules in. Outside the main
        thread it raises `StateError` instead, as `verify` and every verb do.
        """
        with self._lock.locked():
            return self._state.base.model

    @property
    def tokenizer(self) -> Any:
        """The base model's tokenizer, or None."""
        return self._state.base.tokenizer

    @property
    def adapters(self) -> Mapping[str, Adapter]:
        """The adapters' records by name, in the order of attachment."""
        return MappingProxyType(self._view().adapters())

    @property
    def active(self) -> str:
        """The name of the adapter that answers, or "base"."""
        return self._view().active

    @property
    def merged(self) -> str | None:
        """The name of the merged adapter, or None."""
        return self._view().merged

    @property
    def kept(self) -> Mapping[str, KeptRows]:
        """The rows that `data` keeps, by name."""
        return MappingProxyType(self._kept)

    def _view(self) -> View:
        """What the session holds; while another thread runs a verb, what it held before that."""
        state = self._state
        with self._lock.free() as free:
            return state.view() if free else state.published

    def _resumable(self, view: View) -> tuple[str, ...]:
        """A line for each run on this base that can be resumed."""
        if view.base is None:
            return ()
        from .checkpoints import resumable

        return resumable(
            self.home, view.base, {adapter.name: adapter for adapter, _ in view.attached}
        )

    def status(self) -> Status:
        """What is loaded, attached, active and merged, and what to type next."""
        from . import queries

        state = self._state
        with self._lock.free() as free:
            view = state.view() if free else state.published
            unchanged = not view.changed
            if free and unchanged and not state.empty:
                unchanged = bool(self.verify(quick=True))
            kept = tuple(f"{rows.name} ({rows.count})" for rows in self._kept.values())
            found = queries.status(view, unchanged, self._resumable(view))
            server = state.server
            serving = server.url if server is not None and server.running else ""
            return replaced(found, kept=kept, serving=serving)

    def verify(self, quick: bool = False) -> Verification:
        """Is every bit of the base what it was at load? If so, the report is truthy.

        Rereads every parameter and buffer, including tied and quantised ones; `quick` compares only
        pointers and version counters, and says so.
        """
        # While a slot is being written, its module would be reported as foreign.
        with self._lock.locked():
            self._lock.doing = "verify"
            found = self._state.base.fingerprint.verify(quick)
            others = tuple(f"{path} (another module)" for path in self._state.slots.foreign_paths())
            found = replaced(found, changed=(*found.changed, *others))
            if not quick:
                self._state.changed = not found
            return found

    # The base

    def plan(
        self,
        model: Any = None,
        *,
        bits: int | None = None,
        dtype: Any = None,
        task: str = "causal",
        labels: Any = None,
        trust_remote_code: bool = False,
        method: str | None = None,
        rank: int | None = None,
        alpha: float | None = None,
        targets: str | Sequence[str] | None = None,
        init: str | None = None,
        rslora: bool | None = None,
        dora: bool | None = None,
        bias: str | None = None,
        norms: bool | None = None,
        rank_pattern: str | Mapping[str, int] | None = None,
        virtual_tokens: int | None = None,
        for_: str | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        optimizer: str | None = None,
        checkpointing: bool = False,
        tokens: float | None = None,
        trained_tokens: float | None = None,
        tasks: int | None = None,
        gpu: str | None = None,
        price: float | None = None,
    ) -> CostPlan:
        """What a model, an adapter and a run will cost, before any weight is read.

        `model` is a hub id, a folder, a name such as "gpt3-175b", sizes such as
        "layers=32,width=4096", a config, or a model; by default the loaded base with the active
        adapter. The other flags are those of `load`, `attach` and `train`, with the same defaults.
        The run reads `tokens` (default a million), of which `trained_tokens` have a label (default
        all); `tasks` adapters are stored (default 1,000). It is planned for this machine, or for
        the card `gpu`, which costs `price` an hour; "here" measures this machine. Without a base,
        and but for "here" and a live model, torch is not imported. Nothing is changed or recorded.

        Raises `StateError` without a model and a base, `BaseModelError` for a model that cannot be
        read, `AdapterError` for a spec that does not fit it, `CommandError` for any other flag.
        """
        # Must be the first statement, while the arguments are the only locals.
        flags = {k: v for k, v in locals().items() if k not in ("self", "model")}
        from .plan import plan

        return plan(self, model, flags)

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
        for int8. `dtype` is a name or a torch dtype; it is chosen for the device by default, and
        the device is a GPU if there is one. With `task` "classification" the base assigns one of
        `labels` to a text: a list of names, names with commas, a number, or a column whose distinct
        values are the labels. Repeating the same load is instant. Raises `StateError` for another
        base while trained adapters are not saved, unless `replace`.
        """
        from lora_magic.base import load as loading
        from lora_magic.base.task import names_of

        home_folder = self.home if home is None else path_of(home, "--home")
        named = None if labels is None else names_of(labels)
        key = ("load", str(model), bits, str(dtype), str(device), trust_remote_code, task, named)
        if key != self._state.key:
            if self._state.unsaved() and not replace:
                # A name without a model has nothing to do with what would be lost.
                loading.locate(str(model))
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
        return replaced(self._state.record(), resumable=self._resumable(self._state.view()))

    @transactional
    def use(self, model: Any, tokenizer: Any = None, *, replace: bool = False) -> BaseRecord:
        """Use a live model and its tokenizer as the base; nothing is moved or cast.

        A PeftModel with LoRA adapters gives its base and copies of its adapters; `reset` puts its
        own layers back.
        """
        from . import adopt

        key = ("use", id(model), id(tokenizer))
        state = self._state
        if key == state.key:
            return state.record()
        state.refuse_loss("use", replace)
        adopt.adopt_model(state, model, tokenizer, key)
        return replaced(state.record(), resumable=self._resumable(state.view()))

    @transactional
    def reset(self) -> Receipt:
        """Free everything and restore the base to its state before `load`. May be called twice."""
        kept = len(self._kept)
        self._kept.clear()
        self._ballots.clear()
        if self._state.empty:
            gone = f"; {kept} kept sets of rows dropped" if kept else ""
            return Receipt(f"nothing is loaded; nothing to reset{gone}")
        name, count = self._state.base.name, len(self._state.attached)
        lost = self._state.unsaved()
        served = self._state.server is not None and self._state.server.running
        found = self.verify()
        self._state.release()
        base = "unchanged"
        if not found:
            count_of = len(found.changed)
            base = f"CHANGED from outside the session in {count_of} tensor{'s' * (count_of != 1)}"
        freed = f"{count} adapter{'s' * (count != 1)} freed"
        unsaved = f" (trained and not saved: {listed(lost)})" if lost else ""
        stopped = "; the server has stopped" if served else ""
        return Receipt(f"{name} released, {base}; {freed}{unsaved}{stopped}")

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
        """Attach a new adapter and activate it. The default method is LoRA: W = W0 + s·B·A.

        `AdapterSpec` documents the flags, the table in `lora_magic.adapters.methods` the methods.
        `for_` (style, instructions, domain) sets rank, alpha and targets by use. Other defaults
        come from the base's recipe, the seed from the name. The same spec under the same name
        returns the attached adapter; another spec is an `AdapterError` unless `replace`.
        """
        # Must be the first statement, while the arguments are the only locals. Every flag but
        # `replace` belongs to the spec.
        flags = {k: v for k, v in locals().items() if k not in ("self", "name", "replace")}
        from lora_magic.adapters import attach

        from .resolve import resolve_spec

        state = self._state
        recipe = state.base.recipe
        check_name(name)
        state.refuse_while_merged("attach")
        spec = resolve_spec(name, recipe, flags)
        existing = state.attached.get(name)
        if existing is not None and existing.spec != spec and not replace:
            raise AdapterError(
                f"{name!r} is attached with another spec ({existing.spec.difference(spec)}); add "
                "--replace to replace it, or choose another name."
            )
        with state.all_or_nothing():
            if existing is None or replace:
                state.keep(attach.create(state.base, state.slots, name, spec))
            state.activate(name)
        return state.attached[name].record(active=True)

    @transactional
    def detach(self, name: str, *, discard: bool = False) -> Receipt:
        """Remove an adapter; if it was active, base becomes active.

        Raises `StateError` for one that was trained, or made from others, and is not saved, unless
        `discard`.
        """
        state = self._state
        _ = state.base
        state.refuse_while_merged("detach")
        state.named(name)
        unsaved = name in state.unsaved()
        if unsaved and not discard:
            raise StateError(
                f"detach would lose {name} ({state.attached[name].history.line}), which is not "
                f"saved; save first (%lora save {name}) or add --discard."
            )
        with state.all_or_nothing():
            if name in state.active_names:
                state.activate(BASE_NAME)
            del state.attached[name]
        lost = " (it was not saved)" if unsaved else ""
        return Receipt(f"{name} detached{lost}; {state.active} is active")

    @transactional
    def swap(self, name: str) -> Receipt:
        """Activate an adapter, "base", or several at once: `a=0.7,b=0.3`.

        Several act as the weighted sum of their single effects; for LoRA that is ΔW = Σ wᵢ·ΔWᵢ.
        """
        from .resolve import parts_of

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
        """Save an adapter, by default to `.lora_magic/adapters/NAME`.

        PEFT's methods are saved in PEFT's format, other methods in the same layout with a type of
        our own.
        """
        from lora_magic.adapters import store

        state = self._state
        attached = state.named_or_active(name, "save")
        home = self.home / "adapters" / attached.name
        target = home if folder is None else path_of(folder, "save")
        others = [n for n in state.saved_in(target) if n != attached.name]
        other = others[0] if others else store.other_adapter_in(target, attached)
        if other:
            raise AdapterError(
                f"{target} contains the saved adapter {other}; choose another folder: "
                f"%lora save {attached.name} DIR"
            )
        size = store.save(state.base, state.slots, attached, target)
        return Receipt(
            f"{attached.name} saved to {target} ({numbers.size(size)})",
            (("open again", f"%lora open {quoted(target)} {attached.name}"),),
        )

    @renamed(other_base="allow_other_base")
    @transactional
    def open(
        self,
        folder: str | Path,
        name: str | None = None,
        *,
        allow_other_base: bool = False,
        replace: bool = False,
    ) -> Adapter:
        """Read an adapter, in PEFT's format or ours, and activate it.

        `folder` may be the name of an adapter saved in the home folder, or a hub id. An attached
        adapter of this name that was read from that folder or saved to it, and has not changed
        since, is returned. Raises `AdapterError` for an adapter that was made for another base,
        unless `allow_other_base`.
        """
        from lora_magic.adapters import files, store

        from .making import opened

        state = self._state
        base, slots = state.base, state.slots
        state.refuse_while_merged("open")
        given, home = path_of(folder, "open"), self.home / "adapters"
        path = files.find(given, str(folder), home)
        called = check_name(given.name if name is None else name, f"%lora open {quoted(folder)}")
        existing = state.attached.get(called)
        if existing is not None and called not in state.saved_in(path) and not replace:
            raise AdapterError(
                f"{called!r} is already attached; choose another name "
                f"(%lora open {quoted(folder)} NAME) or add --replace."
            )
        with state.all_or_nothing():
            if existing is None or replace:
                found = store.read(base, slots, path, called, other_base=allow_other_base)
                found.steps = (opened(str(folder), path, found, path in (given, home / given)),)
                state.keep(found)
            state.activate(called)
        return state.attached[called].record(active=True)

    @transactional
    def export(
        self,
        name: str | None = None,
        folder: str | Path | None = None,
        *,
        to: str | None = None,
        quantise: str | None = None,
        adapter_only: bool = False,
        rank: int | None = None,
        prompts: Any = None,
        unchecked: bool = False,
        replace: bool = False,
        push: str | None = None,
        public: bool = False,
        yes: bool | Callable[[Any], bool] = False,
        watch: Callable[[str], None] | None = None,
    ) -> Export:
        """Write the adapter, or "base", for other programs, and read it back in another process.

        `to` is "merged" (a transformers folder with ΔW in its weights), "peft" and "vllm" (the
        adapter as servers read it), or "gguf" (for llama.cpp and Ollama); base goes to merged and
        gguf. `folder` defaults to `.lora_magic/exports/NAME-FORMAT`. A quantised base is
        dequantised to the dtype that it computes in. Of gguf `quantise` is "f32", "f16" or "q8_0",
        and `adapter_only` writes no base; `rank` pads an adapter's factors with zeros.

        The reader answers the last ten prompts of `ask`, `compare` and `evaluate` on this base, or
        the adapter's example and the base's suggestions; or `prompts`: texts, a frame or a file, as
        for `ask`. Its tokens, greedy answers and logits must be those of the session's model with
        the weights that were written, up to the noise of rounding; how far they are from the
        unmerged adapter's, and why, is in the value's `check`. `unchecked` omits all that.

        `replace` replaces an earlier export in the folder, and nothing else. `push` uploads it to
        the hub as OWNER/NAME, private unless `public`. A person is asked first, unless `yes` is
        True, or a function that is asked with the upload. `watch` gets a line for each step.

        Raises `ExportError` for what cannot be written in this format, a folder with other files, a
        disk or memory that is too small, and for an export that is not read as expected:
        then nothing is left behind. `CommandError` for an unknown format, `PromptError` for a
        prompt that does not fit the context.
        """
        from lora_magic.export.job import Options

        from .exporting import export

        _ = self._state.base
        given = None if prompts is None else self._prompts("export", prompts, None)
        return export(
            self._state,
            self.home,
            name,
            folder,
            to=to,
            options=Options(quantise, adapter_only, rank),
            prompts=given,
            unchecked=unchecked,
            replace=replace,
            pushed=(push, public, yes),
            say=watch or (lambda line: None),
        )

    # Training

    @renamed(more="continue_")
    @transactional
    def train(
        self,
        name: str | Sequence[str],
        data: Any = None,
        *,
        text: str | None = None,
        columns: str | None = None,
        map_: Callable[[Any], Any] | None = None,
        format: str | None = None,
        skip_bad: bool = False,
        epochs: float | None = None,
        steps: int | None = None,
        lr: float | str | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        eval: Any = None,
        patience: int | None = None,
        minutes: float | None = None,
        schedule: str | None = None,
        warmup: float | None = None,
        seed: int | None = None,
        lora_plus: float | None = None,
        optimizer: str | None = None,
        beta: float | None = None,
        template: str | None = None,
        system: str | None = None,
        report_to: str | None = None,
        guard: Any = None,
        replay: float | None = None,
        plain_step: bool = False,
        checkpointing: bool = False,
        continue_: bool = False,
        resume: bool = False,
        checkpoint_every: float = 60.0,
        workers: int | None = None,
        engine: str | None = None,
        address: str | None = None,
        fsdp: bool = False,
        reporter: Reporter | None = None,
    ) -> RunSummary | Any:  # with lr="find" a RateCurve, with several names Summaries
        """Train an adapter from its initial state, or with `continue_` from its current one.

        Several (`"a,b,c"` or a list of names) are trained on the same rows in the same order, in
        one batch where that is faster, and `Summaries` are returned; then the one with the lowest
        held-out loss is active, without held-out rows the last named. One that fails is restored,
        and the others go on. They have no checkpoints.

        `text` is a cell's body, `data` a frame, list, dataset or path. `columns` names the columns
        of `data` ("question + context => answer"); `map_` is a function from a row (a dict) to a
        pair, turns, a text or None. With `skip_bad` rows that cannot be read, or that template
        or tokenizer refuse, are left out and listed. Of a stream only steps × batch size rows are
        read, the held-out ones among them. The loss covers the completions only.

        `eval` rows are held out: a number, a share, or other rows, given as `data` is. Without
        `steps` and `epochs` the run ends once their loss no longer improves (`patience`
        measurements, 3), and the best weights are kept. `minutes` ends it too. `schedule` is
        "linear", "cosine" or "constant", after a warm-up over the share `warmup` of the steps.
        `lr="find"` changes nothing and returns the loss against the rate. With `lora_plus` B learns
        at that many times A's rate (LoRA+, arXiv 2402.12354); `optimizer` is "adamw", "paged-adamw"
        (a quantised base's default) or "paged-adamw-8bit". `beta` is that of the loss over
        preferences (0.1). `guard` are general rows of your own, in any form of `data`: their loss
        is measured before and after the run. With `replay`, a share of the examples of each step,
        one half of them is trained on, and only the other half is measured. `report_to` is a
        tracker (trackio, tensorboard, mlflow, wandb), which gets the losses and rates. With
        `plain_step` rows are padded and every logit is computed, as by a plain Trainer. With
        `checkpointing` activations are computed again in the backward pass instead of kept: less
        memory, more time, the same result. When the user stops the run (■), the adapter keeps its
        steps and `TrainingStopped` is raised; any other error restores the adapter. The summary's
        `inside` has the gradient norms of A and B, and σ, ‖ΔW‖ and effective rank of ΔW by step;
        `predicted_peak` and `peak` are the memory of its largest step in bytes.

        A checkpoint is written to the home folder every `checkpoint_every` seconds (0: never), and
        when the run is stopped or the kernel shut down; it is removed when the run ends. With
        `resume` the same call continues from it and ends as if it had never stopped; an adapter
        that is not attached is attached as it was. Raises `TrainingError` for other rows or flags
        than those of the checkpoint's run, and `CommandError` without a checkpoint.

        `workers` share the run: processes of this machine with the `engine` "accelerate" (the
        default), or of a Ray cluster with "ray" (2 of them by default), which is found at `address`
        ("host:6379"), else here. Each reads the base again and takes its share of every step, so
        the result is that of one worker, up to the order of sums. A checkpoint can be resumed with
        any number of them. With `fsdp` the base is split over the workers. Raises `CommandError`
        for more workers than cores or GPUs here (two may always share a CPU), `WorkerError`
        for workers that cannot be started, and `BaseModelError` for a base that they cannot read.
        """
        from . import checkpoints
        from .prepare import rows_needed
        from .several import named, refuse_of_one, several
        from .train import train
        from .workers import asked

        state = self._state
        _ = state.base
        state.refuse_while_merged("train")
        every = checkpoints.check_every(checkpoint_every)
        adapters = named(state, name)
        if adapters is not None:
            refuse_of_one(resume=resume, guard=guard, replay=replay, report_to=report_to, lr=lr)
        group = asked(
            *(state, self.home, workers, engine, address, fsdp),
            several=adapters is not None,
            lr=lr,
            report_to=report_to,
        )
        found, attached = None, None
        if adapters is None:
            one: Any = name
            found = checkpoints.find(self.home, check_name(one)) if resume else None
            attached = found.adapter(state) if found else state.named(one)
        most = rows_needed(state.base.recipe, steps, batch_size)
        reading = {"columns": columns, "map_": map_, "format": format, "skip_bad": skip_bad}
        rows = self._rows("train", data, text, most=most, **reading)
        # The format of a cell is its own.
        other = {**reading, "format": format if text is None else None}
        held_out, eval = self._held_out(eval, other)
        options: dict[str, Any] = {
            "held_out": held_out,
            "notes": rows.note,
            "skip_bad": skip_bad,
            "template": template,
            "system": system,
            "more": continue_,
            "reporter": reporter,
        }
        flags: dict[str, Any] = {
            "epochs": epochs,
            "steps": steps,
            "lr": lr,
            "batch_size": batch_size,
            "max_length": max_length,
            "eval": eval,
            "patience": patience,
            "minutes": minutes,
            "schedule": schedule,
            "warmup": warmup,
            "seed": seed,
            "lora_plus": lora_plus,
            "optimizer": optimizer,
            "beta": beta,
            "plain_step": plain_step or None,
            "checkpointing": checkpointing or None,
        }
        if adapters is not None:
            return several(state, adapters, rows, flags=flags, **options)
        assert attached is not None  # one of the two
        return train(
            state,
            attached,
            rows,
            guard=self._other("--guard", guard, {**reading, "format": None}),
            replay=replay,
            report_to=report_to,
            home=self.home,
            every=every,
            found=found,
            group=group,
            **options,
            **flags,
        )

    @transactional
    def sweep(
        self,
        name: str,
        data: Any = None,
        *,
        text: str | None = None,
        columns: str | None = None,
        map_: Callable[[Any], Any] | None = None,
        format: str | None = None,
        skip_bad: bool = False,
        method: Any = None,
        rank: Any = None,
        alpha: Any = None,
        dropout: Any = None,
        targets: Any = None,
        init: Any = None,
        rslora: Any = None,
        dora: Any = None,
        bias: Any = None,
        norms: Any = None,
        rank_pattern: Any = None,
        alpha_pattern: Any = None,
        virtual_tokens: Any = None,
        for_: Any = None,
        seed: Any = None,
        lr: Any = None,
        schedule: Any = None,
        warmup: Any = None,
        lora_plus: Any = None,
        optimizer: Any = None,
        seeds: int | None = None,
        epochs: float | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        patience: int | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        eval: Any = None,
        beta: float | None = None,
        checkpointing: bool = False,
        template: str | None = None,
        system: str | None = None,
        no_halving: bool = False,
        finish: bool = False,
        resume: bool = False,
        replace: bool = False,
        workers: int | None = None,
        engine: str | None = None,
        address: str | None = None,
        variables: Mapping[str, str] | None = None,
        reporter: Reporter | None = None,
    ) -> Sweep:
        """Train an adapter for each combination of values, compare them, and keep the best.

        The flags of `attach` and `lr`, `schedule`, `warmup`, `lora_plus` and `optimizer` take lists
        of values: `rank=[4, 8], lr=[1e-3, 3e-3]`. An element of `targets` is one choice: a keyword,
        names with commas, or a list of names. `seeds` is how many seeds of the initial A each
        setting has (1; with more, the first is 0), `seed` a list of them. All arms share the rows,
        their order and what is held out, so all other flags take one value. With `minutes` as the
        only budget the grid is rank × learning rate around the defaults, and runs are as long as
        the time allows; the sweep ends when it is up.

        Arms are trained by successive halving (`sweep_plan.rungs`): every arm for a part of its
        run, then the best third of the settings for three times as long, and so on until one is
        left; with `no_halving` all of them to their end. One half of the held-out rows decides, the
        other half gives the loss that is reported. The chosen arm becomes the adapter `name`,
        active, trained as far as it got; with `finish`, to its end. Every arm is checked before the
        first one trains. `variables` names those of `data`, `eval` and `map_` in the lines that
        train an arm alone (default: an ellipsis).

        With `engine` "ray" the arms of a rung are shared out over `workers` (2) of the Ray cluster
        at `address`, by default the one of this machine: those that can share a batch are one on
        each worker. The arms of a worker that is lost are trained again.

        When the user stops the sweep (■), the best arm so far is kept and `TrainingStopped` is
        raised; with `resume` the same call goes on. Raises `CommandError` without held-out rows or
        for arms that are not possible, `AdapterError` for the name of a trained adapter, unless
        `replace`, and `StateError` for more arms than the memory holds.
        """
        # Must be the first statement, while the arguments are the only locals.
        given = {**locals(), "checkpointing": checkpointing or None}
        from .spread import workers_of
        from .sweep import sweep
        from .sweep_arms import Asked
        from .sweep_plan import VARIED
        from .sweep_store import Store

        _ = self._state.base
        self._state.refuse_while_merged("sweep")
        check_name(name, "%lora sweep")
        spread = workers_of(self._state, "sweep", self.home, workers, engine, address)
        reading = {"columns": columns, "map_": map_, "format": format, "skip_bad": skip_bad}
        rows = self._rows("sweep", data, text, **reading)
        other = {**reading, "format": format if text is None else None}
        held_out, share = self._held_out(eval, other)
        limits = ("epochs", "steps", "patience", "batch_size", "max_length")
        shared = (*limits, "beta", "checkpointing")
        told = ("columns", "map_", "format", "skip_bad", *shared, "eval", "template", "system")
        asked = Asked(
            name,
            {flag: given[flag] for flag in VARIED},
            {flag: given[flag] for flag in shared},
            share,
            {
                "data": data if isinstance(data, str) else "…",
                **{flag: given[flag] for flag in told},
                **(variables or {}),
            },
            seeds=seeds,
            minutes=minutes,
            halving=not no_halving,
            finish=finish,
            template=template,
            system=system,
            skip_bad=skip_bad,
            notes=rows.note,
            replace=replace,
        )
        return sweep(
            self._state,
            rows,
            asked,
            held_out=held_out,
            reporter=reporter,
            store=Store(self.home, name),
            resume=resume,
            workers=spread,
        )

    def _held_out(self, given: Any, reading: Mapping[str, Any]) -> tuple[Rows | None, float | None]:
        """What `eval` names: rows of their own, or a number or share of the rows to train on."""
        if given is None or is_number(given):
            return None, given
        return self._other("--eval", given, reading), None

    def _other(self, flag: str, data: Any, reading: Mapping[str, Any]) -> Rows | None:
        from .kept import other_rows

        read = partial(self._rows, flag, data, None)
        return None if data is None else other_rows(flag, read, **reading)

    def _reading(self) -> dict[str, Any]:
        task = self._state.base.task
        labels = task.labels if task.classifies else ()
        return {"labelled": task.classifies, "labels": labels}

    def _rows(self, verb: str, data: Any, text: str | None, **reading: Any) -> Rows:
        from .kept import rows_given

        return rows_given(self._kept, verb, data, text, **self._reading(), **reading)

    def _prompts(self, verb: str, data: Any, column: str | None) -> list[str]:
        """The prompts of a column of the data, or of kept rows; "" for a row without one."""
        from . import asking
        from .kept import KeptRows

        self._state.base.needs_tokenizer()
        if isinstance(data, KeptRows) or (isinstance(data, str) and data in self._kept):
            name = data.name if isinstance(data, KeptRows) else data
            return asking.prompts_of(self._rows(verb, data, None), name, column)
        return asking.texts_of(data, column)

    @transactional
    def data(self, name: str, text: str, *, format: str | None = None) -> KeptRows:
        """Keep typed rows under a name, until `reset` or the end of the kernel.

        Every verb with `data` takes the name: `train("pirate", "greetings")`. Where a file has it
        too, the kept rows are read; `%lora train --data NAME` reads a variable of that name before
        both. Rows kept under the name before are replaced. Raises `CommandError` for a name that no
        variable can have, and `DataError` for rows that cannot be read.
        """
        from .kept import keep

        labelled = not self._state.empty and self._state.base.task.classifies
        kept = keep(name, text, format, labelled=labelled)
        self._kept[kept.name] = kept
        return kept

    @transactional
    def preview(
        self,
        name: str | None = None,
        data: Any = None,
        *,
        text: str | None = None,
        columns: str | None = None,
        map_: Function | None = None,
        format: str | None = None,
        skip_bad: bool = False,
        template: str | None = None,
        system: str | None = None,
        max_length: int | None = None,
        eval: Any = None,
        rows: int = 3,
    ) -> Preview:
        """What `train` would train on: some rows token by token, and what is odd about the data.

        `rows` of them are shown (1 to 20). Without an adapter's `name` they are read as the base
        reads them. The arguments are those of `train`, and so are the errors; nothing is changed.
        """
        from .preview import preview

        _ = self._state.base
        attached = None if name is None else self._state.named(name)
        reading = {"columns": columns, "map_": map_, "format": format, "skip_bad": skip_bad}
        given = self._rows("preview", data, text, **reading)
        other = {**reading, "format": format if text is None else None}
        held_out, eval = self._held_out(eval, other)
        return preview(
            self._state,
            attached,
            given,
            held_out=held_out,
            template=template,
            system=system,
            max_length=max_length,
            eval=eval,
            rows_shown=rows,
            skip_bad=skip_bad,
            notes=given.note,
        )

    # Answers and inspection

    @transactional
    def ask(
        self,
        prompt: str | Turns | None = None,
        *,
        messages: Turns | None = None,
        data: Any = None,
        column: str | None = None,
        mix: Any = None,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        watch: OnText | None = None,
    ) -> Answer | Answers | Prediction:
        """Answer a prompt, a conversation or a column with the active adapter.

        A conversation is a list of messages, [{"role": "user", "content": "Hello"}, …], whose last
        is the user's, as the prompt or as `messages`. `data` is a frame, a list of dicts or texts,
        a dataset or a file; `column` is its column of prompts, by default "prompt", or the only
        column of text. Its rows are answered in batches, and the record's `to_frame()` has a row
        for each, in the same order.

        Decoding is greedy at `temperature` 0; above 0 `top_p` below 1 samples from the most likely
        tokens alone. A classifier's answer is the label of the text, with the probability of each
        label; for `data`, of that label. `watch` is called after each new token with a function
        that returns the text so far, or for `data` the progress in one line; if it returns true,
        the answer ends there, and of `data` the complete answers are kept.

        `mix` names several adapters with weights, "a=0.5,b=0.5" (base may be one): the prompt is
        answered by all of them together, whose probabilities are averaged at each token. `swap`
        with the same words averages their changes of the weights instead.
        """
        from . import asking

        sampling = _sampling(max_new_tokens, temperature, top_p, seed)
        if messages is not None:
            if prompt is not None:
                raise CommandError("ask: both a prompt and messages are given; pass one.")
            prompt = messages
        if data is not None:
            if prompt is not None:
                raise CommandError("ask: both a prompt and data are given; pass one of the two.")
            if mix is not None:
                raise CommandError("--mix answers one prompt, not --data; omit one of the two.")
            rows = self._prompts("ask", data, column)
            return asking.column(self._state, rows, sampling, watch)
        if column is not None:
            raise CommandError(f"--column {column} names a column of --data; omit it.")
        return asking.one(self._state, prompt, sampling, watch, mix)

    @transactional
    def compare(
        self,
        *prompts: str | Sequence[str],
        adapters: str | Sequence[str] | None = None,
        data: Any = None,
        column: str | None = None,
        blind: bool = False,
        scores: bool = False,
        mix: Any = None,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        watch: OnUnfinished | None = None,
    ) -> Comparison | Classification | Ballot:
        """The same prompts answered by the base and by each adapter, with the same seed.

        Without `adapters` those that were never trained are left out, and the record names them; if
        none was trained, all are compared. One argument may be a list of prompts; `data` and
        `column` are those of `ask`. Each prompt is answered once, in a pass of its own, so that no
        answer depends on the other prompts; the record's notes count repeated and blank ones.
        `mix`, as for `ask`, is one more answer.

        With `scores` every answer's tokens are also given to the base and to each adapter:
        `comparison.scores` has the log-probability of each token, without temperature and top-p,
        and the perplexities. For a classifier the label probabilities of each text are compared,
        and `scores` raises `PromptError`. `watch` is called after each new token
        with a function that returns the answers so far; if it returns true, they end.

        `blind` hides which adapter gave which answer until the last vote: it returns a `Ballot`,
        which shows one pair of answers after the other. Then the base takes part only if it is
        named, or if no adapter is. The same call again returns the same ballot with its votes,
        until an adapter is trained again.
        """
        from . import comparing

        sampling = _sampling(max_new_tokens, temperature, top_p, seed)
        if blind and (scores or mix is not None):
            flag = "--scores" if scores else "--mix"
            raise CommandError(
                f"compare: --blind hides which adapter answers, and {flag} shows it; omit one."
            )
        rows = None
        if data is not None:
            if prompts:
                raise CommandError("compare: both prompts and data are given; pass one.")
            rows = self._prompts("compare", data, column)
        elif column is not None:
            raise CommandError(f"--column {column} names a column of --data; omit it.")
        if blind:
            from . import voting

            given = (prompts, adapters, sampling, watch, rows)
            return voting.begin(self._ballots, self._state, *given)
        return comparing.answers(
            self._state, prompts, adapters, sampling, watch, rows=rows, scores=scores, mix=mix
        )

    @transactional
    def evaluate(
        self,
        adapters: str | Sequence[str] | None = None,
        data: Any = None,
        *,
        text: str | None = None,
        columns: str | None = None,
        map_: Function | None = None,
        format: str | None = None,
        skip_bad: bool = False,
        metric: Any = None,
        rows: int | None = None,
        mix: Any = None,
        max_new_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        workers: int | None = None,
        engine: str | None = None,
        address: str | None = None,
        watch: Watch | None = None,
    ) -> Evaluation:
        """Measure base and adapters on the same rows; without `adapters` those that were trained.

        The rows are given as to `train`, and `rows` takes only the first of them. For a language
        model: the loss in nats per trained token, the perplexity, and of generated answers (greedy
        unless `temperature` is above 0) exact match, ROUGE-L, length in tokens, and repetition; of
        texts without prompts the loss alone. For a classifier: loss, accuracy, and the confusion of
        labels. `metric` is a function of your own, a list of them, or a mapping from names:
        (prompt, answer, reference or None) → a number, higher is better. `mix`, as for
        `ask`, is measured as one more adapter.

        Every two are compared by a paired bootstrap over the rows, with Holm's correction over the
        pairs of a metric. The result is recorded on the adapters, for the board. `watch` is called
        with a function that returns the progress in one line; if it returns true, the evaluation
        ends, and what was measured is returned and not recorded. Raises `DataError` for rows that
        cannot be measured, and a metric that raises or returns no finite number.

        With `engine` "ray" the rows are shared out over `workers` (2) of the Ray cluster at
        `address`, by default the one of this machine. A `metric` is computed here.
        """
        from .evaluating import evaluate
        from .spread import workers_of

        _ = self._state.base
        sampling = _sampling(max_new_tokens, temperature, top_p, seed)
        reading = {"columns": columns, "map_": map_, "format": format, "skip_bad": skip_bad}
        return evaluate(
            self._state,
            adapters,
            partial(self._rows, "evaluate", data, text, prompts=True, **reading),
            metric=metric,
            most=rows,
            mix=mix,
            sampling=sampling,
            skip_bad=skip_bad,
            watch=watch,
            workers=workers_of(self._state, "evaluate", self.home, workers, engine, address),
        )

    def ratio(
        self,
        name: str | None = None,
        *,
        method: str | None = None,
        rank: int | None = None,
        targets: str | Sequence[str] | None = None,
        virtual_tokens: int | None = None,
        matrix: str | Sequence[int] | None = None,
        model: Any = None,
    ) -> ParameterCount | MatrixCount:
        """Trainable parameters against the base's, of an adapter or of a planned one.

        Any flag makes it a plan, counted by the method's formula: the adapter with that rank or
        those targets, or another `method` with its own defaults. Nothing is attached. With
        `matrix`, the shape d×k of a weight as "4096x11008" or a pair, one matrix of that shape and
        its factors A and B of `rank`; that needs no base. Nor does `model`: all that `plan` takes,
        of which no weight is read. Raises `AdapterError` for targets that match nothing and a rank
        above the matrix, `BaseModelError` for a model without sizes.
        """
        flags = {
            "method": method,
            "rank": rank,
            "targets": targets,
            "virtual_tokens": virtual_tokens,
        }
        if matrix is not None:
            from lora_magic.cost.matrix import alone

            return alone(matrix, rank, {"NAME": name, "model": model, **flags, "rank": None})
        loaded = self._view().base if "_state" in self.__dict__ else None
        if model is not None and (loaded is None or model is not loaded.model):
            from .resolve import on_model

            return on_model(model, name, flags)
        from . import queries

        return queries.ratio(self._state, name, flags)

    @transactional
    def spectrum(
        self,
        *names: str,
        module: str | None = None,
        measure: str = "effective_rank",
        intruders: bool = False,
    ) -> Spectrum:
        """The singular values of ΔW, module by module; several adapters as "a", "b" or "a,b".

        The default is the active adapters, or with base active every adapter that has a ΔW. Several
        modules are shown as a heat map of the `measure`: "effective_rank", "stable_rank",
        "energy_90", "norm", "relative_norm" (‖ΔW‖/‖W‖), "sigma_1", "sigma_2" and so on, or
        "intruders". A `module` alone is shown as a curve beside W's own spectrum. With `intruders`
        the intruder dimensions of every module are counted and marked (Shuttleworth et al. 2024).
        The ΔW of a merged adapter is what is in the weights, rounding included. Raises
        `AdapterError` for a method without a ΔW, an unknown module or an unknown measure.
        """
        from . import inside, queries

        chosen = [name for given in names for name in queries.adapter_names(given)]
        return inside.spectrum(self._state, chosen, module, measure, intruders)

    @transactional
    def similarity(
        self, *names: str, module: str | None = None, side: str = "inputs"
    ) -> Similarity:
        """How far the directions of two adapters overlap, and what ΔW amplifies of W.

        Adapters as "a", "b" or "a,b"; the default is the active ones, or with base active every
        adapter that has a ΔW. Of two: φ(i, j) (LoRA, section 7.2), the angle between their ΔW and
        the amplification of both; of one: its amplification and intruder dimensions; of more: each
        pair. `side` is "inputs" or "outputs" of ΔW, or "A" or "B" for the directions of that
        factor. Raises `AdapterError` for a method without a ΔW or that factor, a name given twice,
        and adapters without a common module.
        """
        from . import queries
        from .similarity import similarity

        chosen = [name for given in names for name in queries.adapter_names(given)]
        return similarity(self._state, chosen, module, side)

    @transactional
    def lens(
        self,
        name: str | None = None,
        *,
        data: Any = None,
        column: str | None = None,
        seed: int = 0,
        watch: Watch | None = None,
    ) -> Lens:
        """What an adapter learned, as tokens: from its answers, and from its hidden states.

        It is the named or the active adapter. It answers 100 general questions, or those in a
        `column` of the `data`, given as to `ask`; `seed` is that of the random directions beside
        its states. `watch` is called with a function that returns the progress in one line; if it
        returns true, what was answered until then is read.
        """
        from .lens import lens

        if data is None and column is not None:
            raise CommandError(f"--column {column} needs --data; add it, or omit --column.")
        given = None if data is None else self._prompts("lens", data, column)
        return lens(self._state, name, given, seed, watch)

    def history(self, *names: str, all: bool = False) -> History | Difference:
        """What was done: this session's verbs that changed something, from the ledger.

        With `all` also those of earlier kernels in the home folder. One name leaves the entries
        about that adapter; two, as "a", "b" or "a,b", show where their last runs differ in spec,
        data and result. Raises `StateError` for a name that the ledger does not have.
        """
        from .history import history

        chosen = [name for given in names for name in re.split(r"[,\s]+", str(given)) if name]
        return history(self._ledger, self.home, chosen, all)

    def board(self, *names: str, sort: str | None = None) -> Board:
        """Every adapter in one table, or those named: held-out loss, forgetting, size and time.

        There is a row for each adapter and each set of rows that it was measured on. Rows with the
        same `data` come together, the lowest held-out loss first; `sort` is another column to sort
        by. Nothing is measured: the numbers are those of the last runs and of the evaluations.
        Raises `StateError` without a base, `AdapterError` for a name that is not attached, and
        `CommandError` for an unknown column.
        """
        from . import queries

        _ = self._state.base
        chosen = [name for given in names for name in queries.adapter_names(given)]
        return queries.board(self._view(), chosen, sort)

    def panel(self, view: str | None = None, **start: Any) -> Panel | PlanPanel:
        """Controls: ratio, spectrum, comparison, board and plan in tabs, or one `view`.

        They call the session as a cell would, and update after every verb. `start` are the initial
        values: `adapter`, `method`, `rank`, `targets`, `virtual_tokens` for "ratio"; `adapters` for
        "spectrum"; `adapters`, `sort` for "board"; `prompt`, `adapters`, `temperature`, `top_p`,
        `max_new_tokens`, `seed`, `scores` for "compare"; `model` and its flags for "plan".
        Drawing them needs a notebook. Raises `CommandError` for any other view or value.
        """
        # Imported from the room above: a panel belongs to a session but needs a notebook.
        if view == "plan":
            from lora_magic.magics.plan_panel import PlanPanel

            return PlanPanel(self, start)
        from lora_magic.magics.panel import Panel

        return Panel(self, view, start)

    def doctor(
        self, report: bool = False, watch: Callable[[str], None] | None = None
    ) -> Examination:
        """Is this installation sound? Versions, machine, front end, and every method tried.

        The methods are tried on the embedded model in sessions of their own, in at most about 20 s;
        this session is not used, and none of it is shown. The result is true if there is no
        problem; each problem says what to install or type. An interrupt ends the trials, and the
        rest is reported as not tried. With `report` the result displays a block of plain text for
        a bug report, without paths or personal names. `watch` is given a line before each check.
        """
        from .doctor import examine

        def front_end() -> list[Any]:
            # Imported from the room above: only that room can ask which notebook this is.
            from lora_magic.magics.front_end import findings

            return findings()

        with self._lock.locked():
            self._lock.doing = "doctor"
            return examine(self.home, front_end, watch or (lambda line: None), for_report=report)

    def serve(
        self,
        *,
        port: int = 0,
        token: str | None = None,
        no_token: bool = False,
        stop: bool = False,
    ) -> Server | Receipt:
        """Answer OpenAI's chat completions on 127.0.0.1, in threads of their own.

        A request's model is "base" or an adapter. Its text is that of `ask(messages=…)` with the
        same flags, whose defaults it has too: temperature 0, 200 tokens, seed 0. Requests that wait
        together are answered in one batch, and those that come while a verb runs are refused (503,
        Retry-After). A verb that comes while a batch is answered waits for it.
        Stop the server before you call `session.model` yourself.

        A client takes `server.url` and `server.token`; the token is `token`, by default one that is
        drawn, and with `no_token` none is required. The same call again returns the same server. It
        ends with `stop`, `reset`, another base, and the kernel. Raises `StateError` without a base,
        for a port that is taken, and for another port or token while it runs; `CommandError` for a
        classifier and a token of fewer than 16 characters; `PromptError` without a tokenizer.
        """
        from . import serving

        given = (port, token, no_token)
        return serving.stop(self, *given) if stop else serving.serve(self, *given)

    # Merging

    @transactional
    def merge(self, name: str | None = None, *, check: bool = False) -> MergeReport:
        """Fold ΔW into copies of the target weights: W = W0 + ΔW, no extra latency.

        The base's own tensors are kept, so `unmerge` is exact. Merging a merged adapter does
        nothing; merging another one unmerges first. What rounding lost of a low-rank ΔW is
        estimated from 4,096 entries of each module; with `check` it is computed from all of them.
        """
        from . import merging

        return merging.merge(self._state, name, check=check)

    @transactional
    def unmerge(self) -> Receipt:
        """Restore the base's own weights, bit for bit; the adapter stays active, unmerged."""
        from . import merging

        return merging.unmerge(self._state)

    # New adapters from others

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
        """A new adapter from others, not activated: ΔW = Σ wᵢ·ΔWᵢ.

        `weights` are `{"a": 0.7, "b": -0.3}` or "a=0.7 b=-0.3"; they need not sum to 1. The sum is
        exact for all ranks, scales and targets, unless `rank` truncates it to the best ΔW of that
        rank. The methods "ties", "dare" and "magnitude" keep a share `density` of the entries
        (defaults 0.2, 0.5 and 0.5; `seed` sets dare's draw) and truncate to `rank`, by default
        the sum of the parts' ranks. A part whose ΔW is not low rank (DoRA, (IA)³, full fine-tuning)
        needs `rank`. The result is a plain LoRA; its record says what was lost. Repeating a blend
        returns the attached adapter. Raises `AdapterError` for parts without a ΔW, and for a name
        that is taken unless `replace`.
        """
        from . import combining

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
        budget: int | None = None,
        remove_intruders: bool = False,
        data: Any = None,
        text: str | None = None,
        columns: str | None = None,
        map_: Function | None = None,
        format: str | None = None,
        skip_bad: bool = False,
        rows: int | None = None,
        replace: bool = False,
        watch: Watch | None = None,
    ) -> Compression | RankEvidence | Removal:
        """A plain LoRA of a smaller rank, not activated: the best approximation (Eckart–Young).

        Give `rank`; or the share `energy` of Σσ² that each module keeps; or a `budget`, the rank
        whose parameters are shared out over the modules by their σ. With none of them, the record
        shows what each rank would lose, and nothing is attached. `new` defaults to `NAME_r4`,
        `NAME_e95` or `NAME_b4`. A full fine-tune becomes a LoRA on every matrix, with its biases,
        norms and head. Raises `AdapterError` for a method without a ΔW, and for a name that is
        taken unless `replace`.

        With rows (`data`, given as to `train`, or `text`; `rows` takes only the first of them) and
        no size, base, adapter and every rank are measured on them: the loss, and whether the greedy
        answers stay the same. `RankEvidence` names the smallest rank that keeps 99 % of the gain.
        `watch` is called with a function that returns the progress in one line; if it returns true,
        what was measured so far is returned.

        With `remove_intruders` the rank stays, and a quarter of every intruder dimension is taken
        away, as by PEFT's `reduce_intruder_dimension`; `new` defaults to `NAME_no_intruders`. The
        record has their number by module, what that changed of the forgetting and, with rows, of
        the loss. If `watch` returns true, it raises `KeyboardInterrupt` and attaches nothing.
        """
        from . import combining, ranks, removing

        size = (rank, energy, budget)
        reading = {"columns": columns, "map_": map_, "format": format, "skip_bad": skip_bad}
        given = data is not None or text is not None
        if not given:
            combining.refuse_reading(rows=rows, **reading)
        read = partial(self._rows, "compress", data, text, prompts=True, **reading)
        if remove_intruders:
            return removing.remove(
                self._state,
                *(name, new, size, read if given else None),
                most=rows,
                skip_bad=skip_bad,
                replace=replace,
                watch=watch,
            )
        if given:
            combining.check_evidence(self._state, name, new, size)
            return ranks.ranks(self._state, name, read, most=rows, skip_bad=skip_bad, watch=watch)
        return combining.compress(self._state, name, new, size, replace=replace)

    # What leaves the notebook

    @transactional
    def script(
        self,
        name: str | None = None,
        file: str | Path | None = None,
        *,
        notebook: bool = False,
        replace: bool = False,
    ) -> Script:
        """Write what made an adapter as a program that needs only transformers and peft.

        `file` defaults to NAME.py in the current folder, with `notebook` to NAME.ipynb, whose cells
        are the program's sections; rows that are long go into files beside it. A run with
        `plain_step` on a CPU is repeated bit for bit, any other one nearly. For a blend or a
        compression the program has the runs of the adapters that it was made from, then what was
        made of them; an adapter that was opened is read from its folder.

        Raises `ExportError` for an adapter without a run, a method that PEFT lacks, rows that are
        not known any more, and a file that is there, unless `replace`; `StateError` while something
        is merged or several adapters are active.
        """
        from .scripting import script

        return script(self._state, name, file, cells=notebook, replace=replace)
