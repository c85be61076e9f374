"""Several runs on the same rows as blocks of one batch, each with its own everything else.

A step computes all runs' losses in one forward pass and their gradients in one backward pass. The
sum of the losses is what is differentiated; no run's loss depends on another's parameters, so each
gets its own gradient. Clipping, optimizer, schedule, measurements and end are those of each run's
`Loop`. Runs that end or fail drop out, and the others continue in a smaller batch.

Knows a model, runs and how to put their adapters into it; knows no adapter and no session.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.device import fitting_threads, out_of_memory, release_after
from lora_magic.base.restore import evaluating, generators, restoring
from lora_magic.errors import TrainingError
from lora_magic.interrupts import Stop

from . import optimizers
from .checkpoint import Keeper
from .diagnosis import Without
from .encode import IGNORED, Encoded, Example
from .held_out import Measurement
from .hooks import NoHooks
from .inside import Recorder
from .loop import Loop, quiet_import
from .peak import Predict, StepPeak
from .progress import Snapshot
from .reporter import Reporter, RunPlan
from .run import own_garbage, pad_id, refuse_frozen, unchanged
from .spec import TrainSpec
from .summary import RunSummary
from .trained_loss import chunked, trained_loss
from .way import ROUNDING, Way, choose, other_loss

#: Puts the adapters of some runs, by number, into the model for a block, one block of a batch each;
#: a single one as in a run by itself.
Into = Callable[[Sequence[int]], AbstractContextManager[None]]


@dataclass(frozen=True, eq=False)
class Member:
    """One of the runs: what `run` takes for it."""

    name: str
    encoded: Encoded
    spec: TrainSpec
    reporter: Reporter
    start: Snapshot | None = None
    keeper: Keeper | None = None
    recorder: Recorder | None = None
    predict: Predict | None = None
    kept: int = 0


@dataclass(frozen=True, eq=False)
class Ended:
    """What became of a run: its summary, or the error that it dropped out with.

    With neither it did not end: memory ran out for all at once, and `start` is where it goes on by
    itself, None before its first step.
    """

    summary: RunSummary | None = None
    error: TrainingError | None = None
    start: Snapshot | None = None


@dataclass(frozen=True)
class Trial:
    """Two steps of all runs: `tokens` in one step, and the seconds in one batch and one by one.

    `obstacle` says why they cannot be trained in one batch, if so.
    """

    tokens: int
    together: float = 0.0
    alone: float = 0.0
    obstacle: str = ""

    @property
    def pays(self) -> bool:
        """Is one batch faster?"""
        return not self.obstacle and self.together < self.alone

    @property
    def line(self) -> str:
        """What was found, and the reason for what follows from it."""
        if self.obstacle:
            return f"one after another: {self.obstacle}"
        together, alone = (f"{1e3 * seconds:,.0f} ms" for seconds in (self.together, self.alone))
        times = f"{together} in one batch, one by one {alone}"
        how = "in one batch" if self.pays else "one after another"
        return f"{how} (a step of {self.tokens} tokens takes {times})"


class _Block(Loop):
    """A run whose steps a `Stack` takes; it is measured together with the others."""

    stack: Stack
    number: int
    error: TrainingError | None = None
    #: Has it taken its last step?
    over = False

    def _measured(self) -> Measurement | None:
        found = self.stack.measured(self)
        return super()._measured() if found is None else found[0]

    def begin(self, model: nn.Module, frozen: Mapping[str, Tensor]) -> None:
        """Take the parameters that require a gradient in the model, which has only this adapter."""
        from .trainer import Parts

        named = [(path, p) for path, p in model.named_parameters() if p.requires_grad]
        groups = optimizers.groups(named, self.spec)
        refuse_frozen(self.name, groups, frozen)
        self._trained = [parameter for group in groups for parameter in group["params"]]
        self._parts = Parts.of(groups, self.spec)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trained parameters."""
        return self._trained

    def passes(self, ahead: int = 0) -> list[dict[str, Tensor]]:
        """The passes of the next step, or of one so many steps later, on the model's device."""
        step = self.steps[min(self.progress.steps + ahead, len(self.steps) - 1)]
        moved = [{k: v.to(self.device) for k, v in one.items()} for one in self._passes(step)]
        self._began = 0.0
        return moved

    def enter(self) -> None:
        """The measurement before the first step, or the state that the run goes on from."""
        with self._dropping_out():
            if self.start is None:
                self._measure()
            else:
                self._resume(self.start)
                self.over = self._ended() not in (None, "stopped")

    def take(self, way: Way) -> None:
        """Compute passes in this way."""
        self._way = way
        self._forecast = self._predicted(way)

    def watch(self, peak: StepPeak) -> None:
        """Take the memory of the whole batch as this run's."""
        self._peak = peak

    @property
    def examples(self) -> list[Example]:
        """All that the steps and the measurements read."""
        return [*self._read, *self.held_out]

    @property
    def plan(self) -> RunPlan:
        """The run before its first step."""
        return self._plan()

    def clear(self) -> None:
        """No gradients."""
        for parameter in self._trained:
            parameter.grad = None

    def told(self, loss: float) -> None:
        """The loss of a pass."""
        self._after_pass(loss)

    def update(self) -> None:
        """Clip the gradients to norm 1, and let the optimizer take its step.

        It drops out if the loss of the passes is not finite.
        """
        assert self._parts is not None  # it has begun
        with self._dropping_out():
            self._after_passes(1.0)
            self._before_update()
            nn.utils.clip_grad_norm_(self._trained, 1.0)
            self._parts.optimizer.step()
            # AdamW in one function leaves the versions, by which a stack knows that it is stale.
            torch.autograd.graph.increment_version(self._trained)
            self._parts.schedule.step()
        self.clear()

    def stepped(self, seconds: float) -> None:
        """Record a step that took so long."""
        self._began = time.perf_counter() - seconds
        with self._dropping_out():
            self.over = self._after_step()

    def end(self) -> Ended:
        """Its summary, with the best weights set, or why there is none."""
        ended = ""
        with self._dropping_out():
            ended = self._settle()
        return Ended(error=self.error) if self.error else Ended(self._summary(ended))

    @contextmanager
    def _dropping_out(self) -> Iterator[None]:
        try:
            yield
        except TrainingError as error:
            self.error, self.over = error, True


class Stack:
    """The runs of `members` as blocks of one batch; `into` puts their adapters into the model.

    All of them take the same steps, as far as each goes, and are at the same one. The model's
    attributes, gradients and generators are restored; an interrupt is `run`'s.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        members: Sequence[Member],
        into: Into,
        *,
        stop: Stop,
        frozen: Mapping[str, Tensor],
        without: Without,
        until: int | None = None,
    ) -> None:
        self._model: Any = model
        self._into, self._stop, self._frozen = into, stop, frozen
        self._pad = pad_id(tokenizer)
        self._loops = []
        for number, one in enumerate(members):
            loop = _Block(
                *(one.name, model, self._pad, one.encoded, one.spec, one.reporter),
                *(NoHooks(), stop, one.start, one.keeper),
                without=without,
                until=until,
                recorder=one.recorder,
                predict=one.predict,
                kept=one.kept,
            )
            loop.stack, loop.number = self, number
            self._loops.append(loop)
        kept = sum(one.kept for one in members)
        self._peak = StepPeak(self._loops[0].device, self._standing, kept)
        for loop in self._loops:
            loop.watch(self._peak)
        self._way = Way(model, self._pad)
        self._live: list[_Block] = []
        self._found: tuple[int, list[Measurement]] = (-1, [])

    def run(self, decide: Callable[[Trial, RunPlan], bool]) -> list[Ended] | None:
        """Take all steps, if `decide` says so after a trial; None if it does not.

        It gets the plan of the first run, too.

        Raises `KeyboardInterrupt` if the user stopped it before a first step.
        """
        with quiet_import():
            from .trainer import quiet

        with own_garbage(), unchanged(self._model), fitting_threads(self._model), quiet():
            self._model.train()
            for loop in self._loops:
                with self._into([loop.number]):
                    loop.begin(self._model, self._frozen)
            with self._stop.abortable():
                tried = self._tried()
            if not decide(tried, self._loops[0].plan):
                return None
            so = f"{len(self._loops)} adapters in one batch"
            for loop in self._loops:
                loop.take(replace(self._way, reasons=(so, *self._way.reasons)))
            return self._all()

    def _all(self) -> list[Ended]:
        try:
            self._enter()
            self._take()
        except KeyboardInterrupt:
            if not (self._stop.aborted and self._loops[0].progress.steps):
                raise
        except Exception as error:
            if not out_of_memory(error):
                raise
            release_after(error)
            return [self._left(loop) for loop in self._loops]
        return [self._end(loop) for loop in self._loops]

    def _enter(self) -> None:
        with self._in_model(self._loops):
            for loop in self._loops:
                loop.enter()
        first = self._loops[0]
        if first.held_out and not first.progress.measurements and self._stop.requested:
            # Nothing is lost: no step has begun.
            raise KeyboardInterrupt

    def _take(self) -> None:
        """All steps: the runs that have ended leave the batch."""
        with closing(self._peak):
            while live := [loop for loop in self._loops if not loop.over]:
                with self._in_model(live):
                    while not any(loop.over for loop in live):
                        self._step(live)

    def _standing(self) -> Iterator[Tensor]:
        yield from self._frozen.values()
        for loop in self._loops:
            yield from loop.standing()

    @contextmanager
    def _in_model(self, live: list[_Block]) -> Iterator[None]:
        with self._into([loop.number for loop in live]):
            self._live, self._found = live, (-1, [])
            try:
                yield
            finally:
                self._live = []

    def _step(self, live: list[_Block]) -> None:
        began = time.perf_counter()
        for loop in live:
            loop.clear()
        passes = live[0].passes()
        items = _items(passes)
        self._peak.begin(passes, first=not live[0].progress.steps)
        for batch in passes:
            with self._stop.abortable():
                losses = self._backward(batch, len(live), items)
            for loop, loss in zip(live, losses.tolist(), strict=True):
                loop.told(loss)
        for loop in live:
            loop.update()
        self._peak.end()
        seconds = time.perf_counter() - began
        for loop in live:
            if not loop.error:
                loop.stepped(seconds)

    def _end(self, loop: _Block) -> Ended:
        if loop.error:
            return Ended(error=loop.error)
        with self._into([loop.number]):
            return loop.end()

    def _left(self, loop: _Block) -> Ended:
        """After a lack of memory: the runs that have ended, and where the others go on."""
        if loop.over:
            return self._end(loop)
        loop.clear()
        return Ended(start=loop.snapshot() if loop.progress.steps else loop.start)

    def _backward(self, batch: Mapping[str, Tensor], count: int, items: int) -> Tensor:
        """The mean losses [count] of a pass, of which the gradients are added."""
        # The backward pass belongs into the block: attention layers have the lengths there.
        with self._way.using(batch):
            losses = self._losses(batch, count) / items
            losses.sum().backward()  # type: ignore[no-untyped-call]  # torch's
        return losses.detach()

    def _losses(self, batch: Mapping[str, Tensor], count: int) -> Tensor:
        """Σ loss over a pass's trained tokens for each of `count` blocks; within `using`."""
        labels = batch["labels"]
        inputs = {
            key: value.repeat(count, *[1] * (value.dim() - 1))
            for key, value in batch.items()
            if key not in ("labels", "lengths")
        }
        head = self._model.get_output_embeddings()
        if self._way.trained_only and chunked(head):
            found = self._model.base_model(**inputs, use_cache=False)[0]
        else:
            found, head = self._model(**inputs, use_cache=False).logits, nn.Identity()
        return torch.stack([trained_loss(part, labels, head) for part in found.chunk(count)])

    def _own_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Σ loss over a pass's trained tokens as in a run by itself; within `using`."""
        if self._way.own_loss:
            return self._way.total(batch)
        found: Tensor = self._model(**batch).loss
        return found * _items([batch])

    def measured(self, loop: _Block) -> tuple[Measurement | None] | None:
        """The held-out loss of one run, measured for all in the batch at once; None if not in it.

        Of one that the user stops there is no measurement.
        """
        if loop not in self._live:
            return None
        step = loop.progress.steps
        if self._found[0] != step:
            found = self._measure(loop)
            if found is None:
                return (None,)
            self._found = step, found
        return (self._found[1][self._live.index(loop)],)

    def _measure(self, loop: _Block) -> list[Measurement] | None:
        totals, tokens = torch.zeros(len(self._live), dtype=torch.float64), 0
        with evaluating(self._model), torch.no_grad():
            for group in self._way.groups(loop.held_out, loop.spec.pass_size):
                if self._stop.requested:
                    return None
                batch = {k: v.to(loop.device) for k, v in self._way.batch(group).items()}
                with self._way.using(batch):
                    totals += self._losses(batch, len(self._live)).double().cpu()
                tokens += _items([batch])
        return [Measurement(total / tokens) for total in totals.tolist()] if tokens else None

    # The trial

    def _tried(self) -> Trial:
        """Which way of computing a pass, whether one batch gives each its gradients, and faster."""
        first = self._loops[0]
        tokens = first.tokens
        with restoring(generators()):
            with self._into([0]):
                why = other_loss(self._model, self._pad, first.examples)
            if why:
                return Trial(tokens, obstacle=why)
            if not first.spec.plain_step:
                with self._into([0]):
                    self._way = choose(self._model, self._pad, first.examples, first.parameters)
                self._model.train()
            for loop in self._loops:
                loop.take(self._way)
            try:
                return self._timed(tokens)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                release_after(error)
                return Trial(tokens, obstacle="no memory for all of them at once")
            finally:
                for loop in self._loops:
                    loop.clear()

    def _timed(self, tokens: int) -> Trial:
        """The first step warms up and is compared, the second is timed."""
        alone = []
        for ahead in (0, 1):
            began = time.perf_counter()
            alone = [self._alone(loop, ahead) for loop in self._loops]
            middle = time.perf_counter()
            with self._in_model(self._loops):
                together = self._together(ahead)
            end = time.perf_counter()
            if not ahead and not all(map(self._agree, alone, together)):
                return Trial(tokens, obstacle="in one batch the model computes other gradients")
        return Trial(tokens, end - middle, middle - began)

    def _alone(self, loop: _Block, ahead: int) -> Tensor:
        """The gradients of one run by itself, as one vector, its loss first."""
        loop.clear()
        passes = loop.passes(ahead)
        total = torch.zeros((), device=loop.device)
        with self._into([loop.number]):
            for batch in passes:
                with self._way.using(batch):
                    loss = self._own_loss(batch) / _items(passes)
                    loss.backward()  # type: ignore[no-untyped-call]  # torch's
                total = total + loss.detach()
        return _flat(loop, total)

    def _together(self, ahead: int) -> list[Tensor]:
        for loop in self._loops:
            loop.clear()
        passes = self._loops[0].passes(ahead)
        total: Any = 0.0
        for batch in passes:
            total = total + self._backward(batch, len(self._loops), _items(passes))
        return [_flat(loop, loss) for loop, loss in zip(self._loops, total, strict=True)]

    def _agree(self, one: Tensor, other: Tensor) -> bool:
        sizes = {p.element_size() for p in self._model.parameters() if p.is_floating_point()}
        limit = ROUNDING[min(sizes, default=4)]
        if not bool(torch.isfinite(one).all()):
            return True  # The run's first step names the cause.
        return bool((one - other).norm() <= limit * one.norm())


def _items(passes: Sequence[Mapping[str, Tensor]]) -> int:
    """The trained tokens of a step."""
    return sum(int(batch["labels"].ne(IGNORED).sum()) for batch in passes)


def _flat(loop: _Block, loss: Tensor) -> Tensor:
    parts = [p.grad.flatten().float() for p in loop.parameters if p.grad is not None]
    return torch.cat([loss.detach().reshape(1).float(), *parts])
