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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lora_magic.base.device import peak_memory
from lora_magic.base.restore import Generators
from lora_magic.errors import TrainingError, listed
from lora_magic.interrupts import Stop

from . import batches, held_out, progress
from .batches import collate
from .encode import Encoded, Example
from .held_out import Measurement
from .hooks import Hooks
from .progress import Progress, Snapshot
from .reporter import Reporter, RunPlan, StepPoint
from .spec import TrainSpec
from .summary import RunSummary

if TYPE_CHECKING:
    from .trainer import Parts


@contextmanager
def _quiet_import() -> Iterator[None]:
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

    `start` is the snapshot that the run continues from, None for a new one.
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
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.device = next(self.model.parameters()).device
        self.train, self.held_out = batches.sides(self.encoded, self.spec)
        self.spec = self.spec.fitted(len(self.train), len(self.held_out))
        self.steps = batches.steps(len(self.train), self.spec)
        self._evaluations = batches.evaluations(
            self.steps, len(self.held_out), decisive=self.spec.decisive
        )
        self._loss = 0.0
        self._began = 0.0
        self._trained: list[nn.Parameter] = []
        self._parts: Parts | None = None

    def all(self, groups: list[dict[str, Any]]) -> RunSummary:
        """Announce, measure, train, measure."""
        self._trained = [parameter for group in groups for parameter in group["params"]]
        self.reporter.start(self._plan())
        with _quiet_import():
            # Takes seconds, so it comes after the first line is shown.
            from .trainer import Parts, quiet

        with quiet(), tempfile.TemporaryDirectory(prefix="lora_magic-") as folder:
            self._parts = Parts.of(groups, self.spec)
            with self.stop.abortable():
                self.hooks.begin(len(self.steps), self._batches)
            if self.start is None:
                self._measure()
            else:
                self._return_to(self.start)
            with self._ended_early():
                self._take_steps(folder)
            if not all(bool(torch.isfinite(parameter).all()) for parameter in self._trained):
                raise self._diverged("a weight is not finite after", self.progress.steps)
            ended = self._ended() or "stopped"
            # Measuring takes time, and a stop should be quick.
            if ended != "stopped":
                self._measure()
                self._keep_best()
        summary = self._summary(ended)
        self.reporter.finish(summary)
        return summary

    def snapshot(self) -> Snapshot:
        """The run after its last finished step; call it between two steps."""
        assert self._parts is not None  # the run has begun
        return Snapshot(
            self.progress.copy(),
            progress.weights_of(self._trained),
            **self._parts.state(),
            hooks=progress.own(self.hooks.state()),
        )

    def _return_to(self, snapshot: Snapshot) -> None:
        """Set weights, optimizer and hooks to a snapshot's; the generators follow in the step."""
        assert self._parts is not None  # the run has begun
        self.progress = snapshot.progress.copy()
        progress.set_weights(self._trained, snapshot.weights)
        self._parts.load(snapshot.optimizer, snapshot.schedule, snapshot.scaler)
        self.hooks.load(snapshot.hooks)

    def _take_steps(self, folder: str) -> None:
        """The steps that are not finished yet."""
        from .trainer import train

        assert self._parts is not None  # the run has begun
        done = self.progress.steps
        self._began, self._loss = 0.0, 0.0
        train(
            self.model,
            self._parts,
            self.steps[done:],
            self._batch,
            self.spec,
            folder,
            self._after_pass,
            self._after_step,
            hooks=self.hooks,
            abortable=self.stop.abortable,
            done=done,
            generators=self.progress.generators,
            mean_of_pass=bool(self.encoded.classes),
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
        what = f", {trained:,} token{'s' * (trained != 1)} trained{self._smaller(trained)}"
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
        if data.classes:
            what, end = "", f"labels {listed(data.classes)}"
        line = (
            f"{self.name}: {seen}{count} {noun}{'s' * (count != 1)}{what}{less} · "
            f"{self.spec.line}, {end}"
        )
        return RunPlan(self.name, line)

    def _smaller(self, tokens: int) -> str:
        """Whether the adapter has fewer parameters than the rows have trained tokens.

        With fewer, LoRA falls behind full fine-tuning ("LoRA Without Regret", Thinking Machines
        2025). This is information, no advice: on the embedded model rank 1 has most of the gain.
        """
        parameters = sum(parameter.numel() for parameter in self._trained)
        return f" (the adapter has only {parameters:,} parameters)" if parameters < tokens else ""

    def _reached(self, steps: int) -> tuple[int, int]:
        """How many examples the first `steps` steps read, and their trained tokens."""
        rows = {index for step in self.steps[:steps] for part in step for index in part}
        return len(rows), sum(self.train[index].trained for index in rows)

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """The batches that the steps will see, on the model's device."""
        for step in self.steps:
            for part in step:
                yield self._on_device([self.train[index] for index in part])

    def _on_device(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        batch = collate(examples, self.pad_id)
        return {key: value.to(self.device) for key, value in batch.items()}

    def _batch(self, indices: list[int]) -> dict[str, Tensor]:
        # The clock starts here: making a Trainer takes longer than a small step.
        self._began = self._began or time.perf_counter()
        return collate([self.train[index] for index in indices], self.pad_id)

    def _after_pass(self, loss: float) -> None:
        # Checked before the optimizer's step, while the weights are still finite.
        if not math.isfinite(loss):
            raise self._diverged("the loss is not finite at", self.progress.steps + 1)
        self._loss += loss

    def _after_step(self) -> bool:
        """Record the step that is finished now; true ends the run."""
        now, so_far = time.perf_counter(), self.progress
        so_far.losses.append(self._loss)
        self._loss = 0.0
        so_far.generators = Generators.now()
        done, total = so_far.steps, len(self.steps)
        so_far.tokens += sum(
            len(self.train[index].tokens) for part in self.steps[done - 1] for index in part
        )
        so_far.seconds += now - self._began
        if done in self._evaluations:
            self._measure()
        # Measuring does not count as training time.
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
        return "stopped" if self.stop.requested else None

    def _keep_best(self) -> None:
        """Set the weights of the best measurement, if that decides."""
        best = self.progress.best
        if best is not None and best.step < self.progress.steps:
            progress.set_weights(self._trained, best.weights)

    def _point(self, done: int, total: int) -> StepPoint:
        so_far = self.progress
        elapsed = so_far.seconds
        left = elapsed / done * (total - done)
        speed = so_far.tokens / elapsed if elapsed else 0.0
        memory, losses = peak_memory(self.device), so_far.held_out_losses
        return StepPoint(done, total, so_far.losses[-1], elapsed, left, speed, memory, losses)

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
                found = self._measured()
        except KeyboardInterrupt:
            return
        if found is not None:
            so_far.measurements.append((so_far.steps, found))
            so_far.measuring += time.perf_counter() - began
            if self.spec.decisive and so_far.steps and self.hooks.settled(so_far.steps):
                so_far.improve(self._trained)

    def _measured(self) -> Measurement | None:
        return held_out.measure(
            self.model,
            self.held_out,
            self._on_device,
            self.spec.pass_size,
            classes=self.encoded.classes,
            stopped=lambda: self.stop.requested,
        )

    def _summary(self, ended: str) -> RunSummary:
        so_far, stopped = self.progress, ended == "stopped"
        best = None if stopped or so_far.best is None else so_far.best.step
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
        )
