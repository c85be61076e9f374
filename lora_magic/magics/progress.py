"""Displays the progress of a training run, or of an answer, in one output of the cell.

In a notebook one display is updated, at most five times a second and for at most 1 % of the run's
time, and the result finally replaces it; a terminal, or a notebook that a program runs, gets plain
lines. Knows the values that a run reports; does not know how it trains.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from IPython.display import display

from lora_magic.compare.comparison import Unfinished
from lora_magic.magics.show import NOTHING, Announcement, has_person, say
from lora_magic.printable import one_line
from lora_magic.training.reporter import LineReporter, rank

if TYPE_CHECKING:
    from lora_magic.training.reporter import Result, RunPlan, StepPoint
    from lora_magic.views.controls.outputs import StopButton

PAUSE = 0.2  # the least time between two updates, in seconds
# The share of the run's time that updates may take, with a margin below a hundredth.
SHARE = 0.009
PICTURES = "lora_magic.views.training"
ANSWERS = "lora_magic.views.comparison"


def reporter_for(shell: Any) -> LiveReporter | TerminalReporter:
    """A live display if a user sees it, otherwise lines of text."""
    return LiveReporter(shell) if has_person(shell) else TerminalReporter()


class LiveReporter:
    """Shows one run: `start`, `step` after each step, `finish`.

    `close` is called after every run; if an error or an interrupt ended it, a static line remains.
    The button, if there is one, sets `stop`.
    """

    def __init__(self, shell: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self.finished = False
        self.stop = threading.Event()
        self._shell, self._clock = shell, clock
        self._handle: Any = None
        self._next = 0.0
        self._title, self._line, self._sample = "Training", "", ""
        self._last: StepPoint | None = None
        self._points: dict[str, StepPoint] = {}
        self._losses: dict[str, list[float]] = {}
        self._button: StopButton | None = None
        self._button_handle: Any = None

    def start(self, plan: RunPlan) -> None:
        """Show the plan: what will be trained, with which defaults, and one row as it is read.

        It stays above the progress; the summary, which repeats it, replaces both.
        """
        self._title = f"Training {plan.adapter}"
        self._points, self._losses = {}, {"": list(plan.losses)} if plan.losses else {}
        self._line = plan.line.removeprefix(f"{plan.adapter}: ")
        self._sample = plan.sample
        self._put({"text/plain": "\n".join(map(one_line, filter(None, (plan.line, plan.sample))))})
        # Loaded before the run: within the run its import would count as display time, and delay
        # the second picture by seconds.
        import_module(PICTURES)
        if supports_subshells(self._shell):
            from lora_magic.views.controls.outputs import StopButton

            self._button = StopButton(self.stop.set)

    def note(self, line: str) -> None:
        """Show it with the next step, below the plan's line; at once if nothing is shown yet."""
        if self._handle is None:
            self._put({"text/plain": one_line(line)})
        self._line += f" · {line}"

    def step(self, point: StepPoint) -> None:
        """Show a step, unless the last update was too recent, or took too long.

        Of several adapters the best is shown, and a line for each.
        """
        self._last = self._points[point.adapter] = point
        self._losses.setdefault(point.adapter, []).append(point.loss)
        began = self._clock()
        if began < self._next:
            return
        self._offer_button()
        best = min(self._points.values(), key=rank)
        self._put({"text/html": self._page(best), "text/plain": line_of(best)})
        self._next = began + max(PAUSE, (self._clock() - began) / SHARE)

    def arms(self, sweep: Callable[[], Any]) -> None:
        """Show the arms of a sweep, unless the last update was too recent, or took too long."""
        began = self._clock()
        if began < self._next:
            return
        self._offer_button()
        from lora_magic.views.sweep import STOP, progress_html

        found = sweep()
        stop = STOP if self._button_handle is None else ""
        html = progress_html(found, self._line, stop)
        self._put({"text/html": html, "text/plain": one_line(found.line)})
        self._next = began + max(PAUSE, (self._clock() - began) / SHARE)

    def finish(self, summary: Result) -> None:
        """Replace the progress with the summary's static form."""
        bundle = summary._repr_mimebundle_()
        self._put(bundle[0] if isinstance(bundle, tuple) else bundle)
        self.finished = True

    def close(self) -> None:
        """Remove the button; leave the last step as a line if there is no summary."""
        if not self.finished and self._last is not None:
            self._put({"text/plain": f"{self._title} did not finish: {line_of(self._last)}"})
        if self._button_handle is not None:
            self._button_handle.update(NOTHING, raw=True)
        if self._button is not None:
            self._button.close()

    def _offer_button(self) -> None:
        """Show the button only once a front end can send its clicks while a cell is busy."""
        if self._button and self._button_handle is None and has_subshell(self._shell):
            self._button_handle = display(self._button.output, raw=True, display_id=True)

    def _page(self, point: StepPoint) -> str:
        from lora_magic.views.training import STOP, progress_html

        return progress_html(
            title=self._title,
            line=self._line,
            sample=self._sample,
            elapsed=point.elapsed,
            losses=self._losses[point.adapter],
            step=point.step,
            total=point.total,
            seconds_left=point.seconds_left,
            tokens_per_second=point.tokens_per_second,
            memory=point.memory,
            workers=point.workers,
            held_out=point.held_out,
            stop=STOP if self._button_handle is None else "",
            others=list(map(line_of, self._points.values())) if point.adapter else (),
            inside=point.inside,
        )

    def _put(self, bundle: dict[str, Any]) -> None:
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class AnswerReporter(Announcement):
    """Shows answers while they are generated, or how many of a column's rows are answered.

    Where a user sees it, `finish` puts the result in place of what was shown, so that the notebook
    keeps only that. Elsewhere an answer is not shown before it is complete.
    """

    def __init__(self, shell: Any, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(shell)
        self._live, self._clock, self._next = has_person(shell), clock, 0.0

    def answer(self, prompt: str, adapter: str, text: Callable[[], str]) -> None:
        """Show the text so far, unless the last update was too recent."""
        self.answers(lambda: Unfinished(((prompt, ((adapter, text()),)),), 1))

    def answers(self, written: Callable[[], Unfinished]) -> None:
        """Show the texts so far side by side, unless the last update was too recent.

        The first page is shown as soon as there is a text.
        """
        if not self._live:
            return
        # Loaded before the first page is measured: its import would delay the second by seconds.
        view = import_module(ANSWERS)

        def page() -> bool:
            found = written()
            if self._handle is None and not any(
                text for _, panes in found.begun for _, text in panes
            ):
                return False
            self._put(view.progress_bundle(found.begun, found.total))
            return True

        self._paced(page)

    def count(self, line: Callable[[], str]) -> None:
        """Show how many rows are answered, unless the last update was too recent."""
        self._paced(lambda: self.tell(line()))

    def finish(self, value: Any) -> None:
        """Put the result in place of what was shown; else the caller displays it.

        A blind comparison has no result yet: it displays itself.
        """
        if self._handle is not None and hasattr(value, "_repr_mimebundle_"):
            self._handle.update(value._repr_mimebundle_(), raw=True)
            self.finished = True

    def close(self) -> None:
        """Remove what is shown, unless it is the result."""
        if not self.finished:
            super().close()

    def _paced(self, update: Callable[[], object]) -> None:
        """Call an update that is due. The next one is due later, unless it returns False."""
        began = self._clock()
        if began >= self._next and update() is not False:
            self._next = began + max(PAUSE, (self._clock() - began) / SHARE)


def supports_subshells(shell: Any) -> bool:
    """Can this kernel receive messages while a cell is busy? From ipykernel 7 on, in subshells."""
    return bool(getattr(shell.kernel, "_supports_kernel_subshells", False))


def has_subshell(shell: Any) -> bool:
    """Has a front end made a subshell? JupyterLab does, for its widgets, from 4.4 on."""
    manager = getattr(getattr(shell.kernel, "shell_channel_thread", None), "_manager", None)
    return manager is not None and bool(manager.list_subshell())


class TerminalReporter(LineReporter):
    """Shows one run as lines of text."""

    def __init__(self) -> None:
        super().__init__(say)
        self.finished = False

    def finish(self, summary: Result) -> None:
        """Display the summary: its line, or in a notebook that a program runs its static form."""
        display(summary)
        self.finished = True

    def close(self) -> None:
        """Does nothing: what was printed stays."""


def line_of(point: StepPoint) -> str:
    """A step in one line of plain text."""
    held_out = f" · held out {point.held_out[-1][1]:.3f}" if point.held_out else ""
    if point.adapter:
        return (
            f"{point.adapter}: step {point.step} of {point.total} · loss {point.loss:.3f}{held_out}"
        )
    return f"step {point.step} of {point.total} · loss {point.loss:.3f} · {point.elapsed:.0f} s"
