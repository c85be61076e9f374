"""A run shows in one place, not too often, and ends as something static."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from IPython.utils.capture import capture_output

from lora_magic.errors import TrainingStopped
from lora_magic.magics.live import LiveReporter, TerminalReporter, reporter_for

PLAN = SimpleNamespace(adapter="pirate", line="2 examples, 60 steps", steps=60)


class Summary:
    line = "trained pirate"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return {"text/plain": self.line, "text/html": "<b>static</b>"}


def point(step: int) -> SimpleNamespace:
    return SimpleNamespace(
        step=step, total=60, loss=3.0, elapsed=0.1, seconds_left=5.0, tokens_per_second=900.0
    )


def test_at_most_five_pictures_a_second_in_one_place(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    live = LiveReporter(clock=lambda: now)
    with capture_output() as seen:
        live.start(PLAN)
        for step in range(1, 101):
            now = step * 0.01
            live.step(point(step))
        live.finish(Summary())
    assert seen.stdout == PLAN.line + "\n"
    pictures = seen.outputs[:-1]
    assert len(pictures) == 5
    assert all("text/html" in picture.data for picture in pictures)
    assert [output.update for output in seen.outputs] == [False] + [True] * 5
    places = {output.transient["display_id"] for output in seen.outputs}
    assert len(places) == 1
    assert seen.outputs[-1].data["text/html"] == "<b>static</b>"


def test_a_run_that_breaks_leaves_a_still_line(shell: Any) -> None:
    live = LiveReporter(clock=lambda: 0.0)
    with capture_output() as seen:
        live.start(PLAN)
        live.step(point(1))
        live.step(point(2))
        live.close()
    last = seen.outputs[-1].data
    assert set(last) == {"text/plain"}
    assert "not finished: step 2 of 60" in last["text/plain"]


def test_a_finished_run_is_not_closed_again(shell: Any) -> None:
    live = LiveReporter()
    with capture_output() as seen:
        live.step(point(1))
        live.finish(Summary())
        live.close()
    assert seen.outputs[-1].data["text/html"] == "<b>static</b>"


def test_a_kernel_gets_a_display_and_a_terminal_gets_lines(shell: Any) -> None:
    assert isinstance(reporter_for(shell), TerminalReporter)
    assert isinstance(reporter_for(SimpleNamespace(kernel=object())), LiveReporter)


def _training(ends_in: BaseException | None) -> Any:
    def train(name: str, *, text: str, reporter: Any) -> Any:
        reporter.start(PLAN)
        reporter.step(point(1))
        reporter.finish(Summary())
        if ends_in is not None:
            raise ends_in
        return Summary()

    return train


@pytest.mark.parametrize("kernel", [False, True])
def test_a_run_shows_its_receipt_once(shell: Any, session: Any, kernel: bool) -> None:
    if kernel:
        shell.kernel = object()
    session.answers["train"] = _training(None)
    seen = shell.run("%%lora_train pirate\na => b")
    everything = seen.printed + "".join(seen.lines)
    assert everything.count("trained pirate") == 1
    assert seen.printed.splitlines()[0] == PLAN.line
    assert seen.result is None


def test_a_stopped_run_is_static_before_the_error_stops_the_cells(shell: Any, session: Any) -> None:
    shell.kernel = object()
    session.answers["train"] = _training(TrainingStopped("Stopped at step 1"))
    with capture_output() as seen:
        ran = shell.run_cell("%%lora_train pirate\na => b")
    assert isinstance(ran.error_in_exec, TrainingStopped)
    assert seen.outputs[-1].data["text/html"] == "<b>static</b>"


def test_a_silenced_run_has_no_reporter(shell: Any, session: Any) -> None:
    shell.run("%%lora_train pirate;\na => b")
    assert session.last[2]["reporter"] is None
