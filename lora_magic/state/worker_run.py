"""A worker's part of a run that several share: the same steps as alone, on the base read again.

Worker 0 tells the session what happens, and writes the checkpoints. Knows the session's rooms and
its own seat; knows no engine.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.errors import WorkerError
from lora_magic.interrupts import Stop
from lora_magic.scale import fsdp
from lora_magic.scale.work import Seat
from lora_magic.training.progress import Snapshot
from lora_magic.training.reporter import RunPlan, StepPoint
from lora_magic.training.summary import RunSummary
from lora_magic.training.world import World

from .checkpoints import Disk
from .prepare import Job
from .sent import SentAdapter, SentBase

#: The name of `train` in a `Work`.
TARGET = "lora_magic.state.worker_run:train"


@dataclass(frozen=True, eq=False)
class Request:
    """What each worker gets: a base, an adapter in the state to begin with, and the run.

    `keeper` says where the run's checkpoints are written, None for none; `stale` are the checksums
    of one that was there before the run. With `fsdp` the workers split the base.
    """

    base: SentBase
    adapter: SentAdapter
    job: Job
    keeper: Disk | None
    stale: Mapping[str, str] | None
    fsdp: bool


@dataclass(frozen=True, eq=False)
class Finished:
    """What comes back: the summary, the adapter's tensors on the CPU, and whether the last
    checkpoint was written."""

    summary: RunSummary
    weights: Mapping[str, Tensor]
    written: bool


@dataclass(frozen=True)
class Warned:
    """A warning that is for the person."""

    line: str
    category: type[Warning]


def train(request: Request, seat: Seat) -> Finished | None:
    """Take part in a run; worker 0's result counts. None if it was stopped before its first step.

    Raises what a run alone raises, and `WorkerError` if the workers do not see the same checkpoint.
    """
    from . import train as alone  # it imports `workers`, which imports this file

    # A base that is split may be larger than the device.
    state = request.base.opened("cpu" if request.fsdp else seat.device)
    adapter = request.adapter.rebuilt(state)
    keeper = request.keeper and request.keeper.again()
    job = request.job
    if seat.lost:
        last = _last_checkpoint(request, adapter, seat.world)
        job = replace(job, start=last or job.start)
    if request.fsdp:
        fsdp.split(state.base, adapter.replacements.values(), seat)
    state.keep(adapter)
    alone.begin(state, adapter, initial=False)
    with fsdp.gathering(), Stop(seat.stop, deferring=True) as stop, _told_warnings(seat):
        try:
            summary = alone.steps(
                state,
                adapter,
                job,
                Teller(seat),
                stop,
                keeper,
                # To read ΔW may need whole weights of the base.
                followed=not request.fsdp,
                world=seat.world,
            )
        except KeyboardInterrupt:
            return None
    weights = {key: value.cpu() for key, value in adapter.state().items()}
    return Finished(summary, weights, keeper is not None and keeper.written)


def _last_checkpoint(request: Request, adapter: LiveAdapter, world: World) -> Snapshot | None:
    """The last checkpoint that the run has written before a worker was lost; None without any."""
    found = None if world.rank else _own_checkpoint(request, adapter)
    # The others look after worker 0, which may have had to complete the last one.
    step = world.first([_steps_of(found)])[0]
    if world.rank:
        found = _own_checkpoint(request, adapter)
    if _steps_of(found) != step:
        raise WorkerError(
            "a worker was lost, and the others do not see the same checkpoint: expected a home "
            "folder that all of them share; type: %lora load MODEL --home DIR"
        )
    return found


def _own_checkpoint(request: Request, adapter: LiveAdapter) -> Snapshot | None:
    """The last checkpoint, unless it was there before the run."""
    found = None if request.keeper is None else request.keeper.last()
    return None if found is None or found.sums == request.stale else found.snapshot(adapter)


def _steps_of(found: Snapshot | None) -> int:
    return 0 if found is None else found.progress.steps


@contextmanager
def _told_warnings(seat: Seat) -> Iterator[None]:
    """Tell the session our own warnings in the block, at once."""

    def tell(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        seat.tell(Warned(str(message), category))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", module="lora_magic")
        warnings.showwarning = tell
        yield


class Teller:
    """A reporter that tells the session what happens in a worker."""

    def __init__(self, seat: Seat) -> None:
        self._tell, self._readings = seat.tell, 0
        self.note = seat.tell

    def start(self, plan: RunPlan) -> None:
        """The plan."""
        self._tell(plan)

    def step(self, point: StepPoint) -> None:
        """The step; what was read of the adapter's inside only when there is more of it."""
        readings = len(point.inside.readings) if point.inside else 0
        if readings == self._readings:
            point = replace(point, inside=None)
        self._readings = readings
        self._tell(point)

    def finish(self, summary: object) -> None:
        """Nothing: the summary is the result."""
