"""`preview` and `data` on a session: nothing changes, and a run reads what was shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_magic.errors import CommandError, DataError, StateError
from lora_magic.state.session import Session
from lora_magic.training.reporter import LineReporter
from tests.tiny import tiny_model, tiny_tokenizer

ROWS = "Where? => Here.\nWhat? => That.\nWho? => She."


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.chdir(tmp_path)
    made = Session()
    made.use(tiny_model(), tiny_tokenizer(chat=True))
    made.attach("calm", rank=2)
    yield made
    made.reset()


def test_a_preview_is_of_what_a_run_trains_and_holds_out(session: Session) -> None:
    rows = [(f"Question {n}?", f"Answer {n}.") for n in range(60)]
    shown = session.preview("calm", rows, max_length=48)
    summary = session.train("calm", rows, max_length=48, steps=1)
    hashes = [hashlib.sha256(json.dumps([asked]).encode()).digest()[:6] for asked, _ in rows]
    below = sum(int.from_bytes(one, "big") < 2**48 / 10 for one in hashes)
    assert shown.held_out == summary.held_out == below
    assert shown.total - shown.held_out == summary.examples
    assert shown.end_token == summary.end_token
    assert shown.max_length == 48


def test_a_preview_needs_no_adapter_and_changes_nothing(session: Session) -> None:
    session.swap("base")
    before = session.status().line
    shown = session.preview(text=ROWS, rows=2)
    assert (shown.adapter, len(shown.rows), shown.total) == (None, 2, 3)
    assert session.status().line == before
    assert session.verify()
    with pytest.raises(CommandError, match="--rows 0: expected a whole number from 1 to 20"):
        session.preview(text=ROWS, rows=0)
    with pytest.raises(CommandError, match="preview: both text and data"):
        session.preview("calm", [("a", "b")], text=ROWS)


def test_a_preview_names_columns_that_are_not_used(session: Session) -> None:
    rows = [{"prompt": f"p{n}", "completion": "c", "ticket": n, "sent": "now"} for n in range(3)]
    assert "columns not used: ticket, sent" in repr(session.preview("calm", rows))


def test_kept_rows_are_read_by_their_name_until_reset(session: Session) -> None:
    assert session.data("greetings", ROWS).line == "rows: 3 pairs kept as greetings"
    assert session.preview("calm", "greetings").total == 3
    assert session.train("calm", "greetings", steps=1).examples == 3
    session.data("greetings", "A text.\n\nAnother.", format="text")
    assert session.preview(data="greetings").total == 2
    assert session.status().kept == ("greetings (2 texts)",)
    assert "rows      greetings (2 texts)" in repr(session.status())
    session.use(tiny_model(), tiny_tokenizer(), replace=True)
    assert session.preview(data="greetings").form == "plain"
    session.reset()
    assert dict(session.kept) == {}


def test_kept_rows_come_before_a_file_of_their_name(session: Session) -> None:
    Path("rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 7)
    Path("mine").write_text("a => b\n" * 7)
    session.data("mine", ROWS)
    assert session.preview(data="mine").total == 3
    assert session.preview(data="rows.jsonl").total == 7


def test_rows_that_cannot_be_read_keep_what_was_there(session: Session) -> None:
    session.data("mine", ROWS)
    with pytest.raises(DataError, match="line 2"):
        session.data("mine", "a => b\nno arrow")
    for name in ("two words", "class", "3rd", ""):
        with pytest.raises(CommandError, match="cannot name rows: expected a name"):
            session.data(name, ROWS)
    with pytest.raises(CommandError, match="rows kept as mine have no columns"):
        session.preview(data="mine", columns="a => b")
    assert session.preview(data="mine").total == 3


def test_rows_are_kept_before_there_is_a_base() -> None:
    made = Session()
    made.data("mine", ROWS)
    with pytest.raises(StateError, match="no base model"):
        made.preview(data="mine")
    assert "1 kept" in made.reset().line


def test_the_second_line_of_a_run_shows_a_row(session: Session) -> None:
    lines: list[str] = []
    session.train("calm", text=ROWS, steps=1, reporter=LineReporter(lines.append))
    assert "3 rows" in lines[0]
    assert lines[1].endswith("user↵Where?<|im_end|>↵<|im_start|>assistant↵⟦Here.<|im_end|>⟧")
    assert len(lines[1]) <= 120


def test_a_preview_tells_what_is_not_read_and_shows_the_rows_of_eval(session: Session) -> None:
    rows = [{"prompt": "a", "completion": "b", "id": 1}]
    other = [{"prompt": "c", "completion": "d", "page": 2}, {"prompt": "e", "completion": "f"}]
    shown = session.preview("calm", rows, eval=other)
    assert shown.notes == ("column not used: id · --eval: column not used: page",)
    assert "held out: 2 rows of --eval" in repr(shown)
    for bad, told in (
        ([("a", 3.5j)], "has the same prompt"),
        ([("q", "b\ud83d")], "row 1: character 2"),
    ):
        for verb in (session.preview, session.train):
            with pytest.raises(DataError, match=f"^--eval: .*{told}"):
                verb("calm", rows, eval=bad)


def test_other_sets_are_read_as_the_data_is_or_by_their_own_columns(session: Session) -> None:
    frame = [{"body": "a", "reply": "b"}]
    others = ([{"body": "c", "reply": "d"}], [("c", "d")], [{"prompt": "c", "completion": "d"}])
    ways: tuple[dict[str, Any], ...] = (
        {"columns": "body => reply"},
        {"map_": lambda row: (row["body"], row["reply"])},
    )
    for way in ways:
        for other in others:
            for flag in ("eval", "guard"):
                summary = session.train("calm", frame, steps=1, **way, **{flag: other})
                assert (summary.held_out or summary.guard.rows) == 1
        with pytest.raises(DataError, match=r"^--eval: "):
            session.train("calm", frame, steps=1, eval=[3], **way)


def test_a_system_message_with_half_a_character_is_refused_by_its_flag(session: Session) -> None:
    with pytest.raises(CommandError, match=r"^--system: character 4 is half of one \(U\+D83D\)"):
        session.preview(text=ROWS, system="Be \ud83d")


def test_kept_rows_are_asked_by_their_prompts(session: Session) -> None:
    session.data("mine", ROWS)
    answers = session.ask(data="mine", max_new_tokens=2)
    assert [answer.prompt for answer in answers.rows] == ["Where?", "What?", "Who?"]
    session.data("texts", "One text.\n\nAnother.")
    with pytest.raises(CommandError, match=r"texts: no prompt in rows 1, 3"):
        session.ask(data="texts")
    with pytest.raises(CommandError, match="--column x: the rows kept as mine have no columns"):
        session.ask(data="mine", column="x")
