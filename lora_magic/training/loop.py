"""The steps of one run: announce, measure, train, measure, and what a snapshot of it holds.

Knows encoded examples, a model's trainable parameters and, once it starts, transformers' Trainer;
knows no adapter and no file. `run` guards it and restores what it changes on the model.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from lora_magic.base.device import out_of_memory, release_after
from lora_magic.base.restore import Generators, evaluating
from lora_magic.errors import AdapterError, TrainingError, listed
from lora_magic.interrupts import Stop

from . import batches, checkpoint, diagnosis, held_out, inside, preference, progress
from .batches import IDLE, Step, collate
from .checkpoint import Keeper
from .diagnosis import Without
from .encode import Encoded, Example
from .held_out import Measurement
from .hooks import Hooks
from .inside import Inside, Recorder
from .peak import Forecast, Predict, StepPeak, highest
from .preference import Preference
from .progress import Progress, Snapshot
from .reporter import Reporter, RunPlan, SilentReporter, StepPoint
from .spec import TrainSpec
from .summary import RunSummary
from .way import Layers, Way, choose
from .world import Alone, World, gathered, idle, share

if TYPE_CHECKING:
    from .trainer import Parts


#: What is predicted is said again if it changes by more, as a share, once the passes are chosen.
_OTHER = 0.1

T = TypeVar("T")


@contextmanager
def quiet_import() -> Iterator[None]:
    """No warnings and no log lines while a library is imported."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@dataclass(eq=False)
class Loop:
    """One run; `progress` is what has been measured so far.

    `start` is the snapshot that the run continues from, None for a new one; its values are checked,
    since it may come from a file. `keeper`, if there is one, stores snapshots. `without` takes the
    adapter out of the model for a block; None if the caller cannot. After `until` steps, counted
    from the start of the run, it pauses: it is measured, and `keeper` is given its snapshot.
    `recorder` reads the adapter's inside between some of the steps. `frozen` are the base's
    tensors, also those that are not in the model while the adapter is. `predict` predicts the
    memory of a pass; the caller has `kept` bytes of earlier states. With the several workers of
    `world` each runs this; what is decided by a clock or a person, worker 0 decides.
    """

    name: str
    model: nn.Module
    pad_id: int
    encoded: Encoded
    spec: TrainSpec
    reporter: Reporter
    hooks: Hooks
    stop: Stop
    start: Snapshot | None = None
    keeper: Keeper | None = None
    without: Without | None = None
    until: int | None = None
    layers: Layers | None = None
    recorder: Recorder | None = None
    frozen: Sequence[Tensor] = ()
    predict: Predict | None = None
    kept: int = 0
    world: World = field(default_factory=Alone)
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        #: The person's; `stop` is what all workers know of it.
        self._asked = self.stop
        if self.world.size > 1:
            self.stop = Stop(deferring=True)
        if self.world.rank:
            self.reporter, self.keeper, self.recorder = SilentReporter(), None, None
            self.spec = replace(self.spec, report_to=None)
        self.device = next(self.model.parameters()).device
        self.train, self.held_out = batches.sides(self.encoded, self.spec)
        self.spec = self.spec.fitted(len(self.train), len(self.held_out))
        #: What the steps' indices count: the run's own examples, then those that are replayed.
        self._read = [*self.train, *self.encoded.replay]
        self.steps = batches.steps(len(self.train), self.spec, len(self.encoded.replay))
        self._evaluations = batches.evaluations(
            self.steps, len(self.held_out), decisive=self.spec.decisive
        )
        self._way = Way(self.model, self.pad_id)
        self._peak = StepPeak(self.device, self.standing, self.kept)
        self._loss = 0.0
        self._began = 0.0
        self._updating = False
        self._preference = Preference(self.spec.beta) if self.spec.beta is not None else None
        self._forecast = self._predicted(None)
        self._reference: dict[int, float] = {}
        self._trained: list[nn.Parameter] = []
        self._parts: Parts | None = None

    def all(self, groups: list[dict[str, Any]]) -> RunSummary:
        """Announce, measure, train, measure."""
        self._trained = [parameter for group in groups for parameter in group["params"]]
        self.reporter.start(self._plan())
        with quiet_import():
            # Takes seconds, so it comes after the first line is shown.
            from .trainer import Parts, quiet

        untold = ""
        with quiet(), tempfile.TemporaryDirectory(prefix="lora_magic-") as folder:
            self._parts = Parts.of(groups, self.spec)
            with self.stop.abortable():
                self._fitting(self._begin)
                self._fitting(self._choose)
            self._align()
            if self.start is None:
                self._refer()
                self._measure()
                if self.held_out and not self.progress.measurements and self.stop.requested:
                    # Nothing is lost: no step has begun.
                    raise KeyboardInterrupt
            else:
                self._resume(self.start)
            with self._ended_early():
                untold = self._fitting(lambda: self._take_steps(folder))
            ended = self._settle()
        if untold:
            line = f"{self.name} is trained, but the tracker did not get all of it ({untold})."
            warnings.warn(line, RuntimeWarning, stacklevel=2)
        summary = self._summary(ended)
        self.reporter.finish(summary)
        return summary

    def standing(self) -> Iterator[Tensor]:
        """The tensors that are there between two steps."""
        assert self._parts is not None  # the run has begun
        yield from (*self.frozen, *self.model.parameters(), *self.model.buffers(), *self._trained)
        for state in self._parts.optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))

    def _settle(self) -> str:
        """After the last step: measure and keep the best weights, or a snapshot to go on from.

        Returns what ended the run; raises `TrainingError` for a weight that is not finite.
        """
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self._trained):
            raise self._diverged("a weight is not finite after", self.progress.steps)
        self._look_inside(None)
        ended = self._ended() or "stopped"
        if ended not in ("stopped", "paused"):
            self._measure()
            self._keep_best()
        elif self.keeper is not None:
            self.keeper.stopped(self.snapshot)
        return ended

    def _begin(self) -> None:
        """Let the method begin; a base or rows that are not finite are named as its cause."""
        try:
            self.hooks.begin(len(self.steps), self._batches)
        except AdapterError as error:
            read = {index for step in self.steps for part in step for index in part}
            examples = [self._read[index] for index in sorted(read)]
            cause = None if out_of_memory(error) else self._cause(examples)
            if cause is None:
                raise
            raise TrainingError(f"{self.name}: {cause}.") from None

    def _align(self) -> None:
        """Give all workers the weights of worker 0.

        An initial state from the rows is not the same on processors of different kinds.
        """
        if self.world.size > 1:
            weights = [parameter.detach() for parameter in self._trained]
            if self.world.rank:
                for weight in weights:
                    weight.zero_()
            self.world.add(weights)

    def _choose(self) -> None:
        """Try the ways of computing a step that are faster than the plain one."""
        if self.world.split:
            # The others read weights outside of the forward that gathers them.
            self._way = replace(self._way, reasons=("the base is split over the workers",))
            self._tell(self._way.line)
        elif not self.spec.plain_step:
            read = [*self._read, *self.held_out]
            self._way = choose(self.model, self.pad_id, read, self._trained, self.layers)
            if self._way.reasons and not self._way.packed:
                self._tell(self._way.line)
        said, self._forecast = self._forecast, self._predicted(self._way)
        if said and self._forecast and abs(self._forecast.bytes / said.bytes - 1) > _OTHER:
            self._tell(self._forecast.line)

    def _predicted(self, way: Way | None) -> Forecast | None:
        """What the largest pass needs; not said of preferences, whose pairs are two rows each."""
        if self._preference is not None:
            return None
        shares = filter(None, map(self._share, self.steps))
        steps = [[[self._read[at] for at in part] for part in step] for step in shares]
        if not steps:
            return None
        passes = highest(steps, self.spec, way)
        self._peak.starts_high = passes[0].first or len(steps) == 1
        found = [self.predict(one) for one in passes] if self.predict is not None else [None]
        known = [forecast for forecast in found if forecast is not None]
        if len(known) < len(found):
            return None
        largest = max(known, key=lambda one: one.bytes)
        return replace(largest, workers=self.world.size)

    def _refer(self) -> None:
        """With preferences: measure the starting state's log-probabilities."""
        if self._preference is None:
            return
        pairs = [*self.train, *self.held_out]
        mine = share(pairs, self.world)
        so_far = self.progress.reference

        def measured() -> None:
            size = self.spec.pass_size  # smaller after a lack of memory
            with evaluating(self.model), self.stop.abortable():
                while len(so_far) < len(mine):
                    batch = self._on_device(mine[len(so_far) : len(so_far) + size])
                    so_far.extend(preference.reference(self.model, batch))
                for _ in range(idle(len(pairs), size, self.world)):
                    preference.reference(self.model, self._on_device(pairs[:1]))

        self._fitting(measured)
        so_far[:] = gathered(so_far, len(pairs), self.world)
        self._set_reference()

    def _set_reference(self) -> None:
        pairs = [*self.train, *self.held_out]
        values = self.progress.reference
        self._reference = {id(e): value for e, value in zip(pairs, values, strict=False)}

    def snapshot(self) -> Snapshot:
        """The run after its last finished step; call it between two steps."""
        assert self._parts is not None  # the run has begun
        return Snapshot(
            self.progress.copy(),
            len(self.steps),
            progress.weights_of(self._trained),
            **self._parts.state(),
            hooks=progress.own(self.hooks.state()),
        )

    def _resume(self, start: Snapshot) -> None:
        """Continue from a snapshot; raises `TrainingError` for one that does not fit this run."""
        assert self._parts is not None  # the run has begun
        try:
            checkpoint.check(
                start,
                self._trained,
                len(self.steps),
                passes=self.spec.batch_size,
                pairs=len(self.train) + len(self.held_out) if self._preference else 0,
                decisive=self.spec.decisive,
            )
            self._parts.check(start)
            if start.hooks and not self.hooks.state():
                raise ValueError("hooks: the method has none")
            self._return_to(start)
        except ValueError as error:
            raise TrainingError(
                f"{self.name}: the checkpoint does not fit this run ({error}); run the cell "
                "without --resume."
            ) from None
        done = self.progress.steps
        if done in self._evaluations and self.progress.measured(done) is None:
            self._measure()  # the user stopped the run during this measurement

    def _return_to(self, snapshot: Snapshot) -> None:
        """Set weights, optimizer and hooks to a snapshot's; the generators follow in the step."""
        assert self._parts is not None  # the run has begun
        self.progress = snapshot.progress.copy()
        self._peak.bytes, self._peak.largest = self.progress.peak, self.progress.largest
        if self.progress.passes:
            passes, again = self.progress.passes, self.progress.checkpointing
            self._fit(replace(self.spec, accumulation=passes, checkpointing=again))
        self._set_reference()
        progress.set_weights(self._trained, snapshot.weights)
        self._parts.load(snapshot.optimizer, snapshot.schedule, snapshot.scaler)
        self.hooks.load(snapshot.hooks)
        # Without the reading of a run that was stopped between two of them.
        kept = [one for one in self.progress.inside if one.step in self._due]
        self.progress.inside = kept

    def _fitting(self, work: Callable[[], T]) -> T:
        """Do work again in less memory each time that memory runs out, while that is possible.

        A step is repeated from its start: its passes have changed no weight, and the generators
        return to where they were. The optimizer's own step needs no less memory in smaller passes,
        and may have changed some weights: its lack of memory is an error. A worker repeats work by
        itself, before it asks the others for a sum.
        """
        while True:
            try:
                return work()
            except Exception as error:
                smaller = self._smaller()
                if self._updating or smaller is None or not out_of_memory(error):
                    raise
                release_after(error)
            at, before = self.progress.steps + 1, self.spec
            self._fit(smaller)
            self.progress.passes = smaller.accumulation
            self.progress.checkpointing = smaller.checkpointing
            self._note(f"memory ran out at step {at}: {smaller.less_than(before)}")

    def no_memory(self) -> TrainingError:
        """The error when memory runs out and nothing is left to reduce."""
        spec, size = self.spec, self.spec.pass_size
        if self._updating:
            return TrainingError(
                f"{self.name}: out of memory in the optimizer's step, where smaller passes do "
                "not help: attach with a smaller --rank or fewer --targets, or train with "
                "--optimizer paged-adamw-8bit."
            )
        again = " and gradient checkpointing" if spec.checkpointing else ""
        return TrainingError(
            f"{self.name}: out of memory even with {size} row{'s' * (size != 1)} per pass of at "
            f"most {spec.max_length} tokens{again}: lower --max-length, or load a smaller base."
        )

    def _smaller(self) -> TrainSpec | None:
        if self.world.split:
            # The others wait in the middle of a pass that this worker has begun.
            return None
        able = bool(getattr(self.model, "supports_gradient_checkpointing", False))
        return replace(self.spec, can_checkpoint=self.spec.can_checkpoint and able).smaller

    def _fit(self, spec: TrainSpec) -> None:
        """Take the remaining steps as a spec says: the same examples in other passes."""
        self.spec = spec
        self.steps = batches.steps(len(self.train), spec, len(self.encoded.replay))
        self._forecast = self._predicted(self._way)

    def _note(self, line: str) -> None:
        self.progress.notes.append(line)
        self._tell(line)

    def _tell(self, line: str) -> None:
        if (tell := getattr(self.reporter, "note", None)) is not None:
            tell(line)

    @property
    def tokens(self) -> int:
        """The mean number of tokens that a step reads."""
        read = (index for step in self.steps for part in step for index in part)
        return round(sum(len(self._read[index].tokens) for index in read) / len(self.steps))

    @cached_property
    def _due(self) -> frozenset[int]:
        """After how many steps the recorder reads."""
        if self.recorder is None:
            return frozenset()
        return frozenset(self.recorder.plan(len(self.steps), self.tokens))

    def _look_inside(self, scale: float | None) -> None:
        """Read the adapter's inside, if it is time: before a step, or with None after the last one.

        The gradients are complete and not clipped then, and `scale` times too large.
        """
        step, so_far = self.progress.steps, self.progress
        if self.recorder is not None and (scale is None or step in self._due):
            found = self.recorder.read(step, scale)
            so_far.inside = inside.replaced(so_far.inside, step, found)

    @property
    def _inside(self) -> Inside | None:
        """What was read so far."""
        recorder, found = self.recorder, tuple(self.progress.inside)
        if recorder is None:
            return None
        return Inside(found, recorder.modules, recorder.base_tensors)

    def _before_update(self) -> None:
        """Before the optimizer changes the weights."""
        gradients = [parameter.grad for parameter in self._trained]
        if not self.progress.steps and not any(g is not None and bool(g.any()) for g in gradients):
            raise TrainingError(
                f"{self.name}: all gradients are zero at step 1, so it would learn nothing: "
                f"{self._why_no_gradient()}"
            )
        self._updating = True

    def _why_no_gradient(self) -> str:
        if not any(bool(parameter.any()) for parameter in self._trained):
            return (
                "its weights are all zero, A and B, and the gradient of each is a multiple of the "
                f"other. Attach it again: %lora attach {self.name} --replace"
            )
        return (
            "the loss does not depend on the adapter. Train a copy of the model that nothing else "
            f"has changed, or attach other targets: %lora attach {self.name} --targets "
            "all-linear --replace"
        )

    def _take_steps(self, folder: str) -> str:
        """The steps that are not finished yet; returns why a tracker got no more, or ""."""
        done = self.progress.steps
        if done and self._ended() not in (None, "stopped"):
            # A checkpoint may be of the step that ended the run.
            return ""
        for parameter in self._trained:
            # Of a pass that ran out of memory.
            parameter.grad = None
        self._began, self._loss = 0.0, 0.0
        with closing(self._peak):
            return self._train(folder)

    def _train(self, folder: str) -> str:
        """Take the steps that are left."""
        from .trainer import train

        assert self._parts is not None  # the run has begun
        done = self.progress.steps
        return train(
            self.name,
            self.model,
            self._parts,
            self.steps[done:],
            self._passes,
            self._way,
            self.spec,
            folder,
            self._after_pass,
            self._after_passes,
            self._before_update,
            self._after_step,
            peak=self._peak,
            hooks=self.hooks,
            abortable=self.stop.abortable,
            tracked=self._tracked,
            done=done,
            generators=self.progress.generators,
            mean_of_pass=bool(self.encoded.classes),
            preference=self._preference,
            world=self.world,
            items=self._items,
        )

    @contextmanager
    def _ended_early(self) -> Iterator[None]:
        """A second interrupt ends the block, if a step is finished; the unfinished one is dropped.

        It comes during a pass, so the weights are those of the last finished step.
        """
        try:
            yield
        except KeyboardInterrupt:
            if not (self.progress.steps and self.stop.aborted):
                raise

    def _plan(self) -> RunPlan:
        data, count = self.encoded, len(self.train)
        reached, trained = self._reached(len(self.steps))
        noun = "text" if data.texts == count + len(self.held_out) else "row"
        noun = "pair" if self._preference else noun
        what = f", {trained:,} token{'s' * (trained != 1)} trained{self._smaller_than(trained)}"
        seen = "" if reached == count else f"{reached} of "
        twice = len(data.examples) - count if data.held_out is not None else 0
        odd = (
            (data.cut, "cut"),
            (data.empty, "empty"),
            (data.full, "left out (prompt too long)"),
            (twice, "left out (in --eval)"),
        )
        less = "".join(f", {number} {how}" for number, how in odd if number)
        end = f"ends with {data.end_token}" if data.end_token else "no end token"
        if others := len({example.row for example in data.replay}):
            share = f"{100 * self.spec.replay:g} %"
            less += f" + {share} replay of {others} guard row{'s' * (others != 1)}"
        if data.classes:
            what, end = "", f"labels {listed(data.classes)}"
        line = (
            f"{self.name}: {seen}{count} {noun}{'s' * (count != 1)}{what}{less} · "
            f"{self.spec.line}, {end}"
        )
        if self._forecast is not None:
            line += f" · {self._forecast.line}"
        if self.start is None:
            return RunPlan(self.name, line, data.sample)
        done = self.start.progress.losses
        line = f"{line}; resumed after step {len(done)} of {len(self.steps)}"
        return RunPlan(self.name, line, data.sample, tuple(done))

    def _smaller_than(self, tokens: int) -> str:
        """Whether the adapter has fewer parameters than the rows have trained tokens.

        With fewer, LoRA falls behind full fine-tuning ("LoRA Without Regret", Thinking Machines
        2025). This is information, no advice: on the embedded model rank 1 has most of the gain.
        """
        parameters = sum(parameter.numel() for parameter in self._trained)
        return f" (the adapter has only {parameters:,} parameters)" if parameters < tokens else ""

    def _reached(self, steps: int) -> tuple[int, int]:
        """How many of its own examples the first `steps` steps read, and their trained tokens."""
        read = {index for step in self.steps[:steps] for part in step for index in part}
        rows = [index for index in read if index < len(self.train)]
        return len(rows), sum(self.train[index].trained for index in rows)

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """The batches that the steps will see, on the model's device."""
        for step in self.steps:
            for part in step:
                yield self._on_device([self._read[index] for index in part])

    def _on_device(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        batch = self._collated(examples)
        return {key: value.to(self.device) for key, value in batch.items()}

    def _collated(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        batch = collate(examples, self.pad_id)
        if self._reference:
            batch["reference"] = torch.tensor([self._reference[id(e)] for e in examples])
        return batch

    def _passes(self, step: Step) -> list[dict[str, Tensor]]:
        # The clock starts here: making a Trainer takes longer than a small step.
        self._began = self._began or time.perf_counter()
        parts = [[self._read[index] for index in part] for part in self._share(step)]
        if self._reference:
            passes = [self._collated(part) for part in parts]
        else:
            passes = [self._way.batch(part) for part in self._way.passes(parts)]
        for _ in range(idle(sum(map(len, step)), self.spec.pass_size, self.world)):
            passes.append({**self._collated([self._read[step[0][0]]]), IDLE: torch.ones(())})
        return passes

    def _share(self, step: Step) -> Step:
        """What this worker computes of a step."""
        return batches.shared(step, self.world, self.spec.pass_size)

    def _items(self, step: Step) -> int:
        """What a step's loss is a mean over, on all workers: tokens, labels or pairs.

        Each worker's loss and gradients are those of Σ own losses / items, so that their sum over
        the workers is that of one process.
        """
        return sum(self._counts[index] for part in step for index in part)

    @cached_property
    def _counts(self) -> list[int]:
        return [1 if self._preference else example.trained for example in self._read]

    def _after_pass(self, loss: float) -> None:
        self._loss += loss

    def _after_passes(self, scale: float) -> None:
        """Add up the workers' losses and gradients; then read the adapter's inside."""
        # Whoever repeated the step now would ask for other sums than the others.
        self._updating = self.world.size > 1
        (self._loss,) = self.world.sums([self._loss])
        # Before the optimizer's step, while the weights are still finite.
        if not math.isfinite(self._loss):
            raise self._not_finite()
        if self.world.size > 1:
            for parameter in self._trained:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            self.world.add([p.grad for p in self._trained if p.grad is not None])
        self._look_inside(scale)

    def _agreed(self, seconds: float) -> float:
        """Worker 0's seconds; if it was asked to stop, all are from now on."""
        if self.world.size > 1:
            seconds, asked = self.world.first([seconds, float(self._asked.requested)])
            if asked:
                self.stop.request()
        return seconds

    def _after_step(self) -> bool:
        """Record the step that is finished now; true ends the run."""
        self._updating = False
        now, so_far = time.perf_counter(), self.progress
        so_far.losses.append(self._loss)
        so_far.peak, so_far.largest = self._peak.bytes, self._peak.largest
        self._loss = 0.0
        so_far.generators = Generators.now()
        done, total = so_far.steps, len(self.steps)
        so_far.tokens += sum(
            len(self._read[index].tokens) for part in self.steps[done - 1] for index in part
        )
        so_far.seconds += self._agreed(now - self._began)
        if done in self._evaluations or done in (total, self.until):
            # Here also after the last step, before trackers end with the Trainer.
            self._measure()
        if self.keeper is not None and done < total and not self.stop.requested:
            self.keeper.between_steps(self.snapshot)
        # Neither measuring nor writing a checkpoint counts as training time.
        self._began = time.perf_counter()
        self.reporter.step(self._point(done, total))
        return self._ended() is not None

    def _ended(self) -> str | None:
        """Why the run ends after the steps so far: `RunSummary.ended`; None if it goes on."""
        so_far, minutes = self.progress, self.spec.minutes
        if so_far.steps == len(self.steps):
            return "steps"
        if self.spec.decisive and so_far.waited >= (self.spec.patience or 0):
            return "held-out"
        if minutes is not None and so_far.seconds + so_far.measuring >= 60 * minutes:
            return "minutes"
        if so_far.steps == self.until:
            return "paused"
        return "stopped" if self.stop.requested else None

    def _keep_best(self) -> None:
        """Set the weights of the best measurement, if that decides."""
        best = self.progress.best
        if best is not None and best.step < self.progress.steps:
            progress.set_weights(self._trained, best.weights)

    def _tracked(self) -> dict[str, float]:
        """For a tracker: this step's loss, and the held-out loss if it was measured after it."""
        so_far = self.progress
        told = {"loss": so_far.losses[-1]} if so_far.losses else {}
        found = so_far.measured(so_far.steps)
        return told if found is None else {**told, "eval_loss": found.loss}

    def _point(self, done: int, total: int) -> StepPoint:
        so_far = self.progress
        elapsed = so_far.seconds
        left = elapsed / done * (total - done)
        speed = so_far.tokens / elapsed if elapsed else 0.0
        memory, losses = so_far.peak or None, so_far.held_out_losses
        return StepPoint(
            done,
            total,
            so_far.losses[-1],
            elapsed,
            left,
            speed,
            memory,
            losses,
            inside=self._inside,
            workers=self.world.size,
        )

    def _not_finite(self) -> TrainingError:
        """The error of a step whose loss is not finite: the cause is told apart."""
        done = self.progress.steps
        cause = self._cause([self._read[at] for part in self.steps[done] for at in part])
        if cause is None:
            return self._diverged("the loss is not finite at", done + 1)
        return TrainingError(f"{self.name}: {cause}.")

    def _cause(self, examples: Sequence[Example]) -> str | None:
        """Whether the base, or some of these examples, is the cause of what is not finite."""
        # Before the first update the model with its adapter is as sound as the base.
        without = self.without or (nullcontext if not self.progress.steps else None)
        if without is None:
            return None
        return diagnosis.not_finite(self.model, examples, self._on_device, without)

    def _diverged(self, what: str, step: int) -> TrainingError:
        rate = self.spec.learning_rate
        return TrainingError(
            f"{self.name}: {what} step {step} of {len(self.steps)} with --lr {rate:g}: "
            f"lower it, as in --lr {rate / 4:.1g}."
        )

    def _measure(self) -> None:
        """Measure the held-out examples, unless there are none or the user stops it."""
        so_far, began = self.progress, time.perf_counter()
        if not self.held_out or self.stop.aborted or so_far.measured(so_far.steps):
            return
        try:
            with self.stop.abortable():
                found = self._fitting(self._measured)
        except KeyboardInterrupt:
            return
        if found is not None:
            self._refuse_not_finite(found)
            so_far.measurements.append((so_far.steps, found))
            so_far.measuring += self._agreed(time.perf_counter() - began)
            if self.spec.decisive and so_far.steps and self.hooks.settled(so_far.steps):
                so_far.improve(self._trained)

    def _refuse_not_finite(self, found: Measurement) -> None:
        """Before the first step: a base or held-out rows that are not finite are an error."""
        if self.progress.steps or math.isfinite(found.loss):
            return
        if cause := self._cause(self.held_out):
            raise TrainingError(f"{self.name}: held out: {cause}.")

    def _measured(self) -> Measurement | None:
        return held_out.measure(
            self._way,
            self.held_out,
            self.spec.pass_size,
            batch=self._on_device if self._reference else None,
            preference=self._preference,
            classes=self.encoded.classes,
            stopped=lambda: self.stop.requested,
            world=self.world,
        )

    def _summary(self, ended: str) -> RunSummary:
        so_far, stopped = self.progress, ended == "stopped"
        kept = ended not in ("stopped", "paused") and so_far.best is not None
        best = so_far.best.step if kept and so_far.best else None
        before, after = so_far.measured(0), so_far.measured(best or so_far.steps)
        if stopped or not so_far.steps:
            after = None
        return RunSummary(
            adapter=self.name,
            steps=so_far.steps,
            planned_steps=len(self.steps),
            stopped=stopped,
            ended=ended,
            best_step=best,
            examples=len(self.train),
            held_out=len(self.held_out),
            trained_tokens=self._reached(so_far.steps)[1],
            cut=self.encoded.cut,
            empty=self.encoded.empty,
            losses=tuple(so_far.losses),
            held_out_before=before.loss if before else None,
            held_out_after=after.loss if after else None,
            held_out_losses=so_far.held_out_losses,
            seconds=so_far.seconds,
            learning_rate=self.spec.learning_rate,
            batch_size=self.spec.batch_size,
            seed=self.spec.seed,
            end_token=self.encoded.end_token,
            data_hash=self.encoded.data_hash,
            method_facts=self.hooks.facts(),
            classifies=bool(self.encoded.classes),
            accuracy_before=before.accuracy if before else None,
            accuracy_after=after.accuracy if after else None,
            notes=tuple(so_far.notes),
            step=self._way.line,
            beta=self.spec.beta,
            preferred=after.preferred if after else None,
            inside=self._inside,
            predicted_peak=self._forecast.bytes if self._forecast else None,
            peak=so_far.peak or None,
            workers=self.world.size,
        )
