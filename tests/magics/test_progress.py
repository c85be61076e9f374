"""A run shows in one place, not too often, and ends as something static."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.utils.capture import capture_output

from lora_magic.errors import TrainingStopped
from lora_magic.magics.progress import LiveReporter, TerminalReporter, reporter_for
from lora_magic.training.reporter import RunPlan

WIDGET = "application/vnd.jupyter.widget-view+json"
PLAN = RunPlan("pirate", "2 examples, 60 steps", "row 1 as it is read: A fox")


#: A kernel with a person before it; one whose notebook a program runs; a kernel without subshells.
KERNEL = SimpleNamespace(_allow_stdin=True)
UNATTENDED = SimpleNamespace(_allow_stdin=False)
SHELL = SimpleNamespace(kernel=KERNEL)


class Subshells:
    """A kernel that can make subshells, and those that a front end has made."""

    _allow_stdin = True
    _supports_kernel_subshells = True

    def __init__(self) -> None:
        self.made: list[str] = []
        manager = SimpleNamespace(list_subshell=lambda: self.made)
        self.shell_channel_thread = SimpleNamespace(_manager=manager)


class Summary:
    line = "trained pirate"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        return {"text/plain": self.line, "text/html": "<b>static</b>"}


def point(step: int) -> SimpleNamespace:
    return SimpleNamespace(
        step=step,
        total=60,
        loss=3.0,
        elapsed=0.1,
        seconds_left=5.0,
        tokens_per_second=900.0,
        memory=512_000_000,
        workers=1,
        held_out=((0, 2.5),),
        adapter="",
        inside=None,
    )


def test_at_most_five_pictures_a_second_in_one_place(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    live = LiveReporter(SHELL, clock=lambda: now)
    with capture_output() as seen:
        live.start(PLAN)
        for step in range(1, 101):
            now = step * 0.01
            live.step(point(step))
        live.finish(Summary())
    assert seen.stdout == ""
    assert seen.outputs[0].data == {"text/plain": f"{PLAN.line}\n{PLAN.sample}"}
    pictures = seen.outputs[1:-1]
    assert len(pictures) == 5
    assert all("text/html" in picture.data for picture in pictures)
    assert [output.update for output in seen.outputs] == [False] + [True] * 6
    places = {output.transient["display_id"] for output in seen.outputs}
    assert len(places) == 1
    assert seen.outputs[-1].data["text/html"] == "<b>static</b>"


def test_of_several_adapters_the_best_is_shown_and_a_line_for_each(shell: Any) -> None:
    now = 0.0
    live = LiveReporter(SHELL, clock=lambda: now)
    with capture_output() as seen:
        live.start(PLAN)
        for when, name, loss in ((1.0, "high", 3.0), (2.0, "low", 2.0), (3.0, "high", 2.5)):
            now, one = when, point(7)
            one.adapter, one.loss, one.held_out = name, loss, ((0, 9.0), (7, loss))
            live.step(one)
    page = seen.outputs[-1].data
    assert page["text/plain"] == "low: step 7 of 60 · loss 2.000 · held out 2.000"
    for line in ("high: step 7 of 60 · loss 2.500 · held out 2.500", page["text/plain"]):
        assert line in page["text/html"]


def test_a_run_that_breaks_leaves_a_still_line(shell: Any) -> None:
    live = LiveReporter(SHELL, clock=lambda: 0.0)
    with capture_output() as seen:
        live.start(PLAN)
        live.step(point(1))
        live.step(point(2))
        live.close()
    last = seen.outputs[-1].data
    assert set(last) == {"text/plain"}
    assert "did not finish: step 2 of 60" in last["text/plain"]


def test_a_finished_run_is_not_closed_again(shell: Any) -> None:
    live = LiveReporter(SHELL)
    with capture_output() as seen:
        live.step(point(1))
        live.finish(Summary())
        live.close()
    assert seen.outputs[-1].data["text/html"] == "<b>static</b>"


def test_a_kernel_gets_a_display_and_a_terminal_gets_lines(shell: Any) -> None:
    assert isinstance(reporter_for(shell), TerminalReporter)
    assert isinstance(reporter_for(SHELL), LiveReporter)
    assert isinstance(reporter_for(SimpleNamespace(kernel=UNATTENDED)), TerminalReporter)


def _training(ends_in: BaseException | None) -> Any:
    def train(name: str, *, text: str, reporter: Any) -> Any:
        reporter.start(PLAN)
        reporter.step(point(1))
        reporter.finish(Summary())
        if ends_in is not None:
            raise ends_in
        return Summary()

    return train


@pytest.mark.parametrize("kernel", [None, KERNEL, UNATTENDED])
def test_a_run_shows_its_receipt_once(shell: Any, session: Any, kernel: Any) -> None:
    if kernel:
        shell.kernel = kernel
    session.answers["train"] = _training(None)
    seen = shell.run("%%lora_train pirate\na => b")
    everything = seen.printed + "".join(seen.lines)
    assert everything.count("trained pirate") == 1
    first = "\n".join([*seen.printed.splitlines(), *seen.lines]).split("\n")
    assert first[:2] == [PLAN.line, PLAN.sample]
    assert seen.result is None


def test_a_stopped_run_is_static_before_the_error_stops_the_cells(shell: Any, session: Any) -> None:
    shell.kernel = KERNEL
    session.answers["train"] = _training(TrainingStopped("Stopped at step 1"))
    with capture_output() as seen:
        ran = shell.run_cell("%%lora_train pirate\na => b")
    assert isinstance(ran.error_in_exec, TrainingStopped)
    assert seen.outputs[-1].data["text/html"] == "<b>static</b>"


def test_a_silenced_run_has_no_reporter(shell: Any, session: Any) -> None:
    shell.run("%%lora_train pirate;\na => b")
    assert session.last[2]["reporter"] is None


def test_pictures_that_are_slow_to_make_take_a_hundredth_of_the_run(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, shown = [0.0], 0
    live = LiveReporter(SHELL, clock=lambda: now[0])

    def slow(bundle: Any) -> None:
        nonlocal shown
        shown += 1
        now[0] += 0.05

    monkeypatch.setattr(live, "_put", slow)
    live.start(PLAN)
    for step in range(1, 6001):
        now[0] += 0.01
        live.step(point(step))
    spent = 0.05 * shown
    assert shown >= 10
    # The first picture comes at once, before there is a run to take a share of.
    assert (spent - 0.05) / now[0] <= 0.01


def test_what_pictures_need_is_loaded_before_the_first_step() -> None:
    """In a fresh interpreter, since these tests have loaded it long ago."""
    code = """
import sys
from tests.magics.test_progress import PLAN, SHELL, LiveReporter, point
live = LiveReporter(SHELL)
live.start(PLAN)
before = set(sys.modules)
live.step(point(1))
print(*(set(sys.modules) - before))
"""
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    loaded = ran.stdout.splitlines()[-1].split()
    assert [name for name in loaded if name.startswith("lora_magic")] == []


def test_where_no_click_is_heard_there_is_no_button(shell: Any) -> None:
    kernel = Subshells()
    for quiet in (KERNEL, kernel):
        live = LiveReporter(SimpleNamespace(kernel=quiet), clock=lambda: 0.0)
        with capture_output() as seen:
            live.start(PLAN)
            live.step(point(1))
            live.finish(Summary())
            live.close()
        assert not any(WIDGET in output.data for output in seen.outputs)
        assert "press ■ to stop after this step" in seen.outputs[1].data["text/html"]


def test_a_button_comes_once_a_front_end_can_send_its_click_and_goes_with_the_run(
    shell: Any,
) -> None:
    kernel, now = Subshells(), [0.0]
    live = LiveReporter(SimpleNamespace(kernel=kernel), clock=lambda: now[0])
    with capture_output() as seen:
        live.start(PLAN)
        live.step(point(1))
        kernel.made.append("one")
        for step in (2, 3):
            now[0] += 1.0
            live.step(point(step))
        button = live._button
        assert button is not None
        assert not live.stop.is_set()
        button.button.click()
        assert live.stop.is_set()
        live.finish(Summary())
        live.close()
    widgets = [output for output in seen.outputs if WIDGET in output.data]
    assert len(widgets) == 1
    assert "press ■" not in seen.outputs[4].data["text/html"]
    # What stays in the cell: the static form, and an output that draws nothing in the button's
    # place.
    last = {output.transient["display_id"]: output.data for output in seen.outputs}
    assert [data["text/html"] for data in last.values()] == ["<b>static</b>", ""]


def test_a_picture_tells_memory_and_the_held_out_loss(shell: Any) -> None:
    live = LiveReporter(SHELL, clock=lambda: 0.0)
    with capture_output() as seen:
        live.start(PLAN)
        live.step(point(1))
    page = seen.outputs[1].data["text/html"]
    assert "memory 512 MB at the peak" in page
    assert "held out 2.50" in page


def test_the_memory_of_several_workers_is_that_of_each(shell: Any) -> None:
    live, one = LiveReporter(SHELL, clock=lambda: 0.0), point(1)
    one.workers = 2
    with capture_output() as seen:
        live.start(PLAN)
        live.step(one)
    assert "memory 512 MB per worker at the peak" in seen.outputs[1].data["text/html"]
