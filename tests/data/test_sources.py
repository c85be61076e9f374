"""Frames, lists, datasets and files as rows."""

from __future__ import annotations

import builtins
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lora_magic.data.files import read_file
from lora_magic.data.row import Message, Row
from lora_magic.data.sources import read_data
from lora_magic.errors import CommandError, DataError, LoraMagicError

PAIRS = [("a", "b"), ("c, d", 'e "f"'), ("g\nh", "ünï")]
ROWS = [{"prompt": prompt, "completion": completion} for prompt, completion in PAIRS]


def pairs(data: object, **flags: Any) -> list[tuple[str | None, str]]:
    return [(row.prompt, row.completion) for row in read_data(data, **flags)]


def test_every_kind_of_data_gives_the_same_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    frame.to_csv(tmp_path / "semicolons.csv", index=False, sep=";")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_json(tmp_path / "a.json", orient="records", indent=2)
    frame.to_parquet(tmp_path / "a.parquet")
    files = sorted(tmp_path.iterdir())
    assert len(files) == 6
    for data in (frame, ROWS, PAIRS, [list(pair) for pair in PAIRS], *files, str(files[0])):
        assert pairs(data) == PAIRS, data
    assert pairs([Row(*pair) for pair in PAIRS]) == PAIRS


def test_columns_name_what_is_asked_and_answered_or_the_text() -> None:
    frame = pd.DataFrame({"id": [1, 2], "body": ["a", "b"], "reply": ["c", "d"]})
    assert pairs(frame, columns="body => reply") == [("a", "c"), ("b", "d")]
    assert pairs(frame, columns="body=>reply") == [("a", "c"), ("b", "d")]
    assert pairs(frame, columns="reply") == [(None, "c"), (None, "d")]
    assert pairs(frame, columns="body => id") == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize(
    "names", [("instruction", "output"), ("Question", "Answer"), ("prompt", "response")]
)
def test_common_pairs_of_names_speak_for_themselves(names: tuple[str, str]) -> None:
    frame = pd.DataFrame({names[0]: ["a"], "other": ["x"], names[1]: ["b"]})
    assert pairs(frame) == [("a", "b")]


def test_an_instructions_input_follows_it_on_a_new_line() -> None:
    data = [
        {"instruction": "Translate.", "input": "ja", "output": "yes"},
        {"instruction": "Greet.", "input": "", "output": "hello"},
    ]
    assert pairs(data) == [("Translate.\nja", "yes"), ("Greet.", "hello")]


def test_conversations_come_from_lists_json_and_parquet(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    frame = pd.DataFrame({"messages": [turns]})
    frame.to_parquet(tmp_path / "m.parquet")
    pd.DataFrame({"messages": [json.dumps(turns)]}).to_csv(tmp_path / "m.csv", index=False)
    wanted = (Message("user", "hi"), Message("assistant", "ho"))
    for data in ([{"messages": turns}], frame, tmp_path / "m.parquet", tmp_path / "m.csv"):
        assert [row.messages for row in read_data(data)] == [wanted]


def test_a_list_of_texts_is_text_and_a_list_of_arrows_is_pairs() -> None:
    assert pairs(["a", "b"]) == [(None, "a"), (None, "b")]
    assert pairs(["a => b", "c => d"]) == [("a", "b"), ("c", "d")]
    with pytest.raises(DataError, match="row 2: no ' => '"):
        read_data(["a => b", "c"])


def test_a_series_is_a_list_of_texts() -> None:
    assert pairs(pd.Series(["a", "b"])) == [(None, "a"), (None, "b")]


def test_cells_without_a_value_are_kept_as_empty_rows_to_be_counted() -> None:
    frame = pd.DataFrame(
        {"prompt": ["a", None, "c", "d", "e"], "completion": ["b", "x", float("nan"), "", pd.NA]}
    )
    rows = read_data(frame)
    assert [row.empty for row in rows] == [False, True, True, True, True]
    assert [row.line for row in rows] == [1, 2, 3, 4, 5]


def test_when_every_row_is_empty_their_numbers_are_told() -> None:
    frame = pd.DataFrame({"prompt": ["a", "b"], "completion": [None, float("nan")]})
    with pytest.raises(DataError, match=r"no value for prompt => completion in rows 1, 2"):
        read_data(frame)
    with pytest.raises(DataError, match="empty"):
        read_data(frame.iloc[:0])
    with pytest.raises(DataError, match="empty"):
        read_data([("a", None)])


def test_unknown_columns_are_listed_with_the_line_to_type() -> None:
    frame = pd.DataFrame({"body": ["a"], "reply": ["b"]})
    with pytest.raises(DataError, match=r'body, reply.*--columns "body => reply"'):
        read_data(frame)


def test_a_misspelt_column_gets_the_near_one() -> None:
    frame = pd.DataFrame({"body": ["a"], "reply": ["b"]})
    with pytest.raises(DataError, match=r"'repl'.*body, reply.*Did you mean 'reply'"):
        read_data(frame, columns="body => repl")
    with pytest.raises(DataError, match="expected"):
        read_data(frame, columns="body => reply => more")


def test_columns_that_can_be_read_two_ways_are_refused_with_both_lines() -> None:
    frame = pd.DataFrame({"prompt": ["a"], "completion": ["b"], "text": ["c"]})
    with pytest.raises(DataError, match=r'--columns "prompt => completion" or --columns "text"'):
        read_data(frame)


def test_a_cell_that_holds_no_text_names_its_row() -> None:
    with pytest.raises(DataError, match="row 2: completion is a dict"):
        read_data([{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": {}}])


def test_mixed_lists_and_foreign_objects_are_refused() -> None:
    with pytest.raises(DataError, match=r"row 2: expected .* pair of texts, got int"):
        read_data([("a", "b"), 3])
    with pytest.raises(DataError, match="data of type int: expected a DataFrame"):
        read_data(3)
    with pytest.raises(DataError, match="empty"):
        read_data([])


def test_a_body_in_the_place_of_a_path_is_told_where_it_goes() -> None:
    with pytest.raises(DataError, match="below the magic"):
        read_data("a => b\nc => d")


def test_a_missing_file_gets_the_near_one(tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").write_text("prompt,completion\na,b\n")
    with pytest.raises(DataError, match=r"no file .*reviws.csv.*Did you mean 'reviews.csv'"):
        read_data(tmp_path / "reviws.csv")
    with pytest.raises(DataError, match=r"is a folder.*reviews.csv"):
        read_data(tmp_path)


def test_an_unknown_ending_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "rows.xyz"
    path.write_text("prompt,completion\na,b\n")
    with pytest.raises(DataError, match=r"unknown ending '.xyz'.*\.csv.*--format"):
        read_data(path)
    assert pairs(path, format="csv") == [("a", "b")]
    with pytest.raises(CommandError, match=r"--format csw.*Did you mean 'csv'"):
        read_data(path, format="csw")


def test_a_text_file_is_read_as_a_cells_body(tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("a => b\nc => d\n")
    assert pairs(path, format="arrow") == [("a", "b"), ("c", "d")]
    assert pairs(path, format="text") == [(None, "a => b\nc => d")]
    assert pairs(path) == [("a", "b"), ("c", "d")]


def test_csv_rows_of_another_width_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('prompt,completion\n"two\nlines",b\na,b,c\nd\n')
    with pytest.raises(DataError) as caught:
        read_data(path)
    assert "line 4: 3 fields, but the header has 2" in str(caught.value)
    assert "line 5: 1 fields" in str(caught.value)


def test_an_open_quote_in_csv_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('prompt,completion\na,b\n"c,d\n')
    with pytest.raises(DataError, match="line 3: unexpected end of data"):
        read_data(path)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("prompt,prompt,completion\na,b,c\n")
    with pytest.raises(DataError, match="two columns are named 'prompt'"):
        read_data(path)


def test_bad_json_and_bad_bytes_name_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n\n{"text": \n[1]\n')
    with pytest.raises(
        DataError, match=r"line 3: not JSON .*; line 4: expected an object .*, got list"
    ):
        read_data(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_text('[\n{"text": "a"},\n{"text" "b"}]')
    with pytest.raises(DataError, match=r"a.json, line 3: not JSON"):
        read_data(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"name": "a"}')
    with pytest.raises(DataError, match="expected a list of objects, got one dict"):
        read_data(tmp_path / "b.json")
    (tmp_path / "b.csv").write_bytes(b"text\nok\ncaf\xe9\n")
    with pytest.raises(DataError, match=r"b.csv: line 3 is not UTF-8 \(byte 0xe9\)"):
        read_data(tmp_path / "b.csv")
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"a.parquet: not a readable Parquet file"):
        read_data(tmp_path / "a.parquet")
    (tmp_path / "c.csv").write_text("")
    with pytest.raises(DataError, match=r"c.csv is empty"):
        read_data(tmp_path / "c.csv")


def test_parquet_without_pyarrow_and_pandas_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in ("pandas", "pyarrow"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(LoraMagicError, match="%pip install pandas pyarrow"):
        read_data(tmp_path / "a.parquet")


def test_csv_is_read_without_pandas_and_without_datasets(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("prompt,completion\na,b\n")
    code = (
        "import sys; sys.modules['pandas'] = None; sys.modules['datasets'] = None\n"
        "from lora_magic.data.sources import read_data\n"
        f"print(read_data({str(tmp_path / 'a.csv')!r})[0].completion)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "b", done.stderr


def test_a_librarys_objects_are_recognised_only_when_it_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class DatasetDict(dict[str, list[str]]):
        pass

    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    with pytest.raises(DataError, match="a dict with the keys train"):
        read_data(DatasetDict(train="rows"))
    assert "datasets" not in sys.modules
    library = types.ModuleType("datasets")
    library.DatasetDict = DatasetDict  # type: ignore[attr-defined]  # a module made here
    monkeypatch.setitem(sys.modules, "datasets", library)
    with pytest.raises(DataError, match=r"splits train.*data\['train'\]"):
        read_data(DatasetDict(train=[]))


def test_numbers_in_pairs_and_sharegpt_turns_are_read() -> None:
    assert read_data([("How many?", 3)])[0].completion == "3"
    turns = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "Here."}]
    (row,) = read_data([{"conversations": turns}])
    assert row.messages == (Message("user", "Where?"), Message("assistant", "Here."))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"prompt": "a", "completion": "b"}, r"Pass one row as \[data\]"),
        ({"Where?": "Here."}, r"pairs as list\(data\.items\(\)\)"),
        ({"prompt": ["a"], "completion": ["b", "c"]}, "prompt 1, completion 2; make them equal"),
        (iter([("a", "b")]), r"list\(data\)"),
        ("https://example.com/rows.csv", r"expected a local file, got a URL"),
        ([{"messages": "hello"}], r'"role": "user"'),
    ],
)
def test_what_cannot_be_read_names_the_way_out(data: object, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_data(data)


def test_two_columns_of_one_name_in_a_frame_are_refused() -> None:
    frame = pd.DataFrame([["a", "b", "c"]], columns=["prompt", "completion", "completion"])
    with pytest.raises(DataError, match="two columns are named 'completion'"):
        read_data(frame)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "jsonl.gz"])
def test_a_pipe_and_a_device_are_refused_before_they_are_opened(
    ending: str, tmp_path: Path
) -> None:
    pipe, link = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    with pytest.raises(DataError, match="it is a named pipe, expected a file"):
        read_file(pipe)
    with pytest.raises(DataError, match="it is a device, expected a file"):
        read_file(link)


def test_json_that_python_cannot_read_is_one_line(tmp_path: Path) -> None:
    for text in ("[" * 20_000, "[" + "9" * 5_000 + "]"):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(DataError, match=r"a\.json: .*expected a list of objects"):
            read_file(tmp_path / "a.json")


TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
PLAIN_TURNS = (Message("user", "q"), Message("assistant", "a"))


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ({"prompt": "q", "completion": "a"}, [Row("q", "a", line=1)]),
        ({"messages": TURNS}, [Row(None, "a", PLAIN_TURNS, line=1)]),
        ({"conversations": [{"messages": TURNS}]}, [Row(None, "a", PLAIN_TURNS, line=1)]),
        ({"text": "hello"}, [Row(None, "hello", line=1)]),
        ({"text": ["one", "two"]}, [Row(None, "one", line=1), Row(None, "two", line=2)]),
    ],
)
def test_a_json_object_is_one_row_if_its_fields_are_a_rows(
    content: object, rows: list[Row], tmp_path: Path
) -> None:
    (tmp_path / "one.json").write_text(json.dumps(content), "utf-8")
    assert list(read_data(tmp_path / "one.json")) == rows


def test_an_empty_file_is_called_by_its_name_whatever_its_format(tmp_path: Path) -> None:
    for name in ("a.txt", "a.csv", "a.jsonl", "a.json"):
        (tmp_path / name).write_text(" \n", "utf-8")
        with pytest.raises(DataError, match=rf"^{name} is empty"):
            read_data(tmp_path / name)


def test_a_persons_own_rows_are_checked_in_every_field() -> None:
    half = "cut \ud83d"
    for bad, told in (
        (Row("q", "a", system=half), "character 5 of the system message"),
        (Row("q", "a", rejected=half), "character 5 of the rejected answer"),
        (Row("q", "a", second=half), "character 5 of the second text"),
        (Row(None, "a", (Message("user", half), Message("assistant", "a"))), "5 of turn 1 is"),
        (Row(3, "a"), "its prompt is a int, not text"),  # type: ignore[arg-type]
        (Row("q", None), "its completion is a NoneType, not text"),  # type: ignore[arg-type]
    ):
        with pytest.raises(DataError, match=f"^row 2: .*{told}"):
            read_data([Row("q", "a"), bad])


def test_data_that_fails_while_it_is_read_is_an_error_with_its_cause() -> None:
    grouped = pd.DataFrame({"prompt": ["q"], "completion": ["a"]}).groupby("prompt")
    with pytest.raises(DataError, match="the data failed with KeyError"):
        read_data(grouped)


def test_a_frame_whose_column_is_its_index_says_so_and_one_without_columns_too() -> None:
    frame = pd.DataFrame({"prompt": ["q"], "completion": ["a"]})
    with pytest.raises(DataError, match=r"Its index is prompt: pass frame\.reset_index\(\)"):
        read_data(frame.set_index("prompt"))
    with pytest.raises(DataError, match=r"^the data has no columns: expected prompt"):
        read_data(pd.DataFrame())


def test_what_is_told_of_columns_can_be_written_as_utf8() -> None:
    rows = read_data([{"cut \ud83d": "x", "prompt": "q", "completion": "a"}])
    assert rows.note.encode("utf-8").decode() == "column not used: cut <U+D83D>"
