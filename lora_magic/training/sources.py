"""The user's data as rows: a frame, a list, a dataset, or the path of a file.

Knows each kind of object; pandas and datasets are recognised only if they are already imported,
since otherwise no object of theirs can exist.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from lora_magic.errors import DataError, LoraMagicError, listed
from lora_magic.paths import path_of

from .files import Table, frame_table, read_file
from .records import mapping_for, rows_of, text_of
from .row import Row, RowErrors
from .rows import arrow, read_text

_EXPECTED = (
    "expected a DataFrame, a list of dicts, pairs or texts, a dataset, or the path of a "
    ".csv, .tsv, .jsonl, .json or .parquet file"
)


def read_data(
    data: Any,
    *,
    columns: str | None = None,
    format: str | None = None,
    labelled: bool = False,
) -> tuple[Row, ...]:
    """Rows of a DataFrame, list, datasets.Dataset, or file.

    `columns` names the prompt and completion columns ("body => reply"), or the one text column;
    without it prompt/completion, instruction/output, question/answer, messages and text are
    recognised, with `labelled` text/label too. A list contains dicts, (prompt, completion) pairs,
    texts, `a => b` lines or `Row`s. `format` is a file's format, by default that of its ending.

    A row whose prompt or completion has no value (None, NaN, "") is an empty row, which is counted.
    Raises `DataError` (unreadable, ambiguous, empty; with line or row numbers) and `CommandError`
    for an unknown format.
    """
    if isinstance(data, str | os.PathLike):
        return _path(data, columns, format, labelled)
    if _is(data, "pandas", "DataFrame"):
        return _table(frame_table(data), columns, labelled)
    if _is(data, "datasets", "DatasetDict", "IterableDatasetDict"):
        splits = list(data)
        raise DataError(
            f"the dataset has splits {listed(splits)}: pass one, as in data[{splits[0]!r}]."
        )
    listable = isinstance(data, Sequence) and not isinstance(data, bytes | bytearray)
    if (
        listable
        or _is(data, "pandas", "Series")
        or _is(data, "datasets", "Dataset", "IterableDataset")
    ):
        return _list(list(data), columns, labelled)
    remedy = ""
    if isinstance(data, Mapping):
        remedy = " Pass a dict of columns as pandas.DataFrame(data)."
    elif hasattr(data, "__iter__"):
        remedy = " Pass list(data)."
    raise DataError(f"data of type {type(data).__name__}: {_EXPECTED}.{remedy}")


def read_guard(data: Any, columns: str | None, labelled: bool) -> tuple[Row, ...]:
    """The rows of `--guard`, in any form of `read_data`; `columns` applies if they have those."""
    if columns is not None:
        with suppress(LoraMagicError):
            return read_data(data, columns=columns, labelled=labelled)
    try:
        return read_data(data, labelled=labelled)
    except LoraMagicError as error:
        said = str(error).replace("--data", "--guard").replace("to train on", "to measure")
        raise type(error)(said if said.startswith("--guard") else f"--guard: {said}") from None


def _is(data: object, library: str, *kinds: str) -> bool:
    found = [getattr(sys.modules.get(library), kind, None) for kind in kinds]
    return any(isinstance(kind, type) and isinstance(data, kind) for kind in found)


def _path(
    data: str | os.PathLike[str], columns: str | None, format: str | None, labelled: bool
) -> tuple[Row, ...]:
    given = os.fspath(data)
    if "\n" in given or " => " in given or not given.strip():
        raise DataError(
            f"{given[:40]!r} is not a path: {_EXPECTED}; type rows below the magic %%lora_train."
        )
    if "://" in given:
        raise DataError(
            f"{given}: expected a local file, got a URL; download it, or read it into a "
            "variable (frame = pandas.read_csv(…)) and pass that."
        )
    path = path_of(given, "--data")
    found = read_file(path, format)
    if isinstance(found, Table):
        return _table(found, columns, labelled)
    if columns is not None:
        raise DataError(f'--columns "{columns}": {path.name} is text and has no columns.')
    return read_text(found, format, labelled=labelled)


def _table(table: Table, columns: str | None, labelled: bool) -> tuple[Row, ...]:
    return rows_of(table.records, mapping_for(table.columns, columns, labelled), table.noun)


def _list(items: list[Any], columns: str | None, labelled: bool) -> tuple[Row, ...]:
    if not items:
        raise DataError(f"the data is empty: {_EXPECTED}.")
    if all(isinstance(item, Mapping) for item in items):
        return _table(Table.of(list(enumerate(items, start=1))), columns, labelled)
    if columns is not None:
        raise DataError(
            f'--columns "{columns}": a list of {type(items[0]).__name__} has no columns.'
        )
    if all(isinstance(item, str) for item in items):
        return _texts(items)
    return _pairs(items)


def _texts(items: list[str]) -> tuple[Row, ...]:
    """Texts, or lines with an arrow; a mixture is ambiguous."""
    sides = [arrow(item) if "\n" not in item else None for item in items]
    without = [number for number, pair in enumerate(sides, start=1) if pair is None]
    if len(without) == len(items):
        return _unless_empty([Row(None, item, line=n) for n, item in enumerate(items, start=1)])
    errors = RowErrors("row")
    for number in without:
        errors.add(number, "no ' => ', but others have it")
    errors.raise_any("Pass (prompt, completion) pairs, or texts only.")
    return _unless_empty([Row(*pair, line=n) for n, pair in enumerate(sides, start=1) if pair])


def _pairs(items: list[Any]) -> tuple[Row, ...]:
    errors, rows = RowErrors("row"), []
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
            errors.add(
                number, f"expected a (prompt, completion) pair of texts, got {type(item).__name__}"
            )
    errors.raise_any("All items must be of one kind: dicts, pairs or texts.")
    return _unless_empty(rows)


def _unless_empty(rows: list[Row]) -> tuple[Row, ...]:
    if all(row.empty for row in rows):
        count = f"all {len(rows)} rows are" if len(rows) > 1 else "the one row is"
        raise DataError(f"nothing to train on: {count} empty.")
    return tuple(rows)
