"""Trains one of a session's adapters on rows; an error restores the adapter.

Knows the session's state and the run; knows no format of rows and no notebook.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from lora_magic.adapters.fused import Fused
from lora_magic.adapters.live_adapter import History, LiveAdapter, Record
from lora_magic.adapters.spec import BASE_NAME
from lora_magic.adapters.training_hooks import hooks_of
from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Row
from lora_magic.errors import CommandError, TrainingStopped
from lora_magic.interrupts import Stop, terminating
from lora_magic.training import run
from lora_magic.training.checkpoint import Keeper
from lora_magic.training.forgetting import Forgetting, Guard, Unmeasured, recorded
from lora_magic.training.progress import Snapshot
from lora_magic.training.rate_curve import RateCurve
from lora_magic.training.reporter import Reporter, Result, RunPlan, SilentReporter
from lora_magic.training.summary import RunSummary
from lora_magic.training.world import Alone, World

from . import checkpoints, find_rate, forgetting, inside_run, peak, workers
from . import guard as guards
from .checkpoints import EVERY, About, Disk, Found
from .guard import GuardRows
from .ledger import Run
from .making import Making
from .measured import Start, measurements, rows_hash, start_of
from .prepare import Job, form_for, prepare
from .session_state import SessionState

#: Why a resumed run has no guard's loss from before it: the adapter is not what it was then.
_NOT_KEPT = "not measured before the run was stopped"


def train(
    state: SessionState,
    attached: LiveAdapter,
    rows: Sequence[Row],
    *,
    template: str | None,
    system: str | None,
    more: bool,
    reporter: Reporter | None,
    held_out: Sequence[Row] | None = None,
    measured: bool = True,
    notes: str = "",
    skip_bad: bool = False,
    guard: Sequence[Row] | None = None,
    home: Path | None = None,
    every: float = EVERY,
    found: Found | None = None,
    group: workers.Asked | None = None,
    **flags: Any,
) -> RunSummary | RateCurve:
    """Train from the adapter's initial state, or with `more` from its current one.

    The loss on the `guard` rows is measured before the run and after it; with the flag `replay` one
    half of them is trained on, and the other measured. `held_out` are rows that are only measured,
    instead of a part of `rows`. With `skip_bad` rows that cannot be encoded are left out. With the
    flag `lr` at "find" nothing is trained (`find_rate.find`). Forgetting and the guard's second
    loss are measured after the training is recorded: an error there does not affect it. `notes`
    follow the run's first line.

    A checkpoint is written into `home` every `every` seconds, and when the user stops the run (with
    0 seconds or no home: none). With `found` the run continues from that checkpoint, if it is the
    same run; `attached` is then its adapter, attached or not yet. With a `group` its workers take
    the steps; all around them is done here.

    Raises `TrainingStopped` if the user stopped the run: the adapter keeps its steps. Any other
    error of the run restores the weights.
    """
    workers.refuse_split(state, attached, group)
    form = _form(state, attached if more else None, template, system, found)
    finding = flags.get("lr") == find_rate.FIND
    if finding and found is not None:
        raise CommandError("--lr find does not train, so it has nothing to resume: omit --resume.")
    asked = find_rate.flags_of(flags) if finding else flags
    ready = prepare(
        state,
        attached,
        rows,
        form,
        held_out=held_out,
        guard=guard,
        skip_bad=skip_bad,
        notes=notes,
        flags=asked,
    )
    spec, encoded, guarded = ready.spec, ready.encoded, ready.guarded
    if held_out is not None:
        flags["eval"] = f"{len(held_out)} other rows"
    reporter = reporter or SilentReporter()
    if finding:
        return find_rate.find(state, attached, encoded, spec, more=more, reporter=reporter)
    given = {**flags, "template": template, "system": system}
    about = checkpoints.about(state, attached, encoded, spec, form, more=more, flags=given)
    about = replace(about, guard=guarded.measured.data_hash if guarded else "")
    about, start = _continued(about, found, attached)
    keeper = None if home is None else Disk(home, about, every)
    starting = start_of(state, attached, encoded, spec, more=more, resumed=found is not None)
    several = group.workers.recorded if group else {}
    making = Making.of(
        *(attached, encoded, spec, form, rows, held_out),
        more=more,
        resumed=about.before if found is not None else None,
        replayed=guards.halves(guard)[1] if guard and spec.replay else None,
    )

    def record(summary: RunSummary) -> Record:
        done = recorded_of(form, about.before, summary, flags, rows, starting)
        return replace(done, run={**done.run, **several}, steps=making.after(summary))

    done = start.progress.steps if start else 0
    state.run = Run(attached.name, spec, form, encoded.data_hash, len(rows), done, several)
    told = _Told(reporter, ready.notes, found.remarks(about) if found else ())
    with workers.started(group, told) as shared:
        taken = shared.steps if shared else partial(steps, followed=True)
        job = Job(encoded, spec, more, start)
        summary = _run(state, attached, job, told, record, guarded, about, keeper, taken)
    state.run.summary = summary
    if measured:
        summary = with_forgetting(state, attached, summary, reporter, guarded)
        state.run.summary = summary
    if summary.stopped:
        raise TrainingStopped(_stopped(summary, keeper is not None and keeper.written))
    if keeper is not None:
        # Last: until the summary is returned, a killed kernel needs it.
        keeper.remove()
    return summary


def _form(
    state: SessionState,
    continued: LiveAdapter | None,
    template: str | None,
    system: str | None,
    found: Found | None,
) -> PromptForm | None:
    """The prompt form: what was typed, else that of the run or adapter that is continued."""
    if found is not None and continued is not None and template is None and system is None:
        return found.about.form
    return form_for(state, continued, template, system)


def _continued(
    about: About, found: Found | None, attached: LiveAdapter
) -> tuple[About, Snapshot | None]:
    """The run and the snapshot that it goes on from; None for a run from its beginning.

    Raises `TrainingError` for a checkpoint of another run.
    """
    if found is None:
        return about, None
    found.refuse_another(about)
    was, start = found.about, found.snapshot(attached)
    before, attached_then, guarded = was.before, was.attached, was.guard_before
    return replace(about, before=before, attached=attached_then, guard_before=guarded), start


def _stopped(summary: RunSummary, written: bool) -> str:
    more = "To continue, run the cell again with --continue."
    if written:
        more = (
            "Run the cell again with --resume to finish the run, or with --continue to train on "
            "from these weights."
        )
    return (
        f"{summary.adapter} stopped after step {summary.steps} of {summary.planned_steps}; it "
        f"keeps what it learned. {more}"
    )


def _asked(row: Row) -> str:
    """What a row asks: its prompt, or the user's first turn of a conversation; "" for a text."""
    turns = [turn.content for turn in row.messages or () if turn.role == "user"]
    return row.prompt or next(iter(turns), "")


class _Told:
    """Passes a run's events on, except its end: the receipt waits for the forgetting.

    Adds to the first line what a person should know about how the rows were read, and why a resumed
    run is not the same bit for bit.
    """

    def __init__(self, reporter: Reporter, notes: str, remarks: Sequence[str]) -> None:
        self._reporter, self._notes, self._remarks = reporter, notes, remarks
        self.step, self.stop = reporter.step, getattr(reporter, "stop", None)
        self.note = getattr(reporter, "note", None)

    def start(self, plan: RunPlan) -> None:
        """Shows the plan, the notes and the remarks."""
        line = plan.line
        if self._remarks:
            line = f"{line}, not bit for bit ({'; '.join(self._remarks)})"
        line = " · ".join(filter(None, (line, self._notes)))
        self._reporter.start(replace(plan, line=line))

    def finish(self, summary: Result) -> None:
        """Does nothing: `with_forgetting` finishes."""


def with_forgetting(
    state: SessionState,
    attached: LiveAdapter,
    summary: RunSummary,
    reporter: Reporter,
    guarded: GuardRows | None,
) -> RunSummary:
    """The summary with what was forgotten, which the adapter's card and the reporter get too.

    ■ ends the measurement as it ends a run: once, after the current pass; twice, at once. Either
    way the receipt is shown.
    """
    # If the button stopped the run, its event is still set.
    stop = Stop(None if summary.stopped else getattr(reporter, "stop", None))
    found: Forgetting | None = None if state.base.task.classifies else Unmeasured("stopped")
    after: float | str = "stopped"

    def stopped() -> bool:
        return stop.requested

    try:
        with stop:
            if guarded and not (summary.stopped and forgetting.is_slow(state)):
                after = guards.measure(state, attached, guarded, stopped)
            if found:
                found = forgetting.measure(state, attached, stopped, brief=summary.stopped)
    finally:
        if found:
            attached.run["forgetting"] = recorded(found)
        guard = summary.guard and summary.guard.measured("after", after)
        if guard:
            assert guarded is not None  # otherwise the summary has no guard
            attached.run["guard"] = asdict(guard)
            attached.run["guard_sha256"] = rows_hash(state, guarded.measured.examples)
        summary = replace(summary, forgetting=found, guard=guard)
        reporter.finish(summary)
    return summary


def _run(
    state: SessionState,
    attached: LiveAdapter,
    job: Job,
    reporter: Reporter,
    record: Callable[[RunSummary], Record],
    guarded: GuardRows | None,
    about: About,
    keeper: Disk | None,
    taken: Callable[..., RunSummary],
) -> RunSummary:
    """Run and record, both or neither: outside a pass an interrupt is only noted.

    `taken` takes the steps, as `steps` does.
    """
    with (
        Stop(getattr(reporter, "stop", None), deferring=True) as stop,
        terminating(stop),
        state.all_or_nothing(attached),
    ):
        if attached.name not in state.attached:
            state.keep(attached)
        begin(state, attached, initial=job.start is not None or not job.more)
        guard = None
        if guarded:
            known: float | str | None = about.guard_before
            if job.start is not None and known is None:
                known = _NOT_KEPT
            guard = _before(state, attached, guarded, stop, known)
            if keeper is not None:
                keeper.about = replace(about, guard_before=guard.before)
        summary = taken(state, attached, job, reporter, stop, keeper)
        attached.set_record(record(summary))
    return replace(summary, guard=guard)


def _before(
    state: SessionState,
    attached: LiveAdapter,
    guarded: GuardRows,
    stop: Stop,
    known: float | str | None,
) -> Guard:
    """The guard's numbers with the loss before the run; a second ■ leaves that out at once.

    A resumed run has what is `known` of its start.
    """
    found: float | str = "stopped" if known is None else known
    if known is None:
        with suppress(KeyboardInterrupt), stop.abortable():
            found = guards.measure(state, attached, guarded, lambda: stop.requested)
    return guarded.record.measured("before", found)


def begin(state: SessionState, attached: LiveAdapter, *, initial: bool) -> None:
    """Activate the adapter, in its initial state if so; the caller guards weights and state."""
    if initial:
        attached.set_state(attached.start)
    # A person may have changed flags of the base since the last verb.
    state.activate(BASE_NAME)
    state.base.freeze()
    state.activate(attached.name)


def steps(
    state: SessionState,
    attached: LiveAdapter,
    job: Job,
    reporter: Reporter,
    stop: Stop,
    keeper: Keeper | None = None,
    until: int | None = None,
    followed: bool = False,
    world: World | None = None,
) -> RunSummary:
    """The run of an adapter whose modules are in the slots; the caller guards and records.

    If it is `followed`, the summary has what was read of the adapter's inside. `world` are the
    workers that share it.
    """
    base = state.base
    hooks = hooks_of(base.model, state.slots, attached, more=job.more)
    # Before virtual tokens are a module of the model.
    world = world or Alone()
    predict = None if world.split else peak.predicted(state, [attached], job.spec, world.size)
    fuses = attached.spec.method == "lora" and not world.split
    with attached.trainable():
        return run.run(
            attached.name,
            base.model,
            base.tokenizer,
            job.encoded,
            job.spec,
            hooks=hooks,
            reporter=reporter,
            stop=stop,
            frozen=base.fingerprint.tensors(),
            without=lambda: state.slots.using({}),
            layers=Fused(attached.replacements) if fuses else None,
            start=job.start,
            keeper=keeper,
            until=until,
            recorder=inside_run.recorder_of(base, attached) if followed else None,
            predict=predict,
            kept=peak.kept(attached),
            world=world,
        )


def recorded_of(
    form: PromptForm | None,
    before: History,
    summary: RunSummary,
    flags: Mapping[str, Any],
    rows: Sequence[Row],
    starting: Start,
) -> Record:
    """What is recorded about an adapter after a run that began with the history `before`."""
    example = next(filter(None, map(_asked, rows)), "")
    run = {**_recorded(summary, flags), **measurements(starting, summary)}
    return Record(form, _history(before, summary), run=run, example=example)


def _history(before: History, summary: RunSummary) -> History:
    """The history of what the run began with, and the run."""
    return replace(
        before,
        steps=before.steps + summary.kept_steps,
        first_loss=before.first_loss if before.steps else summary.first_loss,
        last_loss=summary.last_loss,
        rows=summary.examples,
    )


#: Fields of a summary that an adapter's card records.
_RECORDED = (
    *("examples", "held_out", "steps", "planned_steps", "learning_rate", "batch_size", "seed"),
    *("last_loss", "held_out_before", "held_out_after", "ended", "best_step", "seconds"),
)


def _recorded(summary: RunSummary, flags: Mapping[str, Any]) -> dict[str, Any]:
    """What an adapter's card records of its last run."""
    return {
        "data_sha256": summary.data_hash,
        **{name: getattr(summary, name) for name in _RECORDED},
        "flags": {key: value for key, value in flags.items() if value is not None},
    }
