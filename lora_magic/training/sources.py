"""Any data a person has, as rows: a frame, a list, a dataset, or the path of a file.

Knows which object is what; pandas and datasets are recognised only if they are imported already,
since otherwise nobody can hold one of theirs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from lora_magic.errors import DataError, listed
from lora_magic.paths import path_of

from .files import Table, frame_table, read_file
from .records import mapping_for, rows_of, text_of
from .row_errors import RowErrors
from .rows import Row, arrow, read_text

_EXPECTED = (
    "expected a DataFrame, a list of dicts, pairs or texts, a dataset, or the path of a "
    ".csv, .tsv, .jsonl, .json or .parquet file"
)


def read_data(
    data: object,
    *,
    columns: str | None = None,
    format: str | None = None,
    labelled: bool = False,
) -> tuple[Row, ...]:
    """Rows of a DataFrame, list, datasets.Dataset, or file.

    `columns` names what is asked and answered ("body => reply"), or the one column of texts;
    without it the names prompt/completion, instruction/output, question/answer, messages and text
    speak for themselves, with `labelled` text/label too. A list may hold dicts, (prompt,
    completion) pairs, texts, `a => b` lines or `Row`s. `format` says what a file is where its
    ending does not.

    A row whose prompt or completion has no value (None, NaN, "") is kept as an empty row, to be
    counted. Raises `DataError` (unreadable, ambiguous, nothing left; with line or row numbers) and
    `CommandError` for an unknown format.
    """
    if isinstance(data, str | os.PathLike):
        return _path(data, columns, format, labelled)
    if _is(data, "pandas", "DataFrame"):
        return _table(frame_table(data), columns, labelled)
    if _is(data, "pandas", "Series"):
        return _list(list(data), columns, labelled)  # type: ignore[call-overload]  # a Series is iterable
    if _is(data, "datasets", "DatasetDict") or _is(data, "datasets", "IterableDatasetDict"):
        splits = list(data)  # type: ignore[call-overload]  # a DatasetDict is a dict
        raise DataError(
            f"a dataset with splits {listed(splits)}: pass one, as in data[{splits[0]!r}]."
        )
    if _is(data, "datasets", "Dataset") or _is(data, "datasets", "IterableDataset"):
        return _list(list(data), columns, labelled)  # type: ignore[call-overload]  # both are iterable
    if isinstance(data, Sequence) and not isinstance(data, bytes | bytearray):
        return _list(list(data), columns, labelled)
    ways = ""
    if isinstance(data, Mapping):
        ways = " Of a dict of columns make a frame: pandas.DataFrame(data)."
    elif hasattr(data, "__iter__"):
        ways = " Make a list of it: list(data)."
    raise DataError(f"data of type {type(data).__name__}: {_EXPECTED}.{ways}")


def _is(data: object, library: str, kind: str) -> bool:
    module = sys.modules.get(library)
    found = getattr(module, kind, None)
    return isinstance(found, type) and isinstance(data, found)


def _path(
    data: str | os.PathLike[str], columns: str | None, format: str | None, labelled: bool
) -> tuple[Row, ...]:
    told = os.fspath(data)
    if "\n" in told or " => " in told or not told.strip():
        raise DataError(
            f"{told[:40]!r} is no path: {_EXPECTED}; rows typed in a cell go below the magic."
        )
    if "://" in told:
        raise DataError(
            f"{told} is an address, expected a file here; download it, or read it into a variable "
            "(frame = pandas.read_csv(…)) and give that."
        )
    path = path_of(told, "--data")
    found = read_file(path, format)
    if isinstance(found, Table):
        return _table(found, columns, labelled)
    if columns is not None:
        raise DataError(f'--columns "{columns}": {path.name} is read as text and has no columns.')
    return read_text(found, format, labelled=labelled)


def _table(table: Table, columns: str | None, labelled: bool) -> tuple[Row, ...]:
    return rows_of(table.records, mapping_for(table.columns, columns, labelled), table.noun)


def _list(items: list[Any], columns: str | None, labelled: bool) -> tuple[Row, ...]:
    if not items:
        raise DataError(f"the data is empty: {_EXPECTED}.")
    if all(isinstance(item, Mapping) for item in items):
        names = tuple(dict.fromkeys(str(key) for item in items for key in item))
        return _table(Table(names, tuple(enumerate(items, start=1))), columns, labelled)
    if columns is not None:
        raise DataError(
            f'--columns "{columns}": a list of {type(items[0]).__name__} has no columns.'
        )
    if all(isinstance(item, str) for item in items):
        return _texts(items)
    return _pairs(items)


def _texts(items: list[str]) -> tuple[Row, ...]:
    """Texts, or lines with an arrow: all of them or none, else it can be read two ways."""
    sides = [arrow(item) if "\n" not in item else None for item in items]
    without = [number for number, pair in enumerate(sides, start=1) if pair is None]
    if len(without) == len(items):
        return _kept([Row(None, item, line=n) for n, item in enumerate(items, start=1)])
    faults = RowErrors("row")
    for number in without:
        faults.add(number, "no ' => ', which others have")
    faults.stop("Give (prompt, completion) pairs, or texts only.")
    return _kept([Row(*pair, line=n) for n, pair in enumerate(sides, start=1) if pair])


def _pairs(items: list[Any]) -> tuple[Row, ...]:
    faults, rows = RowErrors("row"), []
    for number, item in enumerate(items, start=1):
        if isinstance(item, Row):
            rows.append(item)
        elif (
            isinstance(item, list | tuple)
            and len(item) == 2
            and None not in (sides := [text_of(part) for part in item])
        ):
            rows.append(Row(sides[0], sides[1] or "", line=number))
        else:
            faults.add(number, f"{type(item).__name__}, not a (prompt, completion) pair of texts")
    faults.stop("All items have to be alike: dicts, pairs or texts.")
    return _kept(rows)


def _kept(rows: list[Row]) -> tuple[Row, ...]:
    if all(row.empty for row in rows):
        count = f"all {len(rows)} rows are" if len(rows) > 1 else "the one row is"
        raise DataError(f"nothing to train on: {count} empty.")
    return tuple(rows)
