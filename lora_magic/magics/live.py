"""A training run followed in one place of the cell.

In a notebook a single display is rewritten, at most five times a second, and ends as the summary's
own static form; a terminal gets plain lines. Knows the plain values that a run reports, and
nothing of how it trains.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.display import display

from lora_magic.magics.show import say

if TYPE_CHECKING:
    from lora_magic.training.reporter import RunPlan, StepPoint
    from lora_magic.training.summary import RunSummary

PAUSE = 0.2  # seconds between two pictures of a run


def reporter_for(shell: Any) -> LiveReporter | TerminalReporter:
    """What follows a run here: a display where a kernel is, lines in a terminal."""
    in_notebook = getattr(shell, "kernel", None) is not None
    return LiveReporter() if in_notebook else TerminalReporter()


class LiveReporter:
    """Follows one run: `start`, a `step` each, `finish`.

    `close` comes after every run, and leaves a static line where one ended in an error or in an
    interrupt, without a summary.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.finished = False
        self._clock = clock
        self._handle: Any = None
        self._shown_at: float | None = None
        self._title = "Training"
        self._last: StepPoint | None = None
        self._losses: list[float] = []

    def start(self, plan: RunPlan) -> None:
        """Print the plan's line: what will be trained, and with which defaults."""
        self._title = f"Training {plan.adapter}"
        say(plan.line)

    def step(self, point: StepPoint) -> None:
        """Show a step, unless the last one shown is too fresh."""
        self._last = point
        self._losses.append(point.loss)
        now = self._clock()
        if self._shown_at is None or now - self._shown_at >= PAUSE:
            self._shown_at = now
            self._put({"text/html": self._page(point), "text/plain": line_of(point)})

    def finish(self, summary: RunSummary) -> None:
        """Replace the progress by the summary's static form."""
        bundle = summary._repr_mimebundle_()
        self._put(bundle[0] if isinstance(bundle, tuple) else bundle)
        self.finished = True

    def close(self) -> None:
        """Leave the last step as a still line, if the run did not come to its summary."""
        if not self.finished and self._last is not None:
            self._put({"text/plain": f"{self._title} was not finished: {line_of(self._last)}"})

    def _page(self, point: StepPoint) -> str:
        from lora_magic.views.training import progress_html

        return progress_html(
            title=self._title,
            line=f"{point.elapsed:.0f} s so far",
            losses=self._losses,
            step=point.step,
            total=point.total,
            seconds_left=point.seconds_left,
            tokens_per_second=point.tokens_per_second,
        )

    def _put(self, bundle: dict[str, Any]) -> None:
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class TerminalReporter:
    """Follows one run by lines of text, which need no end."""

    def __init__(self) -> None:
        from lora_magic.training.reporter import LineReporter

        self.finished = False
        self._lines = LineReporter(say)

    def start(self, plan: RunPlan) -> None:
        """The plan's line."""
        self._lines.start(plan)

    def step(self, point: StepPoint) -> None:
        """A line, if it is time for one."""
        self._lines.step(point)

    def finish(self, summary: RunSummary) -> None:
        """The summary's line, which is the receipt."""
        self._lines.finish(summary)
        self.finished = True

    def close(self) -> None:
        """Nothing: what is printed stands."""


def line_of(point: StepPoint) -> str:
    """A step in one line of plain text."""
    return f"step {point.step} of {point.total} · loss {point.loss:.3f} · {point.elapsed:.0f} s"
