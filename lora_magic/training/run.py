"""One training run: from encoded rows to a summary; all else in the model is restored.

Trains the parameters that require a gradient when it is called, and no others. Knows torch and,
once a run starts, transformers' Trainer; knows no adapter, no session and no notebook.
"""

from __future__ import annotations

import gc
import logging
import math
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from traceback import clear_frames
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.device import fitting_threads, out_of_memory, peak_memory
from lora_magic.base.restore import (
    environment,
    evaluating,
    generators,
    gradients,
    namespaces,
    restoring,
)
from lora_magic.errors import TrainingError, listed
from lora_magic.interrupts import Stop

from . import batches, optimizers
from .batches import collate
from .encode import IGNORED, Encoded, Example
from .hooks import Hooks, NoHooks
from .reporter import Reporter, RunPlan, SilentReporter, StepPoint
from .spec import TrainSpec
from .summary import Accuracy, RunSummary


def run(
    name: str,
    model: nn.Module,
    tokenizer: Any,
    encoded: Encoded,
    spec: TrainSpec,
    *,
    hooks: Hooks | None = None,
    reporter: Reporter | None = None,
    stop: Stop | None = None,
    frozen: Mapping[str, Tensor] | None = None,
) -> RunSummary:
    """Train the parameters of `model` that require a gradient, and restore all else.

    The loss is the mean over all trained tokens of a step (for a classifier, over its examples),
    however many passes the step takes. On the same machine, the same initial state gives the same
    bits. An interrupt (in the main thread) or the reporter's `stop` ends the run after the current
    step; a second one ends it at once, in the middle of a step, which then does not count; without
    a finished step it raises `KeyboardInterrupt`. `stop` has the interrupts if the caller handles
    them. Held-out examples are measured before, during and after the run.

    Raises `CommandError` for LoRA+ without a pair of A and B, and `TrainingError` if no parameter
    requires a gradient, one shares its memory with a tensor in `frozen` (by name), the loss or a
    weight is not finite, or the device runs out of memory. After
    an error the weights are those of the last finished step: the caller restores them.
    """
    named = [(path, p) for path, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise TrainingError(
            f"{name}: no parameter requires a gradient; first type: %lora attach {name}"
        )
    groups = optimizers.groups(named, spec)
    _refuse_frozen(name, groups, frozen or {})
    pad = _pad_id(tokenizer, model if encoded.classes else None)
    reporter = reporter or SilentReporter()
    asked = stop or Stop(getattr(reporter, "stop", None), deferring=True)
    work = _Run(name, model, pad, encoded, spec, reporter, hooks or NoHooks(), asked)
    try:
        # Outermost: an interrupt while the rest is restored must not lose a finished run.
        with (
            nullcontext() if stop else asked,
            own_garbage(),
            _unchanged(model),
            fitting_threads(model),
        ):
            return work.all(groups)
    except Exception as error:
        if not out_of_memory(error):
            raise
        # A notebook keeps the last error, and its frames would keep the activations.
        clear_frames(error.__traceback__)
        gc.collect()
        raise TrainingError(
            f"out of memory with {spec.batch_size} rows per step in {spec.accumulation} passes of "
            f"at most {spec.max_length} tokens per row: lower --max-length or --batch-size."
        ) from None


def _refuse_frozen(
    name: str, groups: Sequence[Mapping[str, Any]], frozen: Mapping[str, Tensor]
) -> None:
    """Raise `TrainingError` if the optimizer would write into a frozen tensor's memory."""
    memory = {_memory(tensor): path for path, tensor in frozen.items() if tensor.numel()}
    trained = [parameter for group in groups for parameter in group["params"]]
    found = [memory[_memory(p)] for p in trained if p.numel() and _memory(p) in memory]
    if found:
        raise TrainingError(
            f"{name}: training would change the base ({listed(found)}); a parameter of the "
            f"adapter shares its memory. Type: %lora attach {name} --replace"
        )


def _memory(tensor: Tensor) -> tuple[object, int]:
    return tensor.device, tensor.untyped_storage().data_ptr()


def _unchanged(model: nn.Module) -> AbstractContextManager[None]:
    """Restore everything that the Trainer and accelerate change, except the parameters' values.

    They set flags on every module, add attributes, may replace `forward`, switch the cache off and
    seed every generator.
    """
    around = (gradients(model), generators(), environment("ACCELERATE_"))
    return restoring(*namespaces(model), *around)


@contextmanager
def own_garbage() -> Iterator[None]:
    """Collect the block's reference cycles at its end: a Trainer and its optimizer form one.

    A full collection visits every object of the process, which takes half a second with these
    libraries, and accelerate starts one in each run. So older objects are frozen during the block,
    except on a GPU, where they may occupy memory, or if other code has frozen objects.
    """
    freezing = not torch.cuda.is_available() and gc.get_freeze_count() == 0
    if freezing:
        gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        if freezing:
            gc.unfreeze()


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


@dataclass(frozen=True)
class _HeldOut:
    """The held-out loss and accuracy after a step; None without examples, or if stopped."""

    loss: float | None = None
    accuracy: Accuracy | None = None


@dataclass(eq=False)
class _Run:
    """The state of one run: what has been measured so far."""

    name: str
    model: nn.Module
    pad_id: int
    encoded: Encoded
    spec: TrainSpec
    reporter: Reporter
    hooks: Hooks
    stop: Stop

    def __post_init__(self) -> None:
        self.device = next(self.model.parameters()).device
        self.train, self.held_out = batches.split(self.encoded.examples, self.spec)
        self.spec = self.spec.fitted(len(self.train))
        self.steps = batches.steps(len(self.train), self.spec)
        self.losses: list[float] = []
        self._held_out_losses: list[tuple[int, float]] = []
        self._evaluations = batches.evaluations(self.steps, len(self.held_out))
        self._loss = 0.0
        self._tokens = 0
        self._began = 0.0

    def all(self, groups: list[dict[str, Any]]) -> RunSummary:
        """Announce, measure, train, measure."""
        self.reporter.start(self._plan())
        with _quiet_import():
            # Takes seconds, so it comes after the first line is shown.
            from .trainer import quiet, train

        with quiet(), tempfile.TemporaryDirectory(prefix="lora_magic-") as folder:
            with self.stop.abortable():
                self.hooks.begin(len(self.steps), self._batches)
            before = self._measure()
            began = time.perf_counter()
            with self._ended_early():
                train(
                    self.model,
                    groups,
                    self.steps,
                    self._batch,
                    self.spec,
                    folder,
                    self._after_pass,
                    self._after_step,
                    hooks=self.hooks,
                    abortable=self.stop.abortable,
                    mean_of_pass=bool(self.encoded.classes),
                )
            seconds = time.perf_counter() - began
            trained = [parameter for group in groups for parameter in group["params"]]
            if not all(bool(torch.isfinite(parameter).all()) for parameter in trained):
                raise self._diverged("a weight is not finite after", len(self.losses))
            # Measuring takes time, and a stop should be quick.
            stopped = len(self.losses) < len(self.steps)
            after = _HeldOut() if stopped else self._measure()
        summary = self._summary(stopped, before, after, seconds)
        self.reporter.finish(summary)
        return summary

    @contextmanager
    def _ended_early(self) -> Iterator[None]:
        """A second interrupt ends the block, if a step is finished; the unfinished one is dropped.

        It comes during a pass, so the weights are those of the last finished step.
        """
        try:
            yield
        except KeyboardInterrupt:
            if not (self.losses and self.stop.aborted):
                raise

    def _plan(self) -> RunPlan:
        data, count = self.encoded, len(self.train)
        reached, trained = self._reached(len(self.steps))
        noun = "text" if data.texts == count + len(self.held_out) else "row"
        what = f", {trained:,} token{'s' * (trained != 1)} trained"
        seen = "" if reached == count else f"{reached} of "
        odd = ((data.cut, "cut"), (data.empty, "empty"), (data.full, "left out (prompt too long)"))
        less = "".join(f", {number} {how}" for number, how in odd if number)
        end = f"ends with {data.end_token}" if data.end_token else "no end token"
        if data.classes:
            what, end = "", f"labels {listed(data.classes)}"
        line = (
            f"{self.name}: {seen}{count} {noun}{'s' * (count != 1)}{what}{less} · "
            f"{self.spec.line}, {end}"
        )
        return RunPlan(self.name, line, data.sample)

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
            raise self._diverged("the loss is not finite at", len(self.losses) + 1)
        self._loss += loss

    def _after_step(self) -> bool:
        self.losses.append(self._loss)
        self._loss = 0.0
        done, total = len(self.losses), len(self.steps)
        self._tokens += sum(
            len(self.train[index].tokens) for part in self.steps[done - 1] for index in part
        )
        now = time.perf_counter()
        elapsed = now - self._began
        if done in self._evaluations:
            self._measure()
            # Measuring does not count as training time.
            self._began += time.perf_counter() - now
        left = elapsed / done * (total - done)
        speed = self._tokens / elapsed if elapsed else 0.0
        memory, held_out = peak_memory(self.device), tuple(self._held_out_losses)
        self.reporter.step(
            StepPoint(done, total, self.losses[-1], elapsed, left, speed, memory, held_out)
        )
        return self.stop.requested

    def _diverged(self, what: str, step: int) -> TrainingError:
        rate = self.spec.learning_rate
        return TrainingError(
            f"{self.name}: {what} step {step} of {len(self.steps)} with --lr {rate:g}: "
            f"lower it, as in --lr {rate / 4:.1g}."
        )

    def _measure(self) -> _HeldOut:
        """The mean loss over the held-out examples' tokens, in eval mode; None if stopped."""
        if not self.held_out or self.stop.aborted:
            return _HeldOut()
        try:
            with self.stop.abortable():
                return self._measured()
        except KeyboardInterrupt:
            return _HeldOut()

    def _measured(self) -> _HeldOut:
        size = self.spec.pass_size
        total, tokens = 0.0, 0
        predicted: list[int] = []
        with evaluating(self.model), torch.no_grad():
            for at in range(0, len(self.held_out), size):
                if self.stop.requested:
                    return _HeldOut()
                loss, count, answers = self._loss_of(self.held_out[at : at + size])
                total, tokens = total + loss * count, tokens + count
                predicted += answers
        self._held_out_losses.append((len(self.losses), total / tokens))
        true = [example.label for example in self.held_out if example.label is not None]
        pairs = zip(true, predicted, strict=True)
        classes = self.encoded.classes
        return _HeldOut(total / tokens, Accuracy.of(classes, pairs) if classes else None)

    def _loss_of(self, examples: Sequence[Example]) -> tuple[float, int, list[int]]:
        """The mean loss of one batch, over how many tokens, and a classifier's predictions."""
        batch = self._on_device(examples)
        found = self.model(**batch)
        classes = found.logits.argmax(-1).tolist() if self.encoded.classes else []
        return float(found.loss), int(batch["labels"].ne(IGNORED).sum()), classes

    def _summary(
        self, stopped: bool, before: _HeldOut, after: _HeldOut, seconds: float
    ) -> RunSummary:
        return RunSummary(
            adapter=self.name,
            steps=len(self.losses),
            planned_steps=len(self.steps),
            stopped=stopped,
            examples=len(self.train),
            held_out=len(self.held_out),
            trained_tokens=self._reached(len(self.losses))[1],
            cut=self.encoded.cut,
            empty=self.encoded.empty,
            losses=tuple(self.losses),
            held_out_before=before.loss,
            held_out_after=after.loss,
            held_out_losses=tuple(self._held_out_losses),
            seconds=seconds,
            learning_rate=self.spec.learning_rate,
            batch_size=self.spec.batch_size,
            seed=self.spec.seed,
            end_token=self.encoded.end_token,
            data_hash=self.encoded.data_hash,
            method_facts=self.hooks.facts(),
            classifies=bool(self.encoded.classes),
            accuracy_before=before.accuracy,
            accuracy_after=after.accuracy,
        )


def _pad_id(tokenizer: Any, classifier: Any = None) -> int:
    """A classifier's pad token, by which it finds the end of a text; for other models any token
    will do, since it is masked and has no loss."""
    if classifier is not None:
        return int(classifier.config.get_text_config().pad_token_id)
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0
