"""The user's data as rows: a frame, a list, a dataset, or the path of a file.

Knows how a person's data becomes rows; `kinds` knows each library's kinds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from lora_magic.errors import CommandError, DataError, listed
from lora_magic.paths import path_of

from .arrow_line import arrow
from .files import read_file
from .kinds import EXPECTED, Stream, opened
from .records import ONE_KIND, Function, LeftOutError, Reader
from .row import Row, RowError, RowErrors, Rows, numbered
from .rows import read_text
from .shapes import ColumnMapping, candidates, mapping_for, usual
from .table import Table
from .turns import is_turns

#: A stream without an end is read up to here if nothing says how much a run needs.
STREAM_MOST = 100_000

#: And up to here whatever it needs: the rows are kept in memory.
STREAM_LIMIT = 1_000_000


def read_data(
    data: Any,
    *,
    columns: str | None = None,
    format: str | None = None,
    map_: Function | None = None,
    skip_bad: bool = False,
    most: int | None = None,
    labelled: bool = False,
    labels: Sequence[str] = (),
    prompts: bool = False,
) -> Rows:
    """Rows of a frame (pandas, polars, Arrow), a list, a dict of columns, a dataset, or a file.

    `columns` names the columns to use ("question + context => answer", "prompt => better, worse",
    or one of texts or conversations); without it those of `shapes.SHAPES` are recognised, with
    `labelled` those of `shapes.LABELLED`. A list has dicts, (prompt, completion) pairs, lists of
    turns, texts, `a => b` lines or `Row`s. `format` is a file's format, by default that of its
    ending. `map_` makes of each record (a dict) or item a pair, turns, a text, a dict in a known
    shape, or None to leave it out. `labels` are a classifier's: the data may have their numbers.

    Of a stream (`IterableDataset`) the first `most` rows are read, by default `STREAM_MOST` and
    never more than `STREAM_LIMIT`; anything else is read whole, since a run draws its rows from
    all of it.

    A row whose prompt or completion has no value (None, NaN, "") is an empty row, which is counted.
    With `prompts` all rows may be without a completion.
    With `skip_bad` rows that cannot be read are left out and listed. Raises `DataError`
    (unreadable, ambiguous, empty; with the numbers of all wrong lines or rows) and `CommandError`
    for an unknown format, and for flags that exclude each other.
    """
    if columns is not None and not isinstance(columns, str):
        raise CommandError(
            f'--columns: expected text like "question + context => answer", got {columns!r}.'
        )
    if map_ is not None and not callable(map_):
        raise CommandError(f"--map: expected a function, got {type(map_).__name__}.")
    if map_ is not None and columns is not None:
        raise CommandError("--map reads the whole row: omit --columns.")
    reader = Reader(labelled, labels, map_, prompts)
    found: Table | list[Any] | Stream | str
    if isinstance(data, str | os.PathLike):
        found = _from_path(data, columns, format, skip_bad, map_)
        if isinstance(found, str):
            return read_text(found, format, labelled=labelled, labels=labels, skip_bad=skip_bad)
    else:
        found = opened(data)
    if isinstance(found, Stream):
        found, notes = _first_of(found, most)
        return _read(found, columns, reader, skip_bad).noted(*notes)
    return _read(found, columns, reader, skip_bad)


def _from_path(
    data: str | os.PathLike[str],
    columns: str | None,
    format: str | None,
    skip: bool,
    function: Function | None,
) -> Table | list[Any] | str:
    given = os.fspath(data)
    if "\n" in given or " => " in given or not given.strip():
        raise DataError(
            f"{given[:40]!r} is not a path: {EXPECTED}; type rows below the magic %%lora_train."
        )
    if "://" in given:
        raise DataError(
            f"{given}: expected a local file, got a URL; download it, or read it into a "
            "variable (frame = pandas.read_csv(…)) and pass that."
        )
    path = path_of(given, "--data")
    found = read_file(path, format, skip)
    if isinstance(found, str) and columns is not None:
        raise DataError(f'--columns "{columns}": {path.name} is text and has no columns.')
    if isinstance(found, str) and function is not None:
        raise DataError(f"--map: {path.name} is text and has no columns; pass a list of its parts.")
    return found


def _first_of(stream: Stream, most: int | None) -> tuple[Table | list[Any], list[str]]:
    """What a run needs of a stream, and what to say about it."""
    wanted = STREAM_MOST if most is None else min(most, STREAM_LIMIT)
    items = list(islice(stream.items, wanted))
    found = list_of(items)
    if isinstance(found, Table):
        found = Table(found.columns, found.read, found.noun, found.errors, names=stream.names)
    if len(items) < wanted:
        return found, []
    told = f"a stream, read up to row {wanted:,}"
    if most is None:
        told += "; --steps N reads what N steps need"
    return found, [told]


def list_of(items: list[Any]) -> Table | list[Any]:
    """Dicts as a table, anything else as it is."""
    if items and all(isinstance(item, Mapping) for item in items):
        return Table.of(list(enumerate(items, start=1)))
    return items


def _read(found: Table | list[Any], columns: str | None, reader: Reader, skip_bad: bool) -> Rows:
    table = list_of(found) if isinstance(found, list) else found
    if isinstance(table, list):
        return _list(table, columns, reader, RowErrors("row", skip=skip_bad))
    table.errors.skip = skip_bad
    if reader.function is not None:
        return _mapped(table.records(), reader, table.errors)
    try:
        mapping = mapping_for(table.columns, columns, reader.labelled)
    except DataError as error:
        table.errors.raise_any()  # Lines that cannot be read may be the reason.
        by_row = _by_row(table, reader.labelled, columns)
        hint = f"{str(error).rstrip('.')}. {table.hint}" if table.hint and not columns else ""
        raise by_row or (DataError(hint) if hint else error) from None
    rows = _by_columns(table, mapping, reader)
    # Those who name columns may mean these only.
    more = [name for name in mapping.asks if name not in mapping.required] if columns else []
    return rows.noted(f"{listed(more)} joined to the prompt, too") if more else rows


def _by_row(table: Table, labelled: bool, columns: str | None) -> DataError | None:
    """The error for rows of two shapes in one table, by their numbers; None if it is another."""
    if columns is not None:
        return None
    first: dict[str, int] = {}
    for number, record in table.records():
        own = [key for key, value in record.items() if value is not None]
        found = candidates(own, labelled)
        if len(found) == 1:
            first.setdefault(str(found[0]), number)
    if len(first) < 2:
        return None
    seen = ", ".join(f"{what} in {numbered(table.noun, [n])}" for what, n in first.items())
    return DataError(
        f"two shapes in one place: {seen}. Split them, type one with --skip-bad, as in --columns "
        f'"{next(iter(first))}" --skip-bad, or make one of them with --map FUNCTION'
    )


def _by_columns(table: Table, mapping: ColumnMapping, reader: Reader) -> Rows:
    """Rows of a table's records; a row that cannot be read is named by its number."""
    errors, rows, noun = table.errors, [], table.noun
    for number, record in table.records(mapping.used):
        try:
            rows.append(reader.record(record, number, mapping))
        except RowError as error:
            errors.refuse(number, error)
    errors.raise_any(read=len(rows))
    if not rows:
        raise DataError(f"no {noun}s to train on: the table is empty.")
    if all(map(reader.is_empty, rows)):
        empty = numbered(noun, [row.line or 0 for row in rows])
        raise DataError(f"nothing to train on: no value for {mapping} in {empty}.")
    unused = [name for name in table.columns if name not in mapping.used]
    notes = [*table.notes, *reader.notes(noun)]
    return Rows(rows, unused=unused, skipped=errors.found, notes=notes)


def _mapped(
    items: Iterable[tuple[int, Any]], reader: Reader, errors: RowErrors, noun: str = ""
) -> Rows:
    rows = []
    for number, item in items:
        try:
            rows.append(reader.mapped(item, number))
        except LeftOutError:
            continue
        except RowError as error:
            errors.refuse(number, error)
    errors.raise_any(
        "Expected a pair, a list of turns, a text, a dict with known columns, or None.", len(rows)
    )
    if not rows:
        raise DataError(f"nothing to train on: --map left out all {reader.left_out} rows.")
    _refuse_empty(rows, reader)
    return Rows(rows, unused=reader.unused, skipped=errors.found, notes=reader.notes(errors.noun))


def _list(items: list[Any], columns: str | None, reader: Reader, errors: RowErrors) -> Rows:
    if not items:
        raise DataError(f"the data is empty: {EXPECTED}.")
    if columns is not None:
        raise DataError(
            f'--columns "{columns}": a list of {type(items[0]).__name__} has no columns.'
        )
    numbers = enumerate(items, start=1)
    if reader.function is not None:
        return _mapped(numbers, reader, errors)
    if all(isinstance(item, str) for item in items):
        return _texts(items, reader, errors)
    if any(map(_is_frame_part, items)):
        raise DataError(
            f"a list of {type(items[0]).__name__}: {EXPECTED}. Pass the frame itself, not a list."
        )
    rows = []
    first = _kind(items[0])
    for number, item in numbers:
        try:
            if (kind := _kind(item)) != first:
                raise RowError(f"{kind}, but row 1 is {first}", ONE_KIND)
            rows.append(reader.item(item, number))
        except RowError as error:
            errors.refuse(number, error)
    errors.raise_any(read=len(rows))
    _refuse_empty(rows, reader)
    return Rows(rows, unused=reader.unused, skipped=errors.found, notes=reader.notes(errors.noun))


def _kind(item: object) -> str:
    if isinstance(item, str):
        return "a text"
    if isinstance(item, Mapping):
        return "a dict"
    return "a conversation" if is_turns(item) else f"a {'Row' if isinstance(item, Row) else 'pair'}"


def _is_frame_part(item: object) -> bool:
    return type(item).__name__ in ("Series", "ChunkedArray", "DataFrame", "Table")


def _texts(items: list[str], reader: Reader, errors: RowErrors) -> Rows:
    """Texts, or lines with an arrow; a mixture is ambiguous."""
    sides = [arrow(item) if "\n" not in item else None for item in items]
    bare = not any(sides)
    if {item.lower() for item in items} <= {*usual(False), *usual(True)}:
        raise DataError(f"a list of columns' names ({listed(items)}): pass the frame itself.")
    rows = []
    for number, (item, pair) in enumerate(zip(items, sides, strict=True), start=1):
        try:
            if pair is None and not bare:
                errors.add(number, "no ' => ', but others have it")
            else:
                rows.append(reader.item(item if pair is None else pair, number))
        except RowError as error:
            errors.refuse(number, error)
    errors.raise_any("Pass (prompt, completion) pairs, or texts only.", len(rows))
    _refuse_empty(rows, reader)
    return Rows(rows, skipped=errors.found, notes=reader.notes(errors.noun))


def _refuse_empty(rows: Sequence[Row], reader: Reader) -> None:
    if all(map(reader.is_empty, rows)):
        count = f"all {len(rows)} rows are" if len(rows) > 1 else "the one row is"
        raise DataError(f"nothing to train on: {count} empty.")
