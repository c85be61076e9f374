"""Objects of other libraries as rows, against the values that they were made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from lora_magic.data import sources
from lora_magic.data.row import Message, Row
from lora_magic.data.sources import read_data
from lora_magic.errors import DataError

PAIRS = [("a", "b"), ("c, d", 'e "f"'), ("g\nh", "ünï 😀"), ("7", "")]
COLUMNS = {"prompt": [p for p, _ in PAIRS], "completion": [c for _, c in PAIRS]}
TABLE, DATASET = pa.table(COLUMNS), datasets.Dataset.from_dict(COLUMNS)
TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]


def pairs(data: object, **flags: Any) -> list[tuple[str | None, str]]:
    return [(row.prompt, row.completion) for row in read_data(data, **flags)]


MADE: dict[str, Callable[[], object]] = {
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "pandas with categories": lambda: pd.DataFrame(COLUMNS).astype("category"),
    "pandas with Arrow's texts": lambda: pd.DataFrame(COLUMNS).astype("string[pyarrow]"),
    "pandas with an index of its own": lambda: pd.DataFrame(COLUMNS, index=[3, 3, 1, 0]),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "Arrow's table": lambda: pa.table(COLUMNS),
    "Arrow's table of chunks": lambda: pa.concat_tables([TABLE[:1], TABLE[1:]]),
    "Arrow's batch": lambda: pa.RecordBatch.from_pydict(COLUMNS),
    "a dict of columns": lambda: COLUMNS,
    "a dict of series": lambda: dict(pd.DataFrame(COLUMNS)),
    "a dict of arrays": lambda: {name: np.array(cells) for name, cells in COLUMNS.items()},
    "an array of two columns": lambda: np.array(PAIRS),
    "an array of objects": lambda: np.array(PAIRS, dtype=object),
    "a list of arrays": lambda: list(np.array(PAIRS)),
    "an array with names": lambda: np.array(PAIRS, dtype=[("prompt", "U9"), ("completion", "U9")]),
    "pairs": lambda: PAIRS,
    "a data set": lambda: DATASET,
    "a shuffled data set": lambda: datasets.Dataset.from_dict(
        {name: cells[::-1] for name, cells in COLUMNS.items()}
    ).select([3, 2, 1, 0]),
    "a data set in numpy's format": lambda: DATASET.with_format("numpy"),
    "a stream": lambda: DATASET.to_iterable_dataset(),
}  # fmt: skip


@pytest.mark.parametrize("kind", MADE)
def test_each_kind_gives_the_rows_that_it_was_made_of(kind: str) -> None:
    rows = read_data(MADE[kind]())
    assert [(row.prompt, row.completion) for row in rows] == PAIRS
    assert [row.line for row in rows] == [1, 2, 3, 4]
    assert rows.note == ""


@pytest.mark.parametrize(
    "make",
    [
        list, pd.Series, pd.Index, pl.Series, pa.array, np.array,
        lambda texts: pa.chunked_array([texts]),
    ],
)  # fmt: skip
def test_one_column_of_any_library_is_a_list_of_texts(make: Callable[[list[str]], object]) -> None:
    assert pairs(make(["one", "two, three"])) == [(None, "one"), (None, "two, three")]


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, datasets.Dataset.from_dict])
def test_conversations_and_numbers_come_out_of_every_table(make: Callable[[Any], object]) -> None:
    (row,) = read_data(make({"messages": [TURNS]}))
    assert row.messages == (Message("user", "hi"), Message("assistant", "yo"))
    rows = read_data(make({"question": ["2 + 2?", "half?"], "answer": [4, None], "x": [0.5, 1.5]}))
    assert rows[1].empty
    assert rows[0].completion in ("4", "4.0")  # pandas itself makes 4.0 of a column with a gap
    assert rows.unused == ("x",)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, datasets.Dataset.from_dict])
def test_a_column_that_is_not_read_is_not_converted(
    make: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    read = sources.Table.records

    def records(table: Any, names: Any = None) -> Any:
        asked.append(names)
        return read(table, names)

    monkeypatch.setattr(sources.Table, "records", records)
    data = make({**COLUMNS, "vector": [[0.5] * 8] * 4})
    ((first, *_),) = [list(read(sources.opened(data), ("prompt",)))]
    assert first == (1, {"prompt": "a"})
    assert pairs(data) == PAIRS
    assert asked == [("prompt", "completion")]


def test_a_column_whose_name_has_a_dot_comes_out_of_parquet(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"a.b": ["q"], "a": ["x"], "c": ["r"]}), tmp_path / "a.parquet")
    assert pairs(tmp_path / "a.parquet", columns="a.b => c") == [("q", "r")]


def test_a_parquet_file_that_is_damaged_in_the_middle_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pa.parquet.write_table(pa.table({"text": [f"text {n}" for n in range(5000)]}), path)
    raw = bytearray(path.read_bytes())
    raw[4:2000] = b"\xff" * 1996
    path.write_bytes(raw)
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_data(path)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (lambda: list(pd.DataFrame(COLUMNS)), r"columns' names \(prompt, completion\)"),
        (lambda: list(pl.DataFrame(COLUMNS)), "a list of Series.*Pass the frame itself"),
        (lambda: [pd.DataFrame(COLUMNS)], "a list of DataFrame.*Pass the frame itself"),
        (lambda: pl.DataFrame(COLUMNS).lazy(), r"Pass data\.collect\(\)"),
        (lambda: pa.table(COLUMNS).to_reader(), r"Pass data\.read_all\(\)"),
        (lambda: np.zeros((3, 2)), "an array of float64, expected texts"),
        (lambda: np.array([["a", "b", "c"]]), r"an array of shape \(1, 3\).*pandas\.DataFrame"),
        (lambda: (pair for pair in PAIRS), r"only once: pass list\(data\), or if it has no end"),
        (lambda: itertools.count(), r"list\(itertools\.islice\(data, 1000\)\)"),
        (lambda: datasets.DatasetDict(train=DATASET), r"data\['train'\]"),
        (lambda: {"prompt": "q", "completion": "a"}, r"Pass one row as \[data\]"),
        (dict, "expected a list of dicts"),
        (lambda: pd.DataFrame({"prompt": [pd.Timestamp(0)], "completion": "a"}), "a Timestamp"),
        (lambda: pd.DataFrame({"prompt": [b"q"], "completion": ["a"]}), "row 1: prompt is a bytes"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_told_with_what_to_pass(data: Callable[[], object], told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_data(data())


def test_the_names_of_a_data_sets_labels_are_read_for_their_numbers() -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    )
    data = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    for given in (data, data.to_iterable_dataset(), data.with_format("torch"), data[:]):
        named = given is not data[:] and not isinstance(given, dict)
        rows = read_data(given, labelled=True, labels=("neg", "pos"))
        assert [row.completion for row in rows] == ["pos", "neg"]
        assert (rows.notes == ()) == named
    assert pairs(data, columns="text => label") == [("a", "pos"), ("b", "neg")]


def test_a_transform_that_a_person_has_set_makes_the_rows() -> None:
    data = datasets.Dataset.from_dict({"raw": ["a", "b"]})
    data.set_transform(lambda batch: {"text": [raw * 2 for raw in batch["raw"]]})
    assert pairs(data) == [(None, "aa"), (None, "bb")]


def endless(seen: list[int]) -> Iterator[dict[str, str]]:
    for number in itertools.count(1):
        seen.append(number)
        yield {"prompt": f"q{number}", "completion": "a", "id": "x"}


def test_a_stream_is_read_for_as_many_rows_as_a_run_needs_and_no_further() -> None:
    given: list[int] = []

    def counted() -> Iterator[dict[str, str]]:
        return endless(given)

    rows = read_data(datasets.IterableDataset.from_generator(counted), most=7)
    assert [row.prompt for row in rows] == [f"q{number}" for number in range(1, 8)]
    assert rows.unused == ("id",)
    assert "a stream, read up to row 7" in rows.note
    assert "--steps" not in rows.note
    assert given == list(range(1, 8))


def test_an_endless_stream_ends_where_it_is_documented_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "STREAM_MOST", 20)
    stream = datasets.IterableDataset.from_generator(endless, gen_kwargs={"seen": []})
    rows = read_data(stream)
    assert len(rows) == 20
    assert "a stream, read up to row 20; --steps N reads what N steps need" in rows.note


def test_a_run_of_more_steps_than_memory_holds_rows_for_does_not_read_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sources, "STREAM_LIMIT", 20)
    stream = datasets.IterableDataset.from_generator(endless, gen_kwargs={"seen": []})
    rows = read_data(stream, most=10**15)
    assert len(rows) == 20
    assert "read up to row 20" in rows.note


def test_a_stream_that_ends_earlier_is_read_whole_and_needs_no_note() -> None:
    rows = read_data(datasets.Dataset.from_dict(COLUMNS).to_iterable_dataset(), most=100)
    assert [(row.prompt, row.completion) for row in rows] == PAIRS
    assert rows.note == ""


def test_what_is_no_stream_is_read_whole_whatever_a_run_needs() -> None:
    assert len(read_data(datasets.Dataset.from_dict(COLUMNS), most=1)) == 4
    assert len(read_data(PAIRS, most=1)) == 4


def test_a_hundred_thousand_rows_are_read_with_their_numbers() -> None:
    data = {"prompt": [f"q{n}" for n in range(100_000)], "completion": ["ä"] * 100_000}
    rows = read_data(data)
    assert (len(rows), rows[-1]) == (100_000, Row("q99999", "ä", line=100_000))


def test_the_data_of_torch_is_read_by_its_places() -> None:
    class Data:
        def __len__(self) -> int:
            return len(PAIRS)

        def __getitem__(self, place: int) -> tuple[str, str]:
            return PAIRS[place]

    assert pairs(Data()) == PAIRS


def test_a_data_set_that_fails_while_it_is_read_is_one_line() -> None:
    def broken() -> Iterator[dict[str, str]]:
        yield {"text": "a"}
        raise ConnectionError("the hub is gone")

    stream = datasets.IterableDataset.from_generator(broken)
    with pytest.raises(DataError, match="failed with ConnectionError: the hub is gone"):
        read_data(stream)
    assert [row.completion for row in read_data(stream, most=1)] == ["a"]
    transformed = datasets.Dataset.from_dict({"raw": ["a"]})
    transformed.set_transform(lambda batch: {"text": [raw + 1 for raw in batch["raw"]]})
    with pytest.raises(DataError, match="failed with TypeError"):
        read_data(transformed)


def test_a_dict_of_parts_names_one_to_pass() -> None:
    with pytest.raises(DataError, match=r"under 'train': pass that, as in data\['train'\]"):
        read_data({"train": [{"prompt": "q", "completion": "a"}], "test": []})
