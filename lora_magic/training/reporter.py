"""How a run tells where it stands: plain values, and two listeners.

Knows numbers and lines; knows no notebook. How often something is shown is the listener's affair:
a run tells it of every step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lora_magic.numbers import duration

from .summary import RunSummary


@dataclass(frozen=True)
class RunPlan:
    """What is about to be done; `line` tells it: the data, then the defaults chosen."""

    adapter: str
    line: str
    steps: int
    examples: int
    trained_tokens: int
    cut: int
    empty: int


@dataclass(frozen=True)
class StepPoint:
    """One optimizer step: its number from 1, its loss in nats a token, and the times in seconds.

    `tokens_per_second` counts every token read, prompts too, since the first step began. `memory`
    is the peak so far in bytes, None where it is not known. `held_out` holds the held-out losses so
    far, each with the number of steps that it was measured after.
    """

    step: int
    total: int
    loss: float
    elapsed: float
    seconds_left: float
    tokens_per_second: float
    memory: int | None = None
    held_out: tuple[tuple[int, float], ...] = ()


class Reporter(Protocol):
    """Listens to a run. `finish` is not called when the run ends in an error.

    A person may end the run through it: by setting its `stop`, a `threading.Event`, if it has one.
    """

    def start(self, plan: RunPlan) -> None:
        """Before the first step."""

    def step(self, point: StepPoint) -> None:
        """After each optimizer step."""

    def finish(self, summary: RunSummary) -> None:
        """After the last step, also when a person stopped the run."""


class SilentReporter:
    """Says nothing."""

    def start(self, plan: RunPlan) -> None:
        """Nothing."""

    def step(self, point: StepPoint) -> None:
        """Nothing."""

    def finish(self, summary: RunSummary) -> None:
        """Nothing."""


class LineReporter:
    """One line at the start, one every `every` seconds, one at the end.

    A run long enough for lines in between has one for its last step, too.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        every: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._every, self._clock = write, every, clock
        self._said, self._short = clock(), True

    def start(self, plan: RunPlan) -> None:
        """The plan's line."""
        self._said, self._short = self._clock(), True
        self._write(plan.line)

    def step(self, point: StepPoint) -> None:
        """Step, loss, speed and time left, if it is time for a line."""
        now = self._clock()
        last = point.step == point.total and not self._short
        if not last and now - self._said < self._every:
            return
        self._said, self._short = now, False
        held = f" (held out {point.held_out[-1][1]:.3f})" if point.held_out else ""
        self._write(
            f"step {point.step}/{point.total}, loss {point.loss:.3f}{held}, "
            f"{point.tokens_per_second:,.0f} tokens/s, {duration(point.seconds_left)} left"
        )

    def finish(self, summary: RunSummary) -> None:
        """The summary's line."""
        self._write(summary.line)
