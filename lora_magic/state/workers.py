"""A run that several workers share: what is asked for, what each gets, and what comes back.

The session's process prepares the run and records it; the workers take the steps (`worker_run`).
Knows the session's state and the engines' requests; knows no engine and no row.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.checks import is_whole
from lora_magic.errors import CommandError, Interrupted, WorkerError, near
from lora_magic.interrupts import Stop, undisturbed
from lora_magic.numbers import percent
from lora_magic.scale import engines
from lora_magic.scale.local import cores
from lora_magic.scale.work import ACCELERATE, ENGINES, RAY, Engine, Note, Work, Workers
from lora_magic.training.reporter import Reporter, RunPlan, StepPoint
from lora_magic.training.summary import RunSummary

from . import find_rate, worker_run
from .checkpoints import Disk
from .prepare import Job
from .sent import SentAdapter, SentBase
from .session_state import SessionState

#: Workers of a cluster if nobody says how many: with one there is nothing to share.
_ON_RAY = 2

#: Workers that any machine may have, if only to try it; more than its cores are slower than one.
_FEW = 2

#: The share of the base that an adapter may keep whole on every worker: a classifier's head, norms.
_WHOLE = 0.1

#: After an error or a second ■, if a checkpoint of the run is left.
_RESUME = "to go on from the last checkpoint, run the cell again with --resume"

_ADDRESS = re.compile(r"[\w.-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


@dataclass(frozen=True)
class Asked:
    """The workers that a verb was asked to use, and the base as they read it."""

    workers: Workers
    base: SentBase


def asked(
    state: SessionState,
    home: Path,
    workers: object,
    engine: object,
    address: object,
    fsdp: bool,
    *,
    several: bool = False,
    lr: object = None,
    report_to: object = None,
) -> Asked | None:
    """The workers that the flags of a run ask for; None for a run in this process.

    Raises `CommandError` for flags that exclude one another, `several` adapters among them, and
    `BaseModelError` for a base that another process cannot read. Nothing is started.
    """
    if workers is None and engine is None and address is None and not fsdp:
        return None
    found = wanted(state, home, workers, engine, address, fsdp)
    if several:
        raise CommandError(
            "--workers trains a single adapter: name one; for many settings on a cluster, type: "
            "%lora sweep NAME … --engine ray"
        )
    if lr == find_rate.FIND:
        raise CommandError("--lr find searches the rate in this process: omit --workers.")
    if report_to is not None and found.engine == RAY:
        raise CommandError(
            f"--report-to {report_to} follows a run on this machine; with --engine ray, train "
            "without --report-to."
        )
    return Asked(found, SentBase.of(state))


def wanted(
    state: SessionState,
    home: Path,
    workers: object,
    engine: object,
    address: object,
    fsdp: bool = False,
) -> Workers:
    """The request to an engine; raises `CommandError` for what no engine can do."""
    if engine not in (None, *ENGINES):
        hint = near(engine, ENGINES) if isinstance(engine, str) else ""
        raise CommandError(f"--engine {engine}: expected {' or '.join(ENGINES)}.{hint}")
    if address is not None:
        _refuse_address(address, engine)
    if workers is None and engine != RAY:
        flag = "--fsdp" if fsdp else f"--engine {engine}"
        raise CommandError(f"{flag}: expected --workers beside it, such as --workers 2.")
    count: Any = _ON_RAY if workers is None else workers
    if not is_whole(count) or count < 1:
        raise CommandError(f"--workers {count}: expected a whole number from 1, as --workers 2.")
    # A base that is split is larger than a GPU: the session has it on the CPU.
    cuda = state.device == "cuda" or (fsdp and torch.cuda.is_available())
    if cuda and engine != RAY and count > (cards := torch.cuda.device_count()):
        raise CommandError(
            f"--workers {count}: expected at most {cards}, since each worker has a GPU of its own; "
            "with those of other machines: --engine ray"
        )
    if not cuda and engine != RAY and count > (most := max(_FEW, cores())):
        raise CommandError(
            f"--workers {count}: expected at most {most}, since this machine has {cores()} "
            f"core{'s' * (cores() > 1)} to share; with those of other machines: --engine ray"
        )
    chosen = ACCELERATE if engine is None else str(engine)
    where = None if address is None else str(address)
    return Workers(count, chosen, where, cuda, str(home.absolute()), fsdp)


def _refuse_address(address: object, engine: object) -> None:
    """Raise `CommandError` for an address that is not a cluster's."""
    if engine != RAY:
        raise CommandError(f"--address {address}: expected --engine ray beside it.")
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise CommandError(f"--address {address}: expected HOST:PORT, as 10.0.0.5:6379.")


def refuse_split(state: SessionState, attached: LiveAdapter, group: Asked | None) -> None:
    """Raise `CommandError` for a base or an adapter that workers with --fsdp cannot split."""
    if group is None or not group.workers.fsdp:
        return
    base, method = state.base, attached.method
    if base.quantised is not None:
        raise CommandError(
            f"--fsdp: {base.name} is quantised ({base.quantised.kind}), and packed weights cannot "
            "be split: load it without --bits, or omit --fsdp."
        )
    if method.name == "prompt":
        raise CommandError(
            f"--fsdp: {method.title} runs the model once more within a pass, when its weights are "
            "not gathered: attach with --method prefix, or omit --fsdp."
        )
    whole = {p for copy in attached.trainable_copies().values() for p in copy.copied.parameters()}
    share = sum(parameter.numel() for parameter in whole) / base.parameters
    if share > _WHOLE:
        raise CommandError(
            f"--fsdp: {attached.name} ({method.title}) keeps whole copies of {percent(share)} of "
            "the base on every worker: attach with --method lora, without --bias, or omit --fsdp."
        )


@contextmanager
def started(group: Asked | None, reporter: Reporter) -> Iterator[Shared | None]:
    """The workers of a run, ready for the block; None for a run in this process."""
    if group is None:
        yield None
        return
    # Until the first line of the run they import their libraries and read the base: some seconds.
    _tell(reporter, f"starting {group.workers.named}, to read {group.base.name} …")
    with engines.started(group.workers) as engine:
        yield Shared(group, engine)


@dataclass(frozen=True)
class Shared:
    """Takes a run's steps on workers that are ready."""

    group: Asked
    engine: Engine

    def steps(
        self,
        state: SessionState,
        attached: LiveAdapter,
        job: Job,
        reporter: Reporter,
        stop: Stop,
        keeper: Disk | None,
    ) -> RunSummary:
        """The steps that `train.steps` takes alone; afterwards the adapter has their weights.

        Worker 0 writes the checkpoints, which `keeper` removes later. A second ■ ends the workers
        at once, and so does the first one while they start.

        Raises the workers' errors, `Interrupted` for a second ■ if a checkpoint is left, else
        `KeyboardInterrupt`; the caller restores the adapter.
        """
        base, adapter, stale = self.group.base, SentAdapter.of(attached), _checksums(keeper)
        fsdp = self.group.workers.fsdp
        request = worker_run.Request(base, adapter, job, keeper, stale, fsdp)
        work = Work(worker_run.TARGET, request)
        listener = Listener(reporter, self.engine.line)
        found: worker_run.Finished | None

        def stopped() -> bool:
            if stop.requested and not listener.began:
                raise KeyboardInterrupt  # Nothing is lost: the workers still read the base.
            return stop.requested

        try:
            with stop.abortable():
                found = self.engine.group(work, listener.hear, stopped)
        except KeyboardInterrupt:
            if _checksums(keeper) in (None, stale):
                raise
            raise Interrupted(
                f"{attached.name}: the workers were ended at once, and the adapter is as it was "
                f"before the run; {_RESUME}."
            ) from None
        except WorkerError as error:
            if _checksums(keeper) in (None, stale):
                raise
            raise type(error)(f"{error}; {_RESUME}") from error
        if found is None:
            raise KeyboardInterrupt  # It was stopped before its first step.
        with undisturbed():
            attached.set_state(found.weights)
            if keeper is not None:
                keeper.written = found.written
        notes = (self.engine.line, *listener.notes, *found.summary.notes)
        return replace(found.summary, notes=notes)


def _checksums(keeper: Disk | None) -> Mapping[str, str] | None:
    """Those of the checkpoint that is there now; None without one."""
    found = None if keeper is None else keeper.last()
    return None if found is None else found.sums


class Listener:
    """Passes what workers tell to a reporter, as one run, even if they began again.

    After a worker was lost the others go on from the last checkpoint: their steps since then come
    again, with the same losses, and are passed on once.
    """

    def __init__(self, reporter: Reporter, line: str) -> None:
        self._reporter, self._line = reporter, line
        #: Whether the workers have read the base, and the run has begun.
        self.began = False
        #: The last point of each adapter.
        self._last: dict[str, StepPoint] = {}
        #: What happened on the way.
        self.notes: list[str] = []

    def hear(self, event: object) -> None:
        """One event of worker 0, or a note of the engine."""
        if isinstance(event, RunPlan):
            self._start(event)
        elif isinstance(event, StepPoint):
            self._take(event)
        elif isinstance(event, worker_run.Warned):
            with warnings.catch_warnings():
                # Each time, as the worker's own are.
                warnings.simplefilter("always", event.category)
                warnings.warn(event.line, event.category, stacklevel=2)
        elif isinstance(event, Note):
            self.notes.append(event.line)
            _tell(self._reporter, event.line)
        else:
            _tell(self._reporter, str(event))

    def _start(self, plan: RunPlan) -> None:
        if self.began:
            done = len(plan.losses)
            # Of a step that is in the checkpoint the lost worker may not have told.
            for last in [*self._last.values()]:
                for step in range(last.step, done):
                    self._take(replace(last, step=step + 1, loss=plan.losses[step]))
            line = f"resumed after step {done}" if done else "began again"
            self.notes.append(line)
            _tell(self._reporter, line)
            return
        self.began = True
        self._reporter.start(replace(plan, line=f"{plan.line} · {self._line}"))

    def _take(self, point: StepPoint) -> None:
        last = self._last.get(point.adapter)
        if last is not None and point.step <= last.step:
            return
        if last is not None and point.inside is None:
            # It is sent only when there is more of it.
            point = replace(point, inside=last.inside)
        self._last[point.adapter] = point
        self._reporter.step(point)


def _tell(reporter: Reporter, line: str) -> None:
    if (tell := getattr(reporter, "note", None)) is not None:
        tell(line)
