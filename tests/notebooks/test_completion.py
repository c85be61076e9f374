"""TAB and `?` in a real kernel: what its replies make of a cell's text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import IPython
import pytest

from tests.conftest import Saver
from tests.notebooks.kernel import PATIENCE, Kernel, kernel

CURSOR = "|"

WHOLE_CELL = pytest.mark.skipif(
    IPython.version_info < (8, 6), reason="this IPython shows a line and no cell"
)


@pytest.fixture(scope="module")
def running(saved_model: Saver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("kernel")
    (folder / "my mails.csv").write_text("body,reply\n")
    with kernel(str(folder)) as made:
        made.run("import torch; torch.set_num_threads(1)")
        made.run("%load_ext lora_magic")
        assert made.run(f"%lora load {saved_model()}").status == "ok"
        assert made.run("%lora attach formal\n%lora attach pirate").status == "ok"
        # Names that jedi would offer for the ends of the lines below.
        assert made.run("rank_one = 1\nrows = []\nthat = 2\npie = 3").status == "ok"
        yield made


def reply_to(running: Kernel, sent: str) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        reply = running.client.get_shell_msg(timeout=PATIENCE)
        if reply["parent_header"].get("msg_id") == sent:
            found: dict[str, Any] = reply["content"]
            return found
    raise AssertionError("no reply")


def completed(running: Kernel, typed: str) -> list[str]:
    """The cells that TAB can make of `typed`, where the cursor is marked; not the same cell."""
    at = typed.index(CURSOR)
    code = typed.replace(CURSOR, "")
    reply = reply_to(running, running.client.complete(code, at))
    start, end = reply["cursor_start"], reply["cursor_end"]
    made = [code[:start] + match + code[end:] for match in reply["matches"]]
    return [cell for cell in made if cell != code]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("%lora att|", ["%lora attach"]),
        ("x = %lora att|", ["x = %lora attach"]),
        ("α = 'ü'\n%lora att|", ["α = 'ü'\n%lora attach"]),
        ("a = 1\n%lora att|\nb = 2", ["a = 1\n%lora attach\nb = 2"]),
        ("for r in rows:\n    %lora swap pi|", ["for r in rows:\n    %lora swap pirate"]),
        ("x = %lora attach y --ra|", [f"x = %lora attach y --rank{e}" for e in ("", "-pattern")]),
        ("%lora attach y --init=p|", ["%lora attach y --init=pissa"]),
        ("%lora swap pirate=0.7,f|", ["%lora swap pirate=0.7,formal"]),
        ("%lora attach y --targets q_proj,v|", ["%lora attach y --targets q_proj,v_proj"]),
        ("%lora train pirate --data ro|", ["%lora train pirate --data rows"]),
        ("%lora train pirate --data my|", ['%lora train pirate --data "my mails.csv"']),
        ("%%lora_train pi|\na => b", ["%%lora_train pirate\na => b"]),
        ("%%lora_train pirate --lo|", ["%%lora_train pirate --lora-plus"]),
        ("%%lora compa|\nOne?", ["%%lora compare\nOne?"]),
        ("%lora_train fo|", ["%lora_train formal"]),
        ("%lora mer| pirate", ["%lora merge pirate"]),
        ("%lora ask What is th|", []),
        ("%lora ask How do I make apple |", []),
        ("x = %lora compare What's a pi|", []),
        ("%lora attach y --rank |", []),
    ],
)
def test_a_reply_makes_the_line_that_was_meant(
    running: Kernel, typed: str, expected: list[str]
) -> None:
    assert completed(running, typed) == expected


@WHOLE_CELL
@pytest.mark.parametrize("row", ["%lora att|", "that|", "What is th|"])
def test_rows_below_a_cell_magic_are_left_alone(running: Kernel, row: str) -> None:
    assert completed(running, f"%%lora_train pirate\n{row}") == []


def test_python_is_completed_as_ever(running: Kernel) -> None:
    assert completed(running, "rank_o|") == ["rank_one"]
    assert completed(running, "%lora status\nx = rank_o|") == ["%lora status\nx = rank_one"]


def test_names_are_those_of_this_moment(running: Kernel) -> None:
    assert completed(running, "%lora merge br|") == []
    running.run("%lora attach brief")
    assert completed(running, "%lora merge br|") == ["%lora merge brief"]
    running.run("%lora detach brief")
    assert completed(running, "%lora merge br|") == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("%lora?", "%lora VERB --help"),
        ("%lora??", "%lora --help"),
        ("%%lora?", "%lora VERB --help"),
        ("%lora_train?", "--batch-size"),
        ("%%lora_train?", "--batch-size"),
    ],
)
def test_a_question_mark_behind_the_magic_shows_help(running: Kernel, line: str, told: str) -> None:
    reply = reply_to(running, running.client.execute(line))
    assert reply["status"] == "ok"
    assert told in reply["payload"][0]["data"]["text/plain"]


def test_a_question_for_the_model_is_no_request_for_help(running: Kernel) -> None:
    reply = reply_to(running, running.client.execute("x = %lora ask --max-new-tokens 2 Is it so?"))
    assert (reply["status"], reply["payload"]) == ("ok", [])
    assert running.run("x.prompt").displays[0]["text/plain"] == "'Is it so?'"


def test_a_comment_above_a_cell_magic_leaves_its_rows_rows(running: Kernel) -> None:
    ran = running.run("# a note\n\n%%lora_train pirate --steps 1\nWhere? => Here.\nWho? => Me.")
    assert ran.status == "ok", ran.errors
    assert "2 rows" in ran.text
