"""The arms of a sweep that one worker trains: what it is sent, and what it returns.

Knows a base and adapters that were sent, and runs of several adapters; knows no sweep, no engine,
and nothing of other workers. A request has all that its arms need, so it can be done again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lora_magic.data.row import Row
from lora_magic.errors import LoraMagicError
from lora_magic.interrupts import Stop
from lora_magic.scale.work import Seat
from lora_magic.training.progress import Snapshot
from lora_magic.training.summary import RunSummary

from .arms import Arm, Outcome, train_arms
from .sent import SentAdapter, SentBase
from .session_state import SessionState
from .worker_run import Teller

#: The name of `train`, by which a worker finds it.
TRAIN = "lora_magic.state.worker_arms:train"


@dataclass(frozen=True, eq=False)
class SentArm:
    """An adapter, its own flags, and the snapshot that it goes on from, if it does."""

    adapter: SentAdapter
    flags: Mapping[str, Any]
    start: Snapshot | None

    @classmethod
    def of(cls, arm: Arm) -> SentArm:
        """An arm as it is now."""
        return cls(SentAdapter.of(arm.attached), dict(arm.flags), arm.start)

    def rebuilt(self, state: SessionState) -> Arm:
        """The arm on a base that was read again."""
        return Arm(self.adapter.rebuilt(state), self.flags, self.start)


@dataclass(frozen=True, eq=False)
class ArmsRequest:
    """Arms to train on the same rows; `common` are the other arguments of `train_arms`."""

    base: SentBase
    arms: tuple[SentArm, ...]
    rows: tuple[Row, ...]
    common: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Ended:
    """What became of an arm, as an `Outcome` without an adapter; `weights` are those that it has
    after its run, empty without a summary."""

    summary: RunSummary | None = None
    snapshot: Snapshot | None = None
    error: LoraMagicError | None = None
    stacked: bool = False
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, outcome: Outcome) -> Ended:
        """That of an arm here."""
        weights = outcome.attached.state() if outcome.summary else {}
        return cls(
            outcome.summary,
            outcome.snapshot,
            outcome.error,
            outcome.stacked,
            {name: value.to("cpu") for name, value in weights.items()},
        )


def train(request: ArmsRequest, seat: Seat) -> list[Ended]:
    """Train the arms of a request; after a stop as far as they got, which may be no step."""
    none = [Ended()] * len(request.arms)
    if seat.stop.is_set():
        return none
    state = request.base.opened(seat.device)
    arms = [arm.rebuilt(state) for arm in request.arms]
    try:
        found = train_arms(
            state,
            arms,
            request.rows,
            **request.common,
            reporter=Teller(seat),
            stop=Stop(seat.stop, deferring=True),
        )
    except KeyboardInterrupt:
        # It was stopped before its first step.
        if not seat.stop.is_set():
            raise
        return none
    return list(map(Ended.of, found))
