"""A person's function from a row to what can be read, rows at fault, and what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lora_magic.data.row import Message, Row
from lora_magic.data.rows import read_text
from lora_magic.data.sources import read_data
from lora_magic.errors import CommandError, DataError

ROWS = [{"q": "one", "a": "1", "ok": True}, {"q": "two", "a": "2", "ok": False}]
TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
USER, ANSWER = Message("user", "hi"), Message("assistant", "yo")
LINES = '{"prompt": "q", "completion": "a"}\n{"prompt": "r", "completion": "b"}'


def mapped(function: Any, data: Any = ROWS, **flags: Any) -> Any:
    return read_data(data, map_=function, **flags)


@pytest.mark.parametrize(
    ("made", "row"),
    [
        (("q", "a"), Row("q", "a", line=1)),
        (["q", 4], Row("q", "4", line=1)),
        ("a => text", Row(None, "a => text", line=1)),
        ({"prompt": "q", "completion": "a"}, Row("q", "a", line=1)),
        ({"instruction": "q", "input": "x", "output": "a"}, Row("q\nx", "a", line=1)),
        ({"prompt": "q", "chosen": "a", "rejected": "b"}, Row("q", "a", line=1, rejected="b")),
        (TURNS, Row(None, "yo", (USER, ANSWER), 1)),
        ({"conversations": TURNS}, Row(None, "yo", (USER, ANSWER), 1)),
        (Row("q", "a", line=9), Row("q", "a", line=9)),
    ],
)  # fmt: skip
def test_a_function_may_return_anything_that_can_be_read(made: Any, row: Row) -> None:
    assert tuple(mapped(lambda record: made, ROWS[:1])) == (row,)


def test_a_function_gets_each_row_of_every_source_as_a_dict_of_its_own(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS)
    frame.to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, ROWS)))

    def to_pair(record: dict[str, Any]) -> tuple[str, str]:
        assert type(record) is dict
        return record.pop("q"), record.pop("a")

    for data in (ROWS, frame, tmp_path / "a.csv", tmp_path / "a.jsonl"):
        assert [(row.prompt, row.completion) for row in mapped(to_pair, data)] == [
            ("one", "1"),
            ("two", "2"),
        ]
    assert ROWS[0] == {"q": "one", "a": "1", "ok": True}


def test_an_item_without_columns_is_given_as_it_is() -> None:
    rows = mapped(lambda item: (item[1], item[0]), [("a", "b"), ("c", "d")])
    assert [(row.prompt, row.completion) for row in rows] == [("b", "a"), ("d", "c")]


def test_none_leaves_a_row_out_and_they_are_counted() -> None:
    rows = mapped(lambda r: (r["q"], r["a"]) if r["ok"] else None)
    assert [row.line for row in rows] == [1]
    assert "1 row left out by --map" in rows.note
    with pytest.raises(DataError, match="left out all 2 rows"):
        mapped(lambda r: None)


def test_every_failure_of_a_function_is_in_one_error_with_its_row_and_its_own_message() -> None:
    def to_pair(record: dict[str, Any]) -> tuple[str, str]:
        if not record["ok"]:
            raise ValueError("no answer for " + record["q"])
        return record["q"], record["answer"]

    with pytest.raises(DataError) as caught:
        mapped(to_pair)
    told = str(caught.value)
    assert "row 1: --map failed with KeyError: 'answer'" in told
    assert "row 2: --map failed with ValueError: no answer for two" in told
    rows = mapped(lambda r: (r["q"], "a" if r["ok"] else 1 / 0), skip_bad=True)
    assert [row.line for row in rows] == [1]
    assert "row 2: --map failed with ZeroDivisionError: division by zero" in rows.note


def test_a_stop_of_the_kernel_in_a_function_is_not_taken_for_a_row_at_fault() -> None:
    def stop(record: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mapped(stop, skip_bad=True)


@pytest.mark.parametrize("made", [3, ("a",), ("a", "b", "c"), {"x": 1}, [1], b"a", ("a", ["b"])])
def test_what_a_function_must_not_return_is_told_by_row(made: Any) -> None:
    with pytest.raises(DataError, match="row 1: --map returned what cannot be read: "):
        mapped(lambda record: made)


def test_a_classifiers_function_returns_a_text_and_its_label() -> None:
    rows = mapped(lambda r: (r["q"], r["ok"]), labelled=True, labels=("bad", "good"))
    assert [(row.prompt, row.completion) for row in rows] == [("one", "good"), ("two", "bad")]
    with pytest.raises(DataError, match="row 1: --map returned"):
        mapped(lambda r: r["q"], labelled=True)


def test_flags_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="omit --columns"):
        mapped(str, columns="q => a")
    with pytest.raises(CommandError, match="--map: expected a function, got str"):
        mapped("to_pair")
    (tmp_path / "a.txt").write_text("a => b")
    with pytest.raises(DataError, match=r"--map: a\.txt is text"):
        mapped(str, tmp_path / "a.txt")


# Rows at fault, in every kind of source

BAD = {
    "half an emoji": ("nice \ud83d", r"character 6 of the prompt is half of one.*U\+D83D"),
    "half an emoji at the start": ("\ude00 nice", "character 1 of the prompt"),
    "NUL": ("a\0b", r"character 2 of the prompt is NUL \(U\+0000\)"),
    "a list": (["a"], "prompt is a list, not text"),
    "bytes": (b"a", "prompt is a bytes, not text"),
    "a dict": ({"a": 1}, "prompt is a dict, not text"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_row_at_fault_is_named_and_can_be_skipped(fault: str) -> None:
    cell, told = BAD[fault]
    rows = [{"prompt": "q", "completion": "a"}, {"prompt": cell, "completion": "a"}]
    with pytest.raises(DataError, match=rf"row 2: {told}.*add --skip-bad"):
        read_data(rows)
    read = read_data(rows, skip_bad=True)
    assert [row.prompt for row in read] == ["q"]
    assert len(read.skipped) == 1


@pytest.mark.parametrize(
    "body", ["a => b\nnice \ud83d => c", "x\n\ncut \ud83d", "a => b\na\0 => c"]
)
def test_half_of_a_character_in_a_cell_names_its_line(body: str) -> None:
    with pytest.raises(DataError, match=r"line [23]: character"):
        read_text(body)
    assert len(read_text(body, skip_bad=True)) == 1


def test_half_an_emoji_in_json_lines_names_its_line(tmp_path: Path) -> None:
    text = '{"prompt": "q", "completion": "a"}\n{"prompt": "nice \\ud83d", "completion": "b"}\n'
    (tmp_path / "cut.jsonl").write_text(text)
    for read in (lambda: read_data(tmp_path / "cut.jsonl"), lambda: read_text(text)):
        with pytest.raises(DataError, match=r"line 2: character 6 of the prompt is half"):
            read()
    whole = text.replace("\\ud83d", "\\ud83d\\ude00")
    assert read_text(whole)[1].prompt == "nice 😀"


def test_a_column_that_a_row_lacks_is_named_with_what_the_row_has() -> None:
    rows = [{"prompt": "q", "completion": "a"}, {"prompt": "q", "completon": "a"}, {"x": 1}]
    with pytest.raises(DataError) as caught:
        read_data(rows)
    told = str(caught.value)
    assert "row 2: no completion, only prompt, completon; " in told
    assert "row 3: no prompt and no completion, only x. " in told
    assert len(read_data(rows, skip_bad=True)) == 1


def test_two_shapes_in_one_file_are_told_with_a_row_of_each(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": "a"}, {"text": "t"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError) as caught:
        read_data(tmp_path / "a.jsonl")
    told = str(caught.value)
    assert "prompt => completion in line 1, text in line 3" in told
    assert '--columns "prompt => completion" --skip-bad' in told
    read = read_data(tmp_path / "a.jsonl", columns="prompt => completion", skip_bad=True)
    assert [row.line for row in read] == [1, 2]


def test_faults_of_two_kinds_in_one_file_are_in_one_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"prompt": "q", "completion": "a"}\nnot\n[1]\n{"prompt": {}, "completion": 1}\n'
    )
    with pytest.raises(DataError) as caught:
        read_data(path)
    told = str(caught.value)
    for fault in ("line 2: not JSON", "line 3: expected an object", "line 4: prompt is a dict"):
        assert fault in told
    assert len(read_data(path, skip_bad=True).skipped) == 3


def test_a_line_in_a_cell_that_cannot_be_read_can_be_skipped() -> None:
    rows = read_text("a => b\nplain\n => c", "arrow", skip_bad=True)
    assert [row.prompt for row in rows] == ["a"]
    assert rows.note == "2 rows skipped (line 2: no ' => '; line 3: no prompt before '=>')"
    rows = read_text('{"text": "a"}\n{"txt": "b"}\n{', skip_bad=True)
    assert [row.completion for row in rows] == ["a"]
    assert len(rows.skipped) == 2


def test_many_rows_at_fault_are_counted_and_the_first_are_named() -> None:
    rows = [
        {"prompt": "q", "completion": "a"},
        *({"prompt": b"", "completion": "a"} for _ in range(90)),
    ]
    read = read_data(rows, skip_bad=True)
    assert "90 rows skipped (row 2: " in read.note
    assert "and 85 more" in read.note
    assert len(read.skipped) == 90


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"data": [{"prompt": "q", "completion": "a"}]}', [("q", "a")]),
        ('{"v": 1, "rows": [{"prompt": "q", "completion": "a"}], "n": []}', [("q", "a")]),
        ('{"prompt": ["q"], "completion": ["a"]}', [("q", "a")]),
        ('{"prompt": {"0": "q"}, "completion": {"0": "a"}}', [("q", "a")]),
        ('{"columns": ["prompt", "completion"], "index": [0], "data": [["q", "a"]]}', [("q", "a")]),
        ('[["q", "a"], ["r", "b"]]', [("q", "a"), ("r", "b")]),
        ('["one", "two"]', [(None, "one"), (None, "two")]),
        (LINES, [("q", "a"), ("r", "b")]),
    ],
)  # fmt: skip
def test_json_is_read_in_the_shapes_that_programs_write(
    text: str, wanted: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text(text)
    rows = read_data(tmp_path / "a.json")
    assert [(row.prompt, row.completion) for row in rows] == wanted


def test_a_list_in_a_file_of_json_lines_is_read_as_a_list(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('[\n{"prompt": "q", "completion": "a"}\n]')
    assert [row.prompt for row in read_data(tmp_path / "a.jsonl")] == ["q"]


def test_json_with_two_lists_of_objects_names_both(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"train": [{"text": "a"}], "test": [{"text": "b"}]}')
    with pytest.raises(DataError, match="lists of objects under train, test"):
        read_data(tmp_path / "a.json")


@pytest.mark.parametrize("orient", ["records", "columns", "split", "table", "index"])
def test_what_a_frame_writes_as_json_is_read_or_refused(orient: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame({"prompt": ["q", "r"], "completion": ["a", "b"]})
    frame.to_json(tmp_path / "a.json", orient=orient)
    if orient == "index":
        with pytest.raises(DataError):
            read_data(tmp_path / "a.json")
        return
    rows = read_data(tmp_path / "a.json")
    assert [(row.prompt, row.completion) for row in rows] == [("q", "a"), ("r", "b")]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("a", "b"), {"prompt": "a", "completion": "b"}], "row 2: a dict, but row 1 is a pair"),
        (["text", ("a", "b")], "row 2: a pair, but row 1 is a text"),
        ([TURNS, ("a", "b")], "row 2: a pair, but row 1 is a conversation"),
        ([Row("a", "b"), ("a", "b")], "row 2: a pair, but row 1 is a Row"),
        ([("a", "b"), None], "row 2: expected a .* pair of texts, got NoneType"),
    ],
)
def test_two_kinds_of_item_in_one_list_are_told_by_row(rows: list[Any], told: str) -> None:
    with pytest.raises(DataError, match=f"{told}.*All items must be of one kind"):
        read_data(rows)
    assert len(read_data(rows, skip_bad=True)) == 1


def test_columns_that_are_no_text_are_refused() -> None:
    with pytest.raises(CommandError, match=r"--columns: expected text like .*, got 3"):
        read_data(ROWS, columns=3)  # type: ignore[arg-type]  # what a person may pass


def test_a_number_of_too_many_digits_names_its_row() -> None:
    with pytest.raises(DataError, match="row 1: completion is a int, not text"):
        read_data([{"prompt": "a", "completion": 10**5000}])


def test_one_row_is_enough(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,completion\nq,a")
    for data in ([("q", "a")], [{"prompt": "q", "completion": "a"}], tmp_path / "a.csv"):
        assert [(row.prompt, row.completion) for row in read_data(data)] == [("q", "a")]
