"""Trains several adapters on the same rows in the same order, each with its own settings.

Knows the session's state and runs; knows no format of rows, no verb and no notebook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Row
from lora_magic.errors import CommandError, LoraMagicError
from lora_magic.interrupts import Stop, terminating, undisturbed
from lora_magic.training.encode import Encoded
from lora_magic.training.progress import Snapshot
from lora_magic.training.reporter import Reporter, Result, RunPlan, SilentReporter, StepPoint
from lora_magic.training.spec import TrainSpec
from lora_magic.training.summary import RunSummary

from . import prepare, train
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
    as a block of a batch with others.
    """

    attached: LiveAdapter
    summary: RunSummary | None
    snapshot: Snapshot | None
    error: LoraMagicError | None
    stacked: bool


def together(
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
) -> list[Outcome]:
    """Train each arm's adapter on `rows`, from its initial state, or with `more` its current one.

    `flags` are those of the run, as of `train`; `seed` is that of the common order and split of the
    rows. `held_out` are rows that are only measured, instead of a part of `rows`. With `until` each
    arm pauses after that many steps, counted from its start: its summary's `ended` is "paused", and
    its outcome has the snapshot to go on from, bit for bit.

    The adapters keep their weights after the last step (or the best one), and their record says so.
    Which adapter is active does not change. An arm that fails (its loss is not finite, no memory)
    drops out, with its weights restored; the others go on. Forgetting is not measured.

    `reporter.start` is called once, `reporter.step` with points that name their adapter,
    `reporter.note` when an arm drops out; `finish` never. A first interrupt (or the reporter's
    `stop`) ends all arms after their current step; what they have learned stays. `stop` has the
    interrupts if the caller handles them.

    Raises `CommandError` for flags that do not fit and `DataError` for rows that cannot be encoded,
    before any training; `KeyboardInterrupt` if the user stopped the run before any step. After
    these and after any error that is not ours everything is as it was before.
    """
    common = _Common(state, rows, held_out, template, system, more, skip_bad, notes)
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
        outcomes = [_alone(state, one, more, told, asked, until) for one in planned]
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


class _Common:
    """What the arms of a run share: rows, form, and the rows as tokens by their greatest length."""

    def __init__(
        self,
        state: SessionState,
        rows: Sequence[Row],
        held_out: Sequence[Row] | None,
        template: str | None,
        system: str | None,
        more: bool,
        skip_bad: bool,
        notes: str,
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

        def record(summary: RunSummary) -> None:
            attached.set_record(train.recorded_of(form, before, summary, given, rows))

        return Planned(arm, spec, self._encoded[spec.max_length], record)

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
        self.adapter = ""

    def start(self, plan: RunPlan) -> None:
        """Shows the first plan."""
        if self._started:
            return
        self._started = True
        name, line = ", ".join(self._names), plan.line.removeprefix(f"{plan.adapter}: ")
        line = " · ".join(filter(None, (f"{name}: one after another: {line}", self._notes)))
        self._reporter.start(replace(plan, adapter=name, line=line))

    def step(self, point: StepPoint) -> None:
        """Passes it on."""
        self._reporter.step(replace(point, adapter=self.adapter))

    def note(self, line: str) -> None:
        """Passes it on to a reporter that takes notes."""
        if (tell := getattr(self._reporter, "note", None)) is not None:
            tell(line)

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


def _alone(
    state: SessionState,
    planned: Planned,
    more: bool,
    told: _Told,
    stop: Stop,
    until: int | None,
) -> Outcome:
    """One arm by itself, all or nothing."""
    arm, kept = planned.arm, _Kept()
    attached = arm.attached
    told.adapter = attached.name
    if stop.requested:
        return Outcome(attached, None, None, None, False)
    try:
        with _all_or_nothing(state, [attached]), state.slots.using(attached.replacements):
            if arm.start is None and not more:
                attached.set_state(attached.start)
            summary = train.steps(
                state,
                attached,
                planned.encoded,
                planned.spec,
                more,
                told,
                stop,
                arm.start,
                kept,
                until,
            )
            planned.record(summary)
    except LoraMagicError as error:
        told.note(f"{attached.name} dropped out: {error}")
        return Outcome(attached, None, None, error, False)
    except KeyboardInterrupt:
        if not stop.requested:
            raise
        return Outcome(attached, None, None, None, False)
    return Outcome(attached, summary, kept.snapshot, None, False)


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
