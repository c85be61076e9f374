"""`--lr find`: the loss of an adapter while its learning rate rises; nothing is changed.

Knows the session's state and the run; knows no row and no notebook.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.errors import TrainingError, TrainingStopped
from lora_magic.interrupts import Stop
from lora_magic.training.encode import Encoded
from lora_magic.training.rate_curve import DIVERGED, RateCurve
from lora_magic.training.reporter import Reporter, RunPlan, StepPoint
from lora_magic.training.spec import RISING, TrainSpec

from . import train
from .prepare import Job
from .session_state import SessionState

#: The learning rate that asks for it.
FIND = "find"
STEPS = 60
#: The search ends at this many times the default rate, if the loss has not diverged before.
_ABOVE = 100.0
_HIGHEST = 10.0


class _RollBackError(Exception):
    """Ends the search: the state is restored as after an error."""


def flags_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """A run's flags for the search: its own length and rates, and no row is held out."""
    own = dict.fromkeys(("lr", "epochs", "patience", "minutes", "schedule", "warmup"))
    return {**flags, **own, "steps": STEPS, "eval": 0}


def find(
    state: SessionState,
    attached: LiveAdapter,
    encoded: Encoded,
    spec: TrainSpec,
    *,
    more: bool,
    reporter: Reporter,
) -> RateCurve:
    """Raise the rate over `STEPS` steps on the rows of one batch, then restore everything.

    Other rows at each step would differ more in their loss than a step changes it. Raises
    `TrainingStopped` if the user stops it.
    """
    some = sorted(encoded.examples, key=lambda example: example.position)[: spec.batch_size]
    encoded = replace(encoded, examples=tuple(some), held_out=None)
    highest = min(_ABOVE * spec.learning_rate, _HIGHEST)
    spec = replace(spec, learning_rate=highest, schedule=RISING, warmup=0.0)
    stop = Stop(getattr(reporter, "stop", None), deferring=True)
    listener = _Listener(reporter, stop)
    stopped = False
    with suppress(_RollBackError), stop, state.all_or_nothing(attached):
        try:
            train.begin(state, attached, initial=not more)
            summary = train.steps(state, attached, Job(encoded, spec, more), listener, stop)
            stopped = summary.stopped and not listener.diverged
        except TrainingError as error:
            # A loss that is not finite ends the search; a lack of memory is an error.
            if not listener.losses or "out of memory" in str(error):
                raise
        raise _RollBackError
    if stopped:
        raise TrainingStopped(f"{attached.name}: --lr find was stopped; nothing is changed.")
    rates = [highest * spec.rate(step) for step in range(spec.steps)]
    found = RateCurve.of(attached.name, rates, listener.losses)
    reporter.finish(found)
    return found


class _Listener:
    """Keeps the losses, passes a run's events on except its end, and ends it when it diverges."""

    def __init__(self, reporter: Reporter, stop: Stop) -> None:
        self.losses: list[float] = []
        self.diverged = False
        self._reporter, self._stop = reporter, stop

    def start(self, plan: RunPlan) -> None:
        """Announce the search."""
        line = plan.line.replace(" · ", " · only searching a learning rate: ", 1)
        self._reporter.start(replace(plan, line=line))

    def step(self, point: StepPoint) -> None:
        """Keep the loss; ask for the end if it is far above the lowest."""
        self.losses.append(point.loss)
        self._reporter.step(point)
        if point.loss > DIVERGED * min(self.losses):
            self.diverged = True
            self._stop.request()

    def finish(self, summary: object) -> None:
        """Does nothing: `find` finishes."""
