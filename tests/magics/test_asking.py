"""`ask` in a cell: the answer grows in one place, a column is answered, ■ keeps what is done."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from IPython.utils.capture import capture_output

from lora_magic.errors import CommandError, Interrupted
from lora_magic.magics.progress import AnswerReporter
from lora_magic.magics.shell import KEPT_AS
from lora_magic.state.session import Session
from tests.magics.conftest import Screen, TestingShell

PERSON = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=True))
PROGRAM = SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False))
RESULT = SimpleNamespace(_repr_mimebundle_=lambda: {"text/plain": "done", "text/html": "<p>done"})


def test_an_answer_grows_in_one_place_and_the_result_replaces_it(shell: Any) -> None:
    now = 0.0
    live = AnswerReporter(PERSON, clock=lambda: now)
    with capture_output() as seen:
        for count in range(1, 101):
            now = count * 0.01
            live.answer("Hi?", "pirate", lambda count=count: "arr " * count)
        live.finish(RESULT)
        live.close()
    assert [output.update for output in seen.outputs] == [False] + [True] * 5
    assert len({output.transient["display_id"] for output in seen.outputs}) == 1
    assert "pirate" in seen.outputs[0].data["text/html"]
    assert "arr arr" in seen.outputs[2].data["text/plain"]
    assert seen.outputs[-1].data == {"text/plain": "done", "text/html": "<p>done"}


def test_an_answer_that_fails_leaves_nothing(shell: Any) -> None:
    live = AnswerReporter(PERSON)
    with capture_output() as seen:
        live.answer("Hi?", "base", lambda: "arr")
        live.close()
    assert seen.outputs[-1].data == {"text/plain": "", "text/html": ""}


def test_a_notebook_that_a_program_runs_gets_only_the_result(shell: Any) -> None:
    live = AnswerReporter(PROGRAM)
    with capture_output() as seen:
        live.answer("Hi?", "base", lambda: "arr")
        live.count(lambda: "1 of 2 rows answered")
        live.finish(RESULT)
        live.close()
    assert (seen.outputs, seen.stdout, live.finished) == ([], "", False)


def test_the_flags_give_the_session_objects(shell: Any, session: Any) -> None:
    shell.run("rows = [{'body': 'Hi'}]\nturns = [{'role': 'user', 'content': 'Hi'}]")
    shell.run("%lora ask --data rows --column body --temperature 0.5 --top-p 0.9")
    flags = {"data": [{"body": "Hi"}], "column": "body", "temperature": 0.5, "top_p": 0.9}
    assert session.last == ("ask", (), flags)
    shell.run("%lora ask --messages turns")
    assert session.last == ("ask", (), {"messages": [{"role": "user", "content": "Hi"}]})


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("%lora ask --data rows What?", r"--data and a prompt \('What\?'\) are given; keep one"),
        ("%lora ask --data rows --messages rows", "--data and --messages are given; keep one"),
        ("%%lora ask --data rows\nWhat?", "--data and a prompt below are given; keep one"),
        ("%lora ask --data rowz", "Did you mean 'rows'"),
        ("%lora ask --messages rowz", "Did you mean 'rows'"),
        ("%lora ask --column body", "the prompt is missing"),
    ],
)
def test_two_prompts_or_none_are_one_line(shell: Any, session: Any, cell: str, fault: str) -> None:
    shell.run("rows = []")
    with pytest.raises(CommandError, match=fault):
        shell.run(cell)
    assert session.calls == []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Any:
    session = Session()
    session.load("demo")
    yield session
    session.reset()


def interrupted_at(shell: TestingShell, demo: Session, cell: str, at: int) -> tuple[Any, str]:
    """Run a cell in which ■ is pressed at a forward pass; its outputs, and the error."""
    setattr(shell, KEPT_AS, demo)
    passes: list[int] = []

    def press(*_: Any) -> None:
        passes.append(1)
        if len(passes) == at:
            signal.raise_signal(signal.SIGINT)

    handle = demo.model.register_forward_hook(press)
    screen = Screen()
    with (
        patch.object(shell.display_pub, "publish", screen.publish),
        pytest.raises(Interrupted) as ended,
    ):
        shell.run_cell(cell).raise_error()
    handle.remove()
    assert len(passes) == at, "it did not go on after the token"
    assert demo.verify()
    return screen.outputs, str(ended.value)


def test_an_interrupted_answer_is_shown_so_far(shell: TestingShell, demo: Session) -> None:
    cell = "%lora ask How do I make apple pie?"
    (seen,), error = interrupted_at(shell, demo, cell, 4)
    assert "stopped by you" in seen["text/plain"]
    assert error == "%lora ask was stopped; what it has so far is shown above, and kept as _."
    assert shell.user_ns["_"].tokens == 4
    assert str(demo.ask("How do I make apple pie?")).startswith(shell.user_ns["_"].text)


def test_an_interrupted_column_keeps_the_complete_answers_also_when_assigned(
    shell: TestingShell, demo: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_magic.compare.bulk.BATCH_TOKENS", 1)
    shell.user_ns["rows"] = ["How do I make apple pie, please?", "Hi", "What does a fox eat?"]
    first = demo.ask(shell.user_ns["rows"][0])
    cell = "found = %lora ask --data rows"
    (seen,), _ = interrupted_at(shell, demo, cell, first.tokens + 2)  # type: ignore[union-attr]
    assert "1 of 3 rows answered · stopped by you" in seen["text/plain"]
    table = shell.run("_.to_frame()").result
    assert list(table.answer) == [str(first), None, None]
    assert list(table.finished) == [True, False, False]


def test_a_column_is_answered_in_a_cell(shell: TestingShell, demo: Session) -> None:
    setattr(shell, KEPT_AS, demo)
    shell.run("rows = ['Hi', '', 'What does a fox eat?']")
    shell.run("found = %lora ask --max-new-tokens 5 --data rows;")
    table = shell.user_ns["found"].to_frame()
    assert list(table.prompt) == ["Hi", "", "What does a fox eat?"]
    assert list(table.answer) == [
        str(demo.ask("Hi", max_new_tokens=5)),
        "",
        str(demo.ask("What does a fox eat?", max_new_tokens=5)),
    ]
