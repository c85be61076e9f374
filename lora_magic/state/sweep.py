"""A sweep: one adapter for each setting and seed, trained rung by rung; the best one is kept.

Knows the session's state, rows, and runs of several adapters; knows no verb and no notebook.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import torch

from lora_magic.adapters.live_adapter import History, LiveAdapter
from lora_magic.base.device import out_of_memory
from lora_magic.base.prompt import PromptForm
from lora_magic.base.restore import evaluating
from lora_magic.data.row import Row
from lora_magic.errors import TrainingError, TrainingStopped, WorkerError
from lora_magic.interrupts import Stop, terminating
from lora_magic.scale.work import Workers
from lora_magic.training import batches, preference
from lora_magic.training.encode import Encoded
from lora_magic.training.reporter import Reporter, Result, RunPlan, SilentReporter, StepPoint
from lora_magic.training.run import pad_id
from lora_magic.training.summary import RunSummary

from . import guard as guards
from . import sweep_plan
from .arms import Arm, Outcome
from .guard import GuardRows
from .ledger import Run
from .making import Making
from .measured import rows_hash, start_of
from .prepare import encoded_rows, form_for
from .session_state import SessionState
from .spread import arms_on
from .sweep_arms import Asked, Candidate, SplitRows, checked, made, refuse_taken, with_defaults
from .sweep_plan import OF_ATTACH, Rung
from .sweep_result import (
    CHOSEN,
    DROPPED,
    FAILED,
    FINISHED,
    PAUSED,
    TRAINING,
    WAITING,
    Sweep,
    SweepArm,
)
from .sweep_store import Kept, Store
from .train import recorded_of

#: The steps of a first, short run that measures how long a step takes, and the share of the time
#: limit that the steps may take; the rest is for measuring, and for what a run does at its start.
_TRIAL, _SHARE = 3, 0.7


def sweep(
    state: SessionState,
    rows: Sequence[Row],
    asked: Asked,
    *,
    held_out: Sequence[Row] | None,
    reporter: Reporter | None,
    store: Store,
    resume: bool,
    workers: Workers | None = None,
) -> Sweep:
    """Train the arms of a sweep, rung by rung (`sweep_plan.rungs`), and keep the best one.

    All arms share the rows, their order and what is held out; an arm's seed is that of its initial
    A. The settings are compared by the mean loss on one half of the held-out rows, and the chosen
    arm's loss is reported on the other half. It becomes the adapter of that name, active, with the
    weights after its last step; with `finish` it is trained to its end. Every arm is made, and its
    flags are checked, before the first one trains. With `resume` the same sweep goes on, with any
    `workers`, which share the arms of a rung.

    Raises `CommandError` for a sweep with nothing to compare, for no held-out rows and for arms
    that cannot be made; `TrainingStopped` if the user stopped it: what it has is stored, and the
    best arm so far is kept.
    """
    refuse_taken(state, asked)
    stored = store.read() if resume else None
    form = form_for(state, None, asked.template, asked.system)
    arms = made(state, asked, with_defaults(state, asked))
    first = checked(state, arms, rows, held_out, {**asked.shared, "eval": asked.eval})

    def encode(some: Sequence[Row]) -> Encoded:
        return encoded_rows(state, some, form, first.max_length, asked.skip_bad)

    parts = SplitRows.of(rows, held_out, first, encode)
    work = _Work(state, asked, arms, parts, form, store, reporter or SilentReporter(), workers)
    if stored is not None:
        stored.refuse_another(asked.name, work.kept())
        work.restore(stored)
    try:
        found = work.all()
    except WorkerError as error:
        # The rungs that were finished are stored.
        again = " Run the cell again with --resume to go on." if store.written else ""
        raise WorkerError(f"{error}{again}") from error
    work.reporter.finish(found)  # type: ignore[arg-type]  # it displays itself, as a run's does
    if found.stopped:
        raise TrainingStopped(_stopped(found, store.written))
    store.remove()
    return found


def _stopped(found: Sweep, written: bool) -> str:
    steps = sum(arm.steps for arm in found.arms)
    kept = "no arm has been compared yet"
    if found.best is not None:
        kept = f"{found.name} is the best so far, arm {found.best.arm} ({found.best.label})"
    again = " Run the cell again with --resume to go on." if written else ""
    count = f"{steps:,} step{'s' * (steps != 1)} ({found.count})"
    return f"the sweep {found.name} stopped after {count}; {kept}.{again}"


# The rungs


class _Work:
    """A sweep under way: which settings are left, and the time that it has taken."""

    def __init__(
        self,
        state: SessionState,
        asked: Asked,
        arms: list[Candidate],
        parts: SplitRows,
        form: PromptForm | None,
        store: Store,
        reporter: Reporter,
        workers: Workers | None,
    ) -> None:
        self.state, self.asked, self.arms, self.parts = state, asked, arms, parts
        self.form, self.store, self.reporter = form, store, reporter
        self.workers = workers and replace(workers, count=min(workers.count, len(arms)))
        self.until = 0  # the last step of the rung
        self.steps: int | None = None  # of a run, if the time limit has chosen them
        self.alive = list(dict.fromkeys(arm.setting for arm in arms))
        self.settings = len(self.alive)
        self.plan: tuple[Rung, ...] = ()
        self.done: list[tuple[int, int]] = []
        self.before, self.began = 0.0, time.perf_counter()
        self.late = self.stopped = False
        self.chosen: Candidate | None = None
        self.reported: float | None = None
        self.base_loss: float | None = None

    @property
    def seconds(self) -> float:
        """Since the sweep began, without the time between a stop and its resumption."""
        return self.before + time.perf_counter() - self.began

    def flags(self) -> dict[str, Any]:
        """The flags that every run has."""
        return {**self.asked.shared, **({} if self.steps is None else {"steps": self.steps})}

    def all(self) -> Sweep:
        """Train, choose, measure and keep; on an error everything is as it was."""
        state, name = self.state, self.asked.name
        stop = Stop(getattr(self.reporter, "stop", None), deferring=True)
        spec = self.arms[0].settings
        assert spec is not None  # checked
        count = len(self.parts.trained) + len(self.parts.deciding) + len(self.parts.reporting)
        state.run = Run(name, spec, self.form, self.parts.encoded.data_hash, count)
        state.run.workers = self.workers.recorded if self.workers else {}
        with (
            stop,
            terminating(stop),
            state.all_or_nothing(),
            arms_on(state, self.workers, stop) as self.train_arms,
        ):
            self._fit(stop)
            self._planned()
            self._rungs(stop)
            self._choose(stop)
            if self.chosen is not None:
                self._report()
                self._keep()
        found = self.result()
        if self.chosen is not None and self.chosen.summary is not None:
            state.run.summary = replace(self.chosen.summary, adapter=name, stopped=self.stopped)
            state.run.settings = self.chosen.settings or spec
        return found

    def _fit(self, stop: Stop) -> None:
        """With a time limit and no length: choose a length that the limit allows."""
        minutes, shared = self.asked.minutes, self.asked.shared
        given = shared.get("steps") is not None or shared.get("epochs") is not None
        if minutes is None or given or self.steps is not None or self._any_done():
            return
        # Workers may have taken a while to start.
        left = 60 * minutes - (time.perf_counter() - self.began)
        found = self.train_arms(
            self.state,
            [Arm(self.arms[0].attached, self.arms[0].own)],
            self.parts.trained,
            flags=self.asked.shared,
            until=_TRIAL,
            **self._common(),
            stop=stop,
        )[0]
        self.arms[0].attached.set_state(self.arms[0].attached.start)
        if found.summary is None or stop.requested or not found.summary.steps:
            return
        each = found.summary.seconds / found.summary.steps
        whole = found.summary.planned_steps
        seeds = len(self.arms) / self.settings
        count = self.workers.count if self.workers else 1
        cost = sweep_plan.cost(self._rungs_of(whole, None), self.settings, seeds / count)
        share = cost / whole
        allowed = int(_SHARE * left / (each * share)) if each else whole
        if allowed < whole:
            self.steps = max(allowed, sweep_plan.SHORTEST)

    def _any_done(self) -> bool:
        return any(arm.summary is not None for arm in self.arms)

    def _rungs_of(self, steps: int, places: frozenset[int] | None) -> tuple[Rung, ...]:
        return sweep_plan.rungs(self.settings, steps, places, halving=self.asked.halving)

    def _planned(self) -> None:
        """The rungs of a run of the length that all arms have."""
        parts = self.parts
        checked(self.state, self.arms, parts.trained, parts.deciding, self.flags())
        spec = self.arms[0].settings
        assert spec is not None  # checked
        train, held_out = batches.sides(self.parts.encoded, spec)
        spec = spec.fitted(len(train), len(held_out))
        places = None
        if spec.decisive:
            # A measurement in between would count as one without improvement.
            steps: list[batches.Step] = [[]] * spec.steps
            places = batches.evaluations(steps, len(held_out), decisive=True)
        self.length = spec.steps
        self.plan = self._rungs_of(spec.steps, places)

    def _common(self) -> dict[str, Any]:
        asked = self.asked
        return {
            "template": asked.template,
            "system": asked.system,
            "held_out": self.parts.deciding,
            "skip_bad": asked.skip_bad,
        }

    def _rungs(self, stop: Stop) -> None:
        listener = _Listener(self, stop)
        for at, rung in enumerate(self.plan):
            if at and len(self.alive) == 1:
                break  # The choice is made.
            self._climb(rung, stop, listener)
            if self.late or self.stopped:
                break
            self._drop(at, rung)

    def _climb(self, rung: Rung, stop: Stop, listener: _Listener) -> None:
        """Train every arm that is left up to a rung's steps."""
        left = [arm for arm in self.arms if arm.setting in self.alive]
        due = [
            a for a in left if not a.ended and (a.summary is None or a.summary.steps < rung.steps)
        ]
        self._train(sorted(due, key=_by_loss), rung.steps, stop, listener)
        if not (self.late or self.stopped):
            self.done.append((rung.steps, len(left)))

    def _train(
        self, arms: Sequence[Candidate], until: int | None, stop: Stop, listener: _Listener
    ) -> None:
        if not arms:
            return
        self.until = self.length if until is None else until
        try:
            found = self.train_arms(
                self.state,
                [Arm(arm.attached, arm.own, arm.snapshot) for arm in arms],
                self.parts.trained,
                flags=self.flags(),
                until=until,
                notes=self.asked.notes,
                **self._common(),
                reporter=listener,
                stop=stop,
            )
        except KeyboardInterrupt:
            # Before its first step; the rungs before it are kept.
            if not (stop.requested and self._any_done()):
                raise
            found = []
        for arm, seconds in zip(arms, _spent(arms, found), strict=False):
            arm.seconds += seconds
        for arm, outcome in zip(arms, found, strict=False):
            arm.take(outcome)
            arm.live = None
        if not any(arm.error == "" for arm in self.arms):
            raise TrainingError(f"sweep: every arm failed; {self.arms[0].error}")
        self.stopped = stop.requested and not self.late
        self.store.write(self.kept())

    def _drop(self, at: int, rung: Rung) -> None:
        """Only the best settings go on; the others need no snapshot any more."""
        going = self._order()[: rung.keep]
        for arm in self.arms:
            if arm.setting in self.alive:
                arm.rung = at + 1
            # With one rung left none is dropped: all were trained to the same step, their last.
            if arm.setting in self.alive and arm.setting not in going:
                arm.dropped, arm.snapshot = not arm.ended, None
        if rung is not self.plan[-1]:
            self._tell(at, rung, going)
        self.alive = going

    def _tell(self, at: int, rung: Rung, going: Sequence[int]) -> None:
        if (tell := getattr(self.reporter, "note", None)) is not None:
            labels = {arm.setting: arm.label for arm in self.arms}
            names = "; ".join(labels[setting] for setting in going[:4])
            names += f" and {len(going) - 4} more" if len(going) > 4 else ""
            tell(
                f"rung {at + 1} of {len(self.plan)}: {len(self.alive)} "
                f"setting{'s' * (len(self.alive) != 1)} at step {rung.steps}; {len(going)} "
                f"go{'es' * (len(going) == 1)} on: {names}"
            )

    def _order(self) -> list[int]:
        """The settings that are left and have not failed, the best first."""
        losses = {
            setting: [arm.loss for arm in self.arms if arm.setting == setting]
            for setting in self.alive
        }
        able = {s: found for s, found in losses.items() if any(x is not None for x in found)}
        return sweep_plan.order(able)

    def _choose(self, stop: Stop) -> None:
        """The best seed of the best setting; with `finish` it is trained to its end."""
        best = self._order()
        if not best:
            return
        self.chosen = min((a for a in self.arms if a.setting == best[0]), key=_by_loss)
        if self.asked.finish and not (self.stopped or self.late or self.chosen.ended):
            listener = _Listener(self, stop)
            self._train([self.chosen], None, stop, listener)
            if self.chosen.error:
                raise TrainingError(f"sweep: the chosen arm failed; {self.chosen.error}")

    def _report(self) -> None:
        """The loss of the chosen arm, and that of the base, on the rows that did not decide."""
        assert self.chosen is not None
        assert self.chosen.settings is not None
        spec, attached = self.chosen.settings, self.chosen.attached
        rows = GuardRows(self.parts.reported, None, spec.pass_size)
        if spec.beta is not None:
            # Without an adapter every margin is 0.
            self.base_loss = math.log(2)
            self.reported = _loss_of_pairs(self.state, attached, rows, spec.beta)
            return
        base = replace(attached, replacements={})
        losses = [guards.measure(self.state, one, rows, lambda: False) for one in (base, attached)]
        before, after = (loss if isinstance(loss, float) else None for loss in losses)
        self.base_loss, self.reported = before, after

    def _keep(self) -> None:
        """The chosen arm becomes the adapter of the sweep's name, and active."""
        assert self.chosen is not None
        assert self.chosen.settings is not None
        attached, name, beta = self.chosen.attached, self.asked.name, self.chosen.settings.beta
        attached.name = name
        self.state.keep(attached)
        # It begins as `attach` would make it, and was trained since.
        attached.start_history, attached.start_steps = History(), ()
        attached.run["sweep"] = {
            "arms": len(self.arms),
            "chosen": self.chosen.label,
            "reported": self.reported,
            "base_loss": self.base_loss,
            "reporting_rows": len(self.parts.reporting),
            "sha256": rows_hash(self.state, self.parts.reported.examples, beta),
        }
        self.state.activate(name)

    # What it is so far

    def kept(self) -> Kept:
        """What is stored."""
        asked = self.asked
        flags = {**asked.varied, **asked.shared, "template": asked.template}
        flags |= {"system": asked.system, "seeds": asked.seeds}
        flags |= {"no_halving": None if asked.halving else True}
        told = {sweep_plan.typed(k): str(v) for k, v in flags.items() if v is not None}
        base = self.state.base.fingerprint.digest
        arms = tuple(arm.kept() for arm in self.arms)
        data = self.parts.encoded.data_hash
        return Kept(told, data, base, self.steps, self.seconds, arms)

    def restore(self, stored: Kept) -> None:
        """Be what was stored."""
        self.steps, self.before = stored.steps, stored.seconds
        for arm, kept in zip(self.arms, stored.arms, strict=True):
            arm.restore(kept)
            if arm.summary is not None:
                flags = {**self.flags(), **arm.own}
                flags["eval"] = f"{len(self.parts.deciding)} other rows"
                self._record(arm, arm.summary, flags)

    def _record(self, arm: Candidate, summary: RunSummary, flags: Mapping[str, Any]) -> None:
        """Set what is recorded of an arm that was stored."""
        assert arm.settings is not None  # checked
        encoded, rows = self.parts.encoded, self.parts.trained
        starting = start_of(self.state, arm.attached, encoded, arm.settings, more=False)
        record = recorded_of(self.form, History(), summary, flags, rows, starting)
        making = Making.of(
            *(arm.attached, encoded, arm.settings, self.form, rows, self.parts.deciding), more=False
        )
        arm.attached.set_record(replace(record, steps=making.after(summary)))

    def result(self) -> Sweep:
        """The record of what was trained so far."""
        return Sweep(
            self.asked.name,
            tuple(map(self._row, self.arms)),
            self.length,
            tuple(self.done),
            None if self.chosen is None else self.chosen.number,
            self.reported,
            self.base_loss,
            len(self.parts.deciding),
            len(self.parts.reporting),
            self.seconds,
            self.stopped,
            self.late,
        )

    def _row(self, arm: Candidate) -> SweepArm:
        spec, done, live = arm.attached.spec, arm.summary, arm.live
        assert arm.settings is not None  # checked
        losses = live.held_out if live else done.held_out_losses if done else ()
        flags = {"seed": spec.seed, **arm.flags}
        told = {**self.asked.told, **self.flags(), **arm.own}
        alone = f"{self.asked.name[:50]}_{arm.number}"
        return SweepArm(
            arm=arm.number,
            setting=arm.setting,
            label=arm.label,
            seed=spec.seed,
            rank=spec.rank or None,
            lr=arm.settings.learning_rate,
            method=spec.variant,
            targets=spec.targets,
            parameters=sum(tensor.numel() for _, tensor in arm.attached.tensors()),
            steps=live.step if live else done.steps if done else 0,
            held_out=losses[-1][1] if live and len(losses) > 1 else arm.loss,
            seconds=arm.seconds,
            state=self._state(arm),
            losses=tuple(losses),
            attach=f"%lora attach {alone}{sweep_plan.command(flags, OF_ATTACH)}",
            train=f"%lora train {alone}{sweep_plan.command(told)}",
            error=arm.error,
        )

    def _state(self, arm: Candidate) -> str:
        if arm is self.chosen:
            return CHOSEN
        if arm.error:
            return FAILED
        if arm.ended:
            return FINISHED
        if arm.dropped:
            return DROPPED
        if arm.live is not None:
            return TRAINING if arm.live.step < self.until else PAUSED
        return WAITING if arm.summary is None else PAUSED


def _loss_of_pairs(
    state: SessionState, attached: LiveAdapter, rows: GuardRows, beta: float
) -> float | None:
    """The loss over preferences, compared with the base; None if memory runs out."""
    base, loss = state.base, preference.Preference(beta)
    losses: list[float] = []
    try:
        with evaluating(base.model), torch.no_grad():
            for pair in rows.measured.examples:
                made = batches.collate([pair], pad_id(base.tokenizer))
                batch = {key: value.to(base.device) for key, value in made.items()}
                with state.slots.using({}):
                    reference = preference.reference(base.model, batch)
                batch["reference"] = torch.tensor(reference, device=base.device)
                with state.slots.using(attached.replacements):
                    losses.append(float(loss.loss(base.model, batch)))
    except Exception as error:
        if not out_of_memory(error):
            raise
        return None
    return fmean(losses)


def _spent(arms: Sequence[Candidate], found: Sequence[Outcome]) -> list[float]:
    """The seconds of a rung that each arm took; those of one batch took it together."""
    spent = []
    for arm, outcome in zip(arms, found, strict=False):
        before = arm.summary.seconds if arm.summary else 0.0
        spent.append(outcome.summary.seconds - before if outcome.summary else 0.0)
    for number in {outcome.batch for outcome in found}:
        stacked = [at for at, one in enumerate(found) if one.stacked and one.batch == number]
        shares = sweep_plan.shares([spent[at] for at in stacked])
        for at, share in zip(stacked, shares, strict=True):
            spent[at] = share
    return spent


def _by_loss(arm: Candidate) -> tuple[bool, float]:
    return arm.loss is None, arm.loss or 0.0


class _Listener:
    """Passes the events of the arms' runs on, and ends the sweep when its time is up."""

    def __init__(self, work: _Work, stop: Stop) -> None:
        self._work, self._stop = work, stop
        self._by = {arm.attached.name: arm for arm in work.arms}

    def start(self, plan: RunPlan) -> None:
        """Shows the plan of the sweep with that of its first rung."""
        work = self._work
        rest = plan.line.removeprefix(f"{plan.adapter}: ")
        ends = " → ".join(f"{rung.steps}" for rung in work.plan)
        line = f"{work.asked.name}: {len(work.arms)} arms, up to step {ends}; {rest}"
        if not work.done:
            work.reporter.start(replace(plan, adapter=work.asked.name, line=line))

    def step(self, point: StepPoint) -> None:
        """Shows the arms, or passes the step on to a reporter that does not show them."""
        work = self._work
        self._by[point.adapter].live = point
        limit = work.asked.minutes
        if limit is not None and time.perf_counter() - work.began >= 60 * limit:
            work.late = work.late or not self._stop.requested
            self._stop.request()
        if (show := getattr(work.reporter, "arms", None)) is not None:
            show(work.result)
        else:
            work.reporter.step(point)

    def note(self, line: str) -> None:
        """Passes it on to a reporter that takes notes."""
        if (tell := getattr(self._work.reporter, "note", None)) is not None:
            tell(line)

    def finish(self, summary: Result) -> None:
        """Does nothing: the sweep finishes."""
