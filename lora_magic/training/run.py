"""One run of training: from encoded rows to a summary, the model otherwise left as it was.

Trains the parameters that want a gradient when it is called, and no others. Knows torch and, at
the moment of a run, transformers' Trainer; knows no adapter, no session and no notebook.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.device import fitting_threads, peak_memory
from lora_magic.base.modes import evaluating
from lora_magic.errors import TrainingError, listed

from . import batches, optimizers
from .accuracy import Accuracy
from .encode import IGNORED, Encoded, Example, collate
from .garbage import own_garbage
from .hooks import Hooks, NoHooks
from .quiet import quiet_import
from .reporter import Reporter, RunPlan, SilentReporter, StepPoint
from .restore import restoring
from .spec import TrainSpec
from .stop import Stop
from .summary import RunSummary


def run(
    name: str,
    model: nn.Module,
    tokenizer: Any,
    encoded: Encoded,
    spec: TrainSpec,
    *,
    hooks: Hooks | None = None,
    reporter: Reporter | None = None,
) -> RunSummary:
    """Train the parameters of `model` that have `requires_grad`, and leave all else as it was.

    The loss is the mean over all trained tokens of a step, for a classifier over its examples,
    however many passes it takes. Two runs
    from the same start end with the same bits on the same machine. An interrupt (in the main
    thread) or the reporter's `stop` ends the run after the step in hand; a second interrupt raises
    `KeyboardInterrupt` at once. Held-out examples are measured before, after, and in between.

    Raises `CommandError` for LoRA+ where there is no pair of A and B, and `TrainingError` where
    nothing wants a gradient, the loss or a weight is no finite number, or the memory of the device
    does not suffice. On any error the weights are where the last
    finished step left them: the caller restores its own.
    """
    named = [(path, p) for path, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise TrainingError(
            f"{name} has nothing to train: no parameter of the model wants a gradient; "
            f"type %lora attach {name} first."
        )
    parted = optimizers.groups(named, spec)
    listener = reporter or SilentReporter()
    pad = _pad_id(tokenizer, model if encoded.classes else None)
    stop = Stop(getattr(listener, "stop", None))
    work = _Run(name, model, pad, encoded, spec, listener, stop, hooks or NoHooks())
    try:
        with own_garbage(), restoring(model), fitting_threads(model), work.stop:
            return work.all(parted)
    except torch.OutOfMemoryError:
        raise TrainingError(
            f"out of memory with {spec.batch_size} rows a step in {spec.accumulation} passes of "
            f"at most {spec.max_length} tokens a row: lower --max-length or --batch-size."
        ) from None


@dataclass(frozen=True)
class _Measured:
    """The held-out part at one time; nothing where there is none, or a stop came first."""

    loss: float | None = None
    accuracy: Accuracy | None = None


_UNMEASURED = _Measured()


class _Run:
    """The state of one run: what has been measured so far."""

    def __init__(
        self,
        name: str,
        model: nn.Module,
        pad_id: int,
        encoded: Encoded,
        spec: TrainSpec,
        reporter: Reporter,
        stop: Stop,
        hooks: Hooks,
    ) -> None:
        self.hooks = hooks
        self.name, self.model, self.pad_id = name, model, pad_id
        self.encoded, self.reporter, self.stop = encoded, reporter, stop
        self.train, self.held = batches.split(encoded.examples, spec)
        self.spec = spec.fitted(len(self.train))
        self.steps = batches.steps(len(self.train), self.spec)
        self.losses: list[float] = []
        self._held: list[tuple[int, float]] = []
        self._between = batches.between(self.steps, len(self.held))
        self._loss = 0.0
        self._tokens = 0
        self._began = 0.0

    def all(self, parted: list[dict[str, Any]]) -> RunSummary:
        """Announce, measure, train, measure."""
        self.reporter.start(self._plan())
        with quiet_import():
            # Takes seconds: after the first line is shown.
            from .trainer import quiet, train

        with quiet(), tempfile.TemporaryDirectory(prefix="lora_magic-") as folder:
            self.hooks.begin(len(self.steps), self._batches)
            before = self._measured()
            began = time.perf_counter()
            told = (self._batch, self.spec, folder, self._after_pass, self._after_step)
            per_pass = bool(self.encoded.classes)
            train(
                self.model,
                parted,
                self.steps,
                *told,
                hooks=self.hooks,
                mean_of_pass=per_pass,
            )
            seconds = time.perf_counter() - began
            trained = [parameter for group in parted for parameter in group["params"]]
            if not all(bool(torch.isfinite(parameter).all()) for parameter in trained):
                raise self._diverged("a weight is not finite after", len(self.losses))
            # An early stop is a request to be quick; measuring is not.
            stopped = len(self.losses) < len(self.steps)
            after = _UNMEASURED if stopped else self._measured()
        summary = self._summary(stopped, before, after, seconds)
        self.reporter.finish(summary)
        return summary

    def _plan(self) -> RunPlan:
        data, count = self.encoded, len(self.train)
        reached, trained = self._reached(len(self.steps))
        noun = "text" if data.texts == count + len(self.held) else "row"
        what = f"{trained:,} token{'s' * (trained != 1)} trained, "
        seen = "" if reached == count else f"{reached} of "
        full = f", {data.full} left out (prompt too long)" if data.full else ""
        end = f"ends with {data.end_token}" if data.end_token else "no end token"
        if data.classes:
            what, end = "", f"labels {listed(data.classes)}"
        line = (
            f"{self.name}: {seen}{count} {noun}{'s' * (count != 1)}, {what}{data.cut} cut, "
            f"{data.empty} empty{full} · {self.spec.line}, {end}"
        )
        return RunPlan(self.name, line, len(self.steps), count, trained, data.cut, data.empty)

    def _reached(self, steps: int) -> tuple[int, int]:
        """Rows that so many steps come to, and the tokens trained in one pass over those."""
        rows = {index for step in self.steps[:steps] for part in step for index in part}
        return len(rows), sum(self.train[index].trained for index in rows)

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """The batches that the steps will see, where the model is."""
        device = next(self.model.parameters()).device
        for step in self.steps:
            for part in step:
                batch = collate([self.train[index] for index in part], self.pad_id)
                yield {key: value.to(device) for key, value in batch.items()}

    def _batch(self, indices: list[int]) -> dict[str, Tensor]:
        # The clock starts here: making a Trainer takes longer than a small step.
        self._began = self._began or time.perf_counter()
        return collate([self.train[index] for index in indices], self.pad_id)

    def _after_pass(self, loss: float) -> None:
        # Told before the optimizer steps, so that the weights are still finite.
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
        if done in self._between:
            self._measured()
            # The speed is that of training.
            self._began += time.perf_counter() - now
        left = elapsed / done * (total - done)
        speed = self._tokens / elapsed if elapsed else 0.0
        memory = peak_memory(next(self.model.parameters()).device)
        held = tuple(self._held)
        point = StepPoint(done, total, self.losses[-1], elapsed, left, speed, memory, held)
        self.reporter.step(point)
        return self.stop.wanted

    def _diverged(self, what: str, step: int) -> TrainingError:
        rate = self.spec.learning_rate
        return TrainingError(
            f"{self.name}: {what} step {step} of {len(self.steps)} with --lr {rate:g}: "
            f"lower it, as in --lr {rate / 4:.1g}."
        )

    def _measured(self) -> _Measured:
        """The held-out part as it is after the steps so far, kept for whoever follows the run."""
        found = self._held_out()
        if found.loss is not None:
            self._held.append((len(self.losses), found.loss))
        return found

    def _held_out(self) -> _Measured:
        """The mean loss over the held-out examples' tokens, in eval mode; nothing if stopped."""
        if not self.held:
            return _UNMEASURED
        size = self.spec.pass_size
        total, tokens = 0.0, 0
        given: list[int] = []
        with evaluating(self.model), torch.no_grad():
            for at in range(0, len(self.held), size):
                if self.stop.wanted:
                    return _UNMEASURED
                loss, count, answers = self._loss_of(self.held[at : at + size])
                total, tokens = total + loss * count, tokens + count
                given += answers
        return _Measured(total / tokens, self._accuracy(given))

    def _accuracy(self, given: Sequence[int]) -> Accuracy | None:
        """How often a classifier's answers for the held-out examples are right."""
        if not self.encoded.classes:
            return None
        true = [example.label for example in self.held if example.label is not None]
        return Accuracy.of(self.encoded.classes, zip(true, given, strict=True))

    def _loss_of(self, examples: Sequence[Example]) -> tuple[float, int, list[int]]:
        """The mean loss of one batch, over how many tokens, and a classifier's answers."""
        device = next(self.model.parameters()).device
        batch: dict[str, Tensor] = collate(examples, self.pad_id)
        count = int(batch["labels"].ne(IGNORED).sum())
        found = self.model(**{key: value.to(device) for key, value in batch.items()})
        answers = found.logits.argmax(-1).tolist() if self.encoded.classes else []
        return float(found.loss), count, answers

    def _summary(
        self, stopped: bool, before: _Measured, after: _Measured, seconds: float
    ) -> RunSummary:
        return RunSummary(
            adapter=self.name,
            steps=len(self.losses),
            planned_steps=len(self.steps),
            stopped=stopped,
            examples=len(self.train),
            held_out=len(self.held),
            trained_tokens=self._reached(len(self.losses))[1],
            cut=self.encoded.cut,
            empty=self.encoded.empty,
            losses=tuple(self.losses),
            held_out_before=before.loss,
            held_out_after=after.loss,
            held_out_losses=tuple(self._held),
            seconds=seconds,
            learning_rate=self.spec.learning_rate,
            batch_size=self.spec.batch_size,
            seed=self.spec.seed,
            end_token=self.encoded.end_token,
            data_hash=self.encoded.data_hash,
            told=self.hooks.facts(),
            classifies=bool(self.encoded.classes),
            accuracy_before=before.accuracy,
            accuracy_after=after.accuracy,
        )


def _pad_id(tokenizer: Any, classifier: Any = None) -> int:
    """Any token will do, it is masked and no loss is taken on it; but a classifier's own has to be
    used, since it tells by that token where a text ends, or at which position it stands."""
    if classifier is not None:
        return int(classifier.config.get_text_config().pad_token_id)
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0
