"""How a run reports its progress: plain values, and two reporters.

A run reports every step; the reporter decides what to show. Knows numbers and lines; knows no
notebook.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lora_magic.numbers import duration

from .inside import Inside
from .rate_curve import RateCurve
from .summaries import Summaries
from .summary import RunSummary

#: What a run, one of several adapters, or a search for a learning rate ends with.
Result = RunSummary | RateCurve | Summaries


@dataclass(frozen=True)
class RunPlan:
    """A run before its first step; `line` shows the data, then the settings.

    `sample` shows one row as the model reads it. `losses` are those of the steps that a resumed run
    has already taken.
    """

    adapter: str
    line: str
    sample: str = ""
    losses: tuple[float, ...] = ()


@dataclass(frozen=True)
class StepPoint:
    """One optimizer step: its number from 1, its loss in nats per token, and the times in seconds.

    `tokens_per_second` counts every token read since the first step began, prompts too. `memory`
    is the peak so far in bytes, None if unknown; of several `workers` the first one's. `held_out`
    has the held-out losses so far as (steps taken, loss). `adapter` names one of several adapters
    that are trained on the same rows; it is "" in a run of one. `inside` is what was read of the
    adapter's inside so far.
    """

    step: int
    total: int
    loss: float
    elapsed: float
    seconds_left: float
    tokens_per_second: float
    memory: int | None = None
    held_out: tuple[tuple[int, float], ...] = ()
    adapter: str = ""
    inside: Inside | None = None
    workers: int = 1


class Reporter(Protocol):
    """Receives a run's progress. `finish` is not called when the run ends in an error.

    It may have a `stop`, a `threading.Event`: setting that ends the run; and a `note`, which is
    called with a line about something that happened on the way.
    """

    def start(self, plan: RunPlan) -> None:
        """Before the first step."""

    def step(self, point: StepPoint) -> None:
        """After each optimizer step."""

    def finish(self, summary: Result) -> None:
        """After the last step, also when the user stopped the run."""


#: Adapters that a line names; of more, these with the lowest losses.
_MOST = 3


class LineReporter:
    """One line at the start, one every `every` seconds, one at the end.

    A run long enough for lines in between also gets one for its last step.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        every: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._every, self._clock = write, every, clock
        self._written, self._short = clock(), True
        self._last: dict[str, StepPoint] = {}

    def start(self, plan: RunPlan) -> None:
        """The plan's line, and its sample."""
        self._written, self._short, self._last = self._clock(), True, {}
        self._write(plan.line)
        if plan.sample:
            self._write(plan.sample)

    def note(self, line: str) -> None:
        """The line."""
        self._write(line)

    def step(self, point: StepPoint) -> None:
        """Step, loss, speed and time left, if it is time for a line; the loss of each adapter."""
        now = self._clock()
        self._last[point.adapter] = point
        last = point.step == point.total and not self._short
        if not last and now - self._written < self._every:
            return
        self._written, self._short = now, False
        points = list(self._last.values())
        if len(points) > _MOST:
            points = sorted(points, key=rank)[:_MOST]
        losses = ", ".join(map(_loss, points))
        if len(self._last) > _MOST:
            losses += f" and {len(self._last) - _MOST} more"
        self._write(
            f"step {point.step}/{point.total}, {losses}, "
            f"{point.tokens_per_second:,.0f} tokens/s, {duration(point.seconds_left)} left"
        )

    def finish(self, summary: Result) -> None:
        """The summary's line."""
        self._write(summary.line)


def rank(point: StepPoint) -> tuple[bool, float]:
    """The order of several adapters: by held-out loss, and by the training loss without one."""
    return not point.held_out, point.held_out[-1][1] if point.held_out else point.loss


def _loss(point: StepPoint) -> str:
    held_out = f" (held out {point.held_out[-1][1]:.3f})" if point.held_out else ""
    return f"{point.adapter} loss {point.loss:.3f}{held_out}".lstrip()


class SilentReporter(LineReporter):
    """Writes nothing."""

    def __init__(self) -> None:
        super().__init__(lambda line: None)
