"""`compare` in a cell: all panes grow in one place, the result replaces them, ■ keeps them."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from IPython.utils.capture import capture_output

from lora_magic.compare.comparison import Unfinished
from lora_magic.errors import CommandError, Interrupted, PromptError
from lora_magic.magics.progress import AnswerReporter
from lora_magic.magics.shell import KEPT_AS
from lora_magic.state.session import Session
from tests.conftest import Saver, perturb
from tests.magics.conftest import TestingShell

PERSON = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True))
EMPTY = {"text/html": "", "text/plain": ""}
COMPARE = "%lora compare --max-new-tokens 6 Hello there"


class Screen:
    """What a notebook shows in the end, by display, and how often each was changed."""

    def __init__(self) -> None:
        self.shown: list[list[dict[str, Any]]] = []
        self._places: dict[str, int] = {}

    def publish(self, data: dict[str, Any], *_: Any, **more: Any) -> None:
        name = (more.get("transient") or {}).get("display_id", "")
        if more.get("update"):
            self.shown[self._places[name]].append(data)
            return
        if name:
            self._places[name] = len(self.shown)
        self.shown.append([data])

    @property
    def answers(self) -> list[dict[str, Any]]:
        """The last form of each display that has answers, finished or not."""
        last = [forms[-1] for forms in self.shown]
        return [data for data in last if "Answer of" in str(data.get("text/html"))]


@pytest.fixture
def ready(saved_model: Saver) -> Session:
    """A base and two adapters that change something."""
    session = Session()
    session.load(str(saved_model()))
    for name in ("one", "two"):
        session.attach(name, rank=2)
        perturb(session, name)
    return session


@pytest.fixture
def person(shell: TestingShell, ready: Session, monkeypatch: pytest.MonkeyPatch) -> TestingShell:
    """A notebook with a person at it, in which every token is shown."""
    shell.kernel = SimpleNamespace(_allow_stdin=True)  # type: ignore[attr-defined]
    setattr(shell, KEPT_AS, ready)
    monkeypatch.setattr("lora_magic.magics.progress.PAUSE", 0)
    monkeypatch.setattr("lora_magic.magics.progress.SHARE", 1e9)
    return shell


def run(shell: TestingShell, cell: str) -> tuple[Screen, Any]:
    screen = Screen()
    with (
        patch.object(shell.display_pub, "publish", screen.publish),
        patch.object(shell.displayhook, "write_format_data", screen.publish),
        patch.object(shell.displayhook, "write_output_prompt", lambda: None),
    ):
        ran = shell.run_cell(cell, store_history=True)
    return screen, ran


def is_growing(forms: list[dict[str, Any]]) -> bool:
    return all("in progress" in form["text/html"] for form in forms)


def test_all_panes_grow_in_one_display_and_the_result_replaces_them(
    person: TestingShell, ready: Session
) -> None:
    screen, ran = run(person, COMPARE)
    ran.raise_error()
    *growing, last = screen.shown[0]
    assert len(growing) >= 5
    assert is_growing(growing)
    for form in growing:
        names = re.findall(r'aria-label="Answer of (\w+), in progress"', form["text/html"])
        assert names == ["base", "one", "two"]
    sizes = [len(form["text/plain"]) for form in growing]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    assert screen.answers == [last]
    assert "in progress" not in last["text/html"]
    wanted = ready.compare("Hello there", max_new_tokens=6)
    assert person.user_ns["_"].to_frame()["text"].tolist() == wanted.to_frame()["text"].tolist()


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        (f"c = {COMPARE}", 0),
        (f"{COMPARE};", 0),
        ("%%lora compare --out c --max-new-tokens 6\nHello there", 0),
        (f"{COMPARE}\n1", 1),
        (f"for _ in range(3):\n    {COMPARE}", 3),
    ],
    ids=["assigned", "semicolon", "out", "in the middle", "in a loop"],
)
def test_a_cell_keeps_one_result_for_each_that_it_displays(
    person: TestingShell, cell: str, kept: int
) -> None:
    screen, ran = run(person, cell)
    ran.raise_error()
    assert len(screen.answers) == kept
    assert not any("in progress" in shown["text/html"] for shown in screen.answers)
    for forms in screen.shown:
        if forms[-1] not in screen.answers and "Answer of" in str(forms[0].get("text/html")):
            assert forms[-1] == EMPTY
    assert bool(screen.shown) is not cell.endswith(";")


def test_a_program_that_runs_the_notebook_sees_only_the_result(person: TestingShell) -> None:
    person.kernel._allow_stdin = False  # type: ignore[attr-defined]
    screen, ran = run(person, COMPARE)
    ran.raise_error()
    assert [len(forms) for forms in screen.shown] == [1]
    assert "in progress" not in str(screen.shown)


@pytest.mark.parametrize("cell", [COMPARE, f"c = {COMPARE}"], ids=["last", "assigned"])
def test_a_stopped_comparison_keeps_what_was_written_once(
    person: TestingShell, ready: Session, cell: str
) -> None:
    passes: list[int] = []

    def press(*_: Any) -> None:
        passes.append(1)
        if len(passes) == 4:
            signal.raise_signal(signal.SIGINT)

    handle = ready.model.register_forward_hook(press)
    screen, ran = run(person, cell)
    handle.remove()
    assert isinstance(ran.error_in_exec, Interrupted)
    assert "shown above, and kept as _" in str(ran.error_in_exec)
    (seen,) = screen.answers
    assert "stopped by you" in seen["text/html"].replace("\u00a0", " ")
    assert "in progress" not in seen["text/html"]
    assert [pane.tokens for pane in person.user_ns["_"].panes] == [3, 3, 3]
    whole = ready.compare("Hello there", max_new_tokens=6)
    for now, later in zip(person.user_ns["_"].panes, whole.panes, strict=True):
        assert now.text
        assert later.text.startswith(now.text)


def test_a_comparison_that_fails_leaves_no_answers(person: TestingShell, ready: Session) -> None:
    steps: list[int] = []

    def fail(*_: Any) -> None:
        steps.append(1)
        if len(steps) == 3:
            raise PromptError("broken")

    handle = ready.model.register_forward_hook(fail)
    screen, ran = run(person, COMPARE)
    handle.remove()
    assert isinstance(ran.error_in_exec, PromptError)
    assert screen.answers == []
    assert screen.shown[0][-1] == EMPTY


def test_answers_one_by_one_wait_their_turn_and_finished_ones_stay_whole(ready: Session) -> None:
    ready.attach("three", method="ia3")
    seen: list[Unfinished] = []

    def watch(written: Callable[[], Unfinished]) -> bool:
        tokens.append(1)
        if len(tokens) % 4 == 0:
            seen.append(written())
        return False

    tokens: list[int] = []
    try:
        found = ready.compare("Hi", "Hello", adapters="one,three", max_new_tokens=7, watch=watch)
    finally:
        ready.detach("three")
    assert {record.total for record in seen} == {2}
    whole = {(pane.prompt, pane.adapter): pane.text for pane in found.panes}
    names = ("base", "one", "three")
    for record in seen:
        shown = [(prompt, *pane) for prompt, panes in record.begun for pane in panes]
        assert [name for _, name, _ in shown] == [*names] * len(record.begun)
        begun = [one for one in shown if one[2] is not None]
        for prompt, name, text in begun:
            assert whole[prompt, name].startswith(text)
        for prompt, name, text in begun[:-1]:
            assert text == whole[prompt, name], "an answer that has ended is shown whole"
    assert seen[0].begun[0][1][2] == ("three", None)


def test_the_first_text_is_not_delayed_and_updates_take_a_hundredth_of_the_time(
    shell: Any,
) -> None:
    now = 0.0
    live = AnswerReporter(PERSON, clock=lambda: now)
    shown: list[float] = []
    put = live._put

    def slow(bundle: dict[str, Any]) -> None:
        nonlocal now
        shown.append(now)
        now += 0.02
        put(bundle)

    live._put = slow  # type: ignore[method-assign]
    with capture_output():
        for token in range(1, 2001):
            now += 0.01
            text = "" if token < 3 else "word " * token
            live.answers(lambda text=text: Unfinished((("Hi", (("base", text),)),), 1))
    assert shown[0] == pytest.approx(0.03), "the first token with a text"
    assert len(shown) >= 5
    assert 0.02 * len(shown) <= 0.01 * now + 0.02


def test_the_prompts_of_data_are_compared_in_a_cell(person: TestingShell, ready: Session) -> None:
    person.user_ns["rows"] = ["Hi", "", "Hello", "Hi", "Who?"]
    screen, ran = run(person, "%lora compare --max-new-tokens 3 --scores --data rows")
    ran.raise_error()
    growing = screen.shown[0][:-1]
    counts = [re.findall(r"\d of \d prompts", form["text/html"])[0] for form in growing]
    assert list(dict.fromkeys(counts)) == ["1 of 3 prompts", "2 of 3 prompts", "3 of 3 prompts"]
    found = person.user_ns["_"]
    wanted: Any = ready.compare("Hi", "Hello", "Who?", max_new_tokens=3)
    assert found.to_frame()["text"].tolist() == wanted.to_frame()["text"].tolist()
    assert "row 2: no prompt, so not answered" in screen.shown[0][-1]["text/plain"]
    assert found.scores.summary()["perplexity"].notna().all()
    with pytest.raises(CommandError, match="--data and a prompt"):
        run(person, "%lora compare --data rows Hi")[1].raise_error()


def test_controls_below_a_comparison_of_data_begin_with_a_prompt(
    person: TestingShell, ready: Session
) -> None:
    person.user_ns["rows"] = ["Hi"]
    _, ran = run(person, "%lora compare --max-new-tokens 3 --scores --data rows")
    ran.raise_error()
    (_, (panel, *_)) = next(iter(person.__dict__["_lora_magic_panels"].values()))
    asked = panel._compare.request
    assert asked.prompt
    assert (asked.scores, asked.max_new_tokens) == (True, 3)
