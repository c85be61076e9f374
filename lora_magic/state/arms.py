"""Trains several adapters on the same rows in the same order, each with its own settings.

Knows the session's state and runs; knows no format of rows, no verb and no notebook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lora_magic.adapters.fused import Fused
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.stacked import obstacle, stacked
from lora_magic.adapters.training_hooks import hooks_of
from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Row
from lora_magic.errors import CommandError, LoraMagicError
from lora_magic.interrupts import Stop, terminating, undisturbed
from lora_magic.training import batches
from lora_magic.training.encode import Encoded
from lora_magic.training.progress import Snapshot
from lora_magic.training.reporter import Reporter, Result, RunPlan, SilentReporter, StepPoint
from lora_magic.training.spec import TrainSpec
from lora_magic.training.stack import Ended, Member, Stack, Trial
from lora_magic.training.summary import RunSummary

from . import inside_run, peak, prepare, train
from .ledger import Run
from .making import Making
from .measured import start_of
from .prepare import Job
from .session_state import SessionState


@dataclass(frozen=True, eq=False)
class Arm:
    """One adapter of a common run; it need not be attached to the session.

    `flags` are its own training flags (`lr`, `lora_plus` …), which come before those of the run.
    With `start` it goes on from that snapshot of the same run.
    """

    attached: LiveAdapter
    flags: Mapping[str, Any]
    start: Snapshot | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one arm.

    Without a `summary` its weights and its record are as before: it dropped out with `error`, or,
    without an error, the user stopped the run before its first step. `snapshot` is the state after
    its last finished step if it paused or was stopped there. `stacked` says whether it was trained
    as a block of a batch with others: of the one with number `batch`, if there are several. `run`
    is what the ledger knows of it.
    """

    attached: LiveAdapter
    summary: RunSummary | None
    snapshot: Snapshot | None
    error: LoraMagicError | None
    stacked: bool
    run: Run | None = None
    batch: int = 0


def train_arms(
    state: SessionState,
    arms: Sequence[Arm],
    rows: Sequence[Row],
    *,
    flags: Mapping[str, Any],
    template: str | None = None,
    system: str | None = None,
    more: bool = False,
    held_out: Sequence[Row] | None = None,
    skip_bad: bool = False,
    notes: str = "",
    until: int | None = None,
    reporter: Reporter | None = None,
    stop: Stop | None = None,
    one_batch: bool | None = None,
    followed: bool = False,
) -> list[Outcome]:
    """Train each arm's adapter on `rows`, from its initial state, or with `more` its current one.

    `flags` are those of the run, as of `train`; `seed` is that of the common order and split of the
    rows. `held_out` are rows that are only measured, instead of a part of `rows`. With `until` each
    arm pauses after that many steps, counted from its start: its summary's `ended` is "paused", and
    its outcome has the snapshot to go on from, bit for bit.

    Adapters that are plain LoRA on linear layers are trained as blocks of one batch if that is
    faster: two steps are timed, and the first line says what was found (`one_batch` decides it
    without). The others follow, one after another.

    The adapters keep their weights after the last step (or the best one), and their record says so.
    Which adapter is active does not change. The summaries of adapters that are `followed` have what
    was read of their inside. An arm that fails (its loss is not finite, no memory)
    drops out, with its weights restored; the others go on. Forgetting is not measured.

    `reporter.start` is called once, `reporter.step` with points that name their adapter,
    `reporter.note` when an arm drops out; `finish` never. A first interrupt (or the reporter's
    `stop`) ends all arms after their current step; what they have learned stays. `stop` has the
    interrupts if the caller handles them.

    Raises `CommandError` for flags that do not fit and `DataError` for rows that cannot be encoded,
    before any training; `KeyboardInterrupt` if the user stopped the run before any step. After
    these and after any error that is not ours everything is as it was before.
    """
    common = Common(state, rows, held_out, template, system, more, skip_bad, notes)
    planned = [common.plan(arm, flags) for arm in arms]
    reporter = reporter or SilentReporter()
    told = _Told(reporter, [arm.attached.name for arm in arms], common.notes)
    with (
        _stopping(reporter, stop) as asked,
        _all_or_nothing(state, [arm.attached for arm in arms]),
        state.slots.using({}),
    ):
        # A person may have changed flags of the base since the last verb.
        state.base.freeze()
        run = _Run(state, more, told, asked, until, one_batch, followed)
        outcomes = run.all(planned)
        if asked.requested and not any(one.summary or one.error for one in outcomes):
            raise KeyboardInterrupt
    return outcomes


@dataclass(frozen=True, eq=False)
class Planned:
    """An arm with its settings and its rows as tokens; `record` makes its record of a summary."""

    arm: Arm
    spec: TrainSpec
    encoded: Encoded
    record: Callable[[RunSummary], None]
    run: Run

    def outcome(
        self,
        summary: RunSummary | None = None,
        snapshot: Snapshot | None = None,
        error: LoraMagicError | None = None,
        stacked: bool = False,
    ) -> Outcome:
        """What became of it, which its run gets, too."""
        self.run.summary, self.run.error = summary, error
        return Outcome(self.arm.attached, summary, snapshot, error, stacked, self.run)

    @cached_property
    def order(self) -> list[list[int]]:
        """The examples of each step."""
        train, held_out = batches.sides(self.encoded, self.spec)
        spec = self.spec.fitted(len(train), len(held_out))
        steps = batches.steps(len(train), spec)
        return [[index for part in step for index in part] for step in steps]

    def reads_as(self, other: Planned) -> bool:
        """Does it take the same steps as another one, as far as both go, from the same one on?"""
        done = [one.arm.start.progress.steps if one.arm.start else 0 for one in (self, other)]
        same = all(map(list.__eq__, self.order, other.order))
        return same and done[0] == done[1] and self.spec.eval == other.spec.eval


class Common:
    """What the arms of a run share: rows, form, and the rows as tokens by their greatest length."""

    def __init__(
        self,
        state: SessionState,
        rows: Sequence[Row],
        held_out: Sequence[Row] | None = None,
        template: str | None = None,
        system: str | None = None,
        more: bool = False,
        skip_bad: bool = False,
        notes: str = "",
    ) -> None:
        self._state, self._rows, self._held_out = state, rows, held_out
        self._template, self._system, self._more = template, system, more
        self._skip_bad, self._given, self.notes = skip_bad, notes, notes
        self._encoded: dict[int, Encoded] = {}
        self._form: PromptForm | None = None
        self._first = ""

    def plan(self, arm: Arm, flags: Mapping[str, Any]) -> Planned:
        """An arm's settings and rows; raises `CommandError` and `DataError`."""
        attached = arm.attached
        self._agree(attached)
        given = {**flags, **arm.flags}
        spec = prepare.settings(self._state, attached, self._rows, self._held_out, given)
        if spec.max_length not in self._encoded:
            length = spec.max_length
            found, self.notes = prepare.both_sides(
                self._rows, self._held_out, lambda some: self._tokens(some, length), self._given
            )
            self._encoded[length] = found
        before = attached.history if self._more else attached.start_history
        form, rows = self._form, self._rows
        if self._held_out is not None:
            given["eval"] = f"{len(self._held_out)} other rows"

        encoded, resumed = self._encoded[spec.max_length], arm.start is not None
        starting = start_of(self._state, attached, encoded, spec, more=self._more, resumed=resumed)

        making = Making.of(attached, encoded, spec, form, rows, self._held_out, more=self._more)

        def record(summary: RunSummary) -> None:
            found = train.recorded_of(form, before, summary, given, rows, starting)
            attached.set_record(replace(found, steps=making.after(summary)))

        done = arm.start.progress.steps if arm.start else 0
        run = Run(attached.name, spec, form, encoded.data_hash, len(rows), done)
        return Planned(arm, spec, encoded, record, run)

    def _agree(self, attached: LiveAdapter) -> None:
        """All arms have one prompt form; raises `CommandError` if not."""
        continued = attached if self._more else None
        form = prepare.form_for(self._state, continued, self._template, self._system)
        if self._first and form != self._form:
            raise CommandError(
                f"{self._first} and {attached.name} were trained in different prompt forms; to "
                "train them on the same rows, give --template, or omit --continue."
            )
        self._first, self._form = self._first or attached.name, form

    def _tokens(self, rows: Sequence[Row], length: int) -> Encoded:
        return prepare.encoded_rows(self._state, rows, self._form, length, self._skip_bad)


class _Told:
    """Passes the events of several runs on: one start, and steps that name their adapter."""

    def __init__(self, reporter: Reporter, names: Sequence[str], notes: str) -> None:
        self._reporter, self._names, self._notes = reporter, names, notes
        self._started = False
        #: How they are trained.
        self.how = "one after another"

    def of(self, adapter: str) -> _OfOne:
        """The reporter of one of the runs."""
        return _OfOne(self, adapter)

    def start(self, plan: RunPlan) -> None:
        """Shows the first plan."""
        if self._started:
            return
        self._started = True
        name, line = ", ".join(self._names), plan.line.removeprefix(f"{plan.adapter}: ")
        line = " · ".join(filter(None, (f"{name}: {line}", self._notes, self.how)))
        self._reporter.start(replace(plan, adapter=name, line=line))

    def step(self, point: StepPoint) -> None:
        """Passes it on."""
        self._reporter.step(point)

    def note(self, line: str) -> None:
        """Passes it on to a reporter that takes notes."""
        if (tell := getattr(self._reporter, "note", None)) is not None:
            tell(line)


class _OfOne:
    """Passes the events of one run on."""

    def __init__(self, told: _Told, adapter: str) -> None:
        self._told, self._adapter = told, adapter
        self.start, self.note = told.start, told.note

    def step(self, point: StepPoint) -> None:
        """Passes it on, with the adapter's name."""
        self._told.step(replace(point, adapter=self._adapter))

    def finish(self, summary: Result) -> None:
        """Does nothing: the caller finishes."""


class _Kept:
    """Keeps the snapshot of a run that paused or was stopped."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None

    def between_steps(self, snapshot: Callable[[], Snapshot]) -> None:
        """Nothing."""

    def stopped(self, snapshot: Callable[[], Snapshot]) -> None:
        """Keeps it."""
        self.snapshot = snapshot()


@dataclass(frozen=True, eq=False)
class _Run:
    """The arms of one call: which are trained in one batch, and which by themselves."""

    state: SessionState
    more: bool
    told: _Told
    stop: Stop
    until: int | None
    one_batch: bool | None
    followed: bool

    def all(self, planned: Sequence[Planned]) -> list[Outcome]:
        """The outcomes, in the order of the arms."""
        found = self._stacked(planned)
        return [found[one] if one in found else self._alone(one) for one in planned]

    def _stacked(self, planned: Sequence[Planned]) -> dict[Planned, Outcome]:
        """The outcomes of the arms that were trained in one batch."""
        if self.one_batch is False:
            return {}
        reasons = {one.arm.attached.name: self._obstacle(one) for one in planned}
        able = [one for one in planned if not reasons[one.arm.attached.name]]
        able = [one for one in able if one.reads_as(able[0])]
        odd = [one.arm.attached.name for one in planned if one not in able]
        if len(able) < 2:
            whys = dict.fromkeys(filter(None, reasons.values()))
            self.told.how = ": ".join(["one after another", *whys][:2])
            return {}
        kept, before = [_Kept() for _ in able], [one.arm.attached.state() for one in able]
        for one in able:
            self._set_initial(one)
        later = [f"afterwards {name}: {reasons[name] or 'it reads other rows'}" for name in odd]

        def decide(trial: Trial, plan: RunPlan) -> bool:
            self.told.how = "; ".join([trial.line, *later])
            chosen = trial.pays if self.one_batch is None else not trial.obstacle
            if chosen:
                self.told.start(plan)
            return chosen

        with ExitStack() as trained:
            for one in able:
                trained.enter_context(one.arm.attached.trainable())
            ended = self._stack(able, kept).run(decide)
        if ended is None:
            for one, weights in zip(able, before, strict=True):
                one.arm.attached.set_state(weights)
            return {}
        return {
            one: self._outcome(one, end, keeper, weights)
            for one, end, keeper, weights in zip(able, ended, kept, before, strict=True)
        }

    def _obstacle(self, planned: Planned) -> str:
        """Why an arm is not trained in one batch with others, or ""."""
        spec, base, attached = planned.spec, self.state.base, planned.arm.attached
        if base.task.classifies or spec.beta is not None:
            return "a classifier" if base.task.classifies else "preferences"
        if spec.report_to or spec.checkpointing:
            return "--report-to" if spec.report_to else "gradient checkpointing"
        if base.device.type == "cuda" and any(
            parameter.dtype == torch.float16 for parameter in base.model.parameters()
        ):
            return "float16 needs a scaled loss"
        if hooks_of(base.model, self.state.slots, attached, more=self.more) is not None:
            return "its method has work of its own in each run"
        return obstacle(attached.replacements)

    def _stack(self, planned: Sequence[Planned], kept: Sequence[_Kept]) -> Stack:
        base = self.state.base
        members = [
            Member(
                *(one.arm.attached.name, one.encoded, one.spec),
                *(self.told.of(one.arm.attached.name), one.arm.start, keeper),
                inside_run.recorder_of(base, one.arm.attached) if self.followed else None,
                peak.predicted(self.state, [other.arm.attached for other in planned], one.spec),
                peak.kept(one.arm.attached),
            )
            for one, keeper in zip(planned, kept, strict=True)
        ]
        return Stack(
            base.model,
            base.tokenizer,
            members,
            lambda numbers: self._into([planned[number].arm.attached for number in numbers]),
            stop=self.stop,
            frozen=base.fingerprint.tensors(),
            without=lambda: self.state.slots.using({}),
            until=self.until,
        )

    @contextmanager
    def _into(self, adapters: Sequence[LiveAdapter]) -> Iterator[None]:
        """Adapters in the model for a block: each for its block of the batch, a single one as in a
        run by itself."""
        slots, several = self.state.slots, [one.replacements for one in adapters]
        if len(several) > 1:
            with slots.using(stacked(several, slots.original)):
                yield
            return
        fused = Fused(several[0])
        with slots.using(several[0]):
            fused.install(self.state.base.model)
            try:
                yield
            finally:
                fused.remove()

    def _outcome(
        self, planned: Planned, end: Ended, kept: _Kept, before: Mapping[str, Tensor]
    ) -> Outcome:
        """A finished run is recorded; one that memory ran out for goes on by itself."""
        if end.summary is not None:
            planned.record(end.summary)
            return planned.outcome(end.summary, kept.snapshot, stacked=True)
        planned.arm.attached.set_state(before)
        if end.error is not None:
            return self._dropped(planned, end.error)
        return self._alone(replace(planned, arm=replace(planned.arm, start=end.start)))

    def _dropped(self, planned: Planned, error: LoraMagicError) -> Outcome:
        self.told.note(f"{planned.arm.attached.name} dropped out: {error}")
        return planned.outcome(error=error)

    def _set_initial(self, planned: Planned) -> None:
        arm = planned.arm
        if arm.start is None and not self.more:
            arm.attached.set_state(arm.attached.start)

    def _alone(self, planned: Planned) -> Outcome:
        """One arm by itself, all or nothing."""
        arm, kept = planned.arm, _Kept()
        attached = arm.attached
        if self.stop.requested:
            return planned.outcome()
        try:
            with (
                _all_or_nothing(self.state, [attached]),
                self.state.slots.using(attached.replacements),
            ):
                self._set_initial(planned)
                job = Job(planned.encoded, planned.spec, self.more, arm.start)
                summary = train.steps(
                    *(self.state, attached, job, self.told.of(attached.name), self.stop),
                    *(kept, self.until),
                    followed=self.followed,
                )
                planned.record(summary)
        except LoraMagicError as error:
            return self._dropped(planned, error)
        except KeyboardInterrupt:
            if not self.stop.requested:
                raise
            return planned.outcome()
        return planned.outcome(summary, kept.snapshot)


@contextmanager
def _stopping(reporter: Reporter, stop: Stop | None) -> Iterator[Stop]:
    """The caller's `stop`, or one of our own that also ends the run when the process ends."""
    if stop is not None:
        yield stop
        return
    own = Stop(getattr(reporter, "stop", None), deferring=True)
    with own, terminating(own):
        yield own


@contextmanager
def _all_or_nothing(state: SessionState, adapters: Sequence[LiveAdapter]) -> Iterator[None]:
    """On any error restore the session, and the weights and records of the adapters.

    They need not be attached.
    """
    before = [(attached, attached.state(), attached.recorded()) for attached in adapters]
    with state.all_or_nothing():
        try:
            yield
        except BaseException:
            with undisturbed():
                for attached, weights, record in before:
                    attached.set_state(weights)
                    attached.set_record(record)
            raise
