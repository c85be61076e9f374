"""Data files: from a path to named records or text, with line numbers.

Knows CSV, TSV, JSON Lines, JSON and Parquet; knows no rows, no model and not what columns mean.
pandas reads Parquet, the standard library the others.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic import reading
from lora_magic.errors import CommandError, DataError, listed, near
from lora_magic.numbers import size

from .records import Record, objects, parsed, why_not_json
from .row import RowErrors

ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".txt": "text",
}

#: Values of `--format` for a file; "text" and "arrow" read it as a cell's body.
FILE_FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "arrow", "text")


@dataclass(frozen=True)
class Table:
    """Named records, each with its number; `noun` says what the numbers count."""

    columns: tuple[str, ...]
    records: tuple[tuple[int, Record], ...]
    noun: str = "row"

    @classmethod
    def of(cls, records: Sequence[tuple[int, Record]], noun: str = "row") -> Table:
        """A table of records, with every column that any of them has."""
        columns = dict.fromkeys(str(key) for _, record in records for key in record)
        return cls(tuple(columns), tuple(records), noun)


def read_file(path: Path, format: str | None = None) -> Table | str:
    """The table in a file, or its text if the format is that of a cell's body.

    The format is `format`, else that of the file's ending. Raises `DataError` for a missing file,
    an unknown ending, and content that cannot be read, with its line; `CommandError` for an unknown
    format.
    """
    if format is not None and format not in FILE_FORMATS:
        raise CommandError(
            f"--format {format}: expected one of {', '.join(FILE_FORMATS)}."
            f"{near(format, FILE_FORMATS)}"
        )
    _check(path)
    kind = format or ENDINGS.get(path.suffix.lower())
    if kind is None:
        raise DataError(
            f"{path.name}: unknown ending {path.suffix or '(none)'!r}, expected "
            f"{', '.join(ENDINGS)}; add --format {'|'.join(FILE_FORMATS)}."
        )
    if kind == "parquet":
        return _parquet(path)
    text = _text(path)
    if kind in ("arrow", "text"):
        return text
    if not text.strip():
        raise DataError(f"{path.name} is empty.")
    if kind in ("csv", "tsv"):
        return _csv(path, text, kind)
    return _json(path, text) if kind == "json" else _json_lines(path, text)


def _check(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path} is a folder, expected a file; it contains {listed(_files(path))}.")
    if not path.exists():
        if path.is_symlink():
            raise DataError(f"{path} is a link to no file. Type --data PATH or --data VAR")
        folder = path.parent if path.parent.is_dir() else Path()
        others = _files(folder)
        hint = near(path.name, others) or (
            f" {folder.resolve().name}/ contains {listed(others)}." if others else ""
        )
        raise DataError(f"no file {str(path)!r}.{hint} Type --data PATH or --data VAR")
    try:
        found, free = reading.bytes_of(path), reading.free_memory()
    except reading.UnreadableError as error:
        raise DataError(f"{path.name}: {error}. Type --data PATH or --data VAR") from None
    if free is not None and found > free:
        raise DataError(
            f"{path.name} has {size(found)}, expected at most the {size(free)} of free memory; "
            "read a part of it into a frame and pass that."
        )


def _files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix.lower() in ENDINGS)


def _text(path: Path) -> str:
    try:
        return reading.read_text(path)
    except reading.UnreadableError as error:
        encode = "save it as UTF-8, or " if "UTF-8" in str(error) else ""
        raise DataError(
            f"{path.name}: {error}; {encode}read it into a frame and pass that."
        ) from None


def _csv(path: Path, text: str, kind: str) -> Table:
    header_line = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = "\t" if kind == "tsv" else ","
    if kind == "csv" and "," not in header_line and ";" in header_line:
        delimiter = ";"  # Spreadsheets write this where the decimal sign is a comma.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    errors, records = RowErrors(), []
    header: list[str] = []
    start = 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not any(cell.strip() for cell in cells) and len(cells) < 2:
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                _check_names(f"{path.name}: ", header)
            elif len(cells) != len(header):
                errors.add(line, f"{len(cells)} fields, but the header has {len(header)}")
            else:
                records.append((line, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        errors.add(start, f"{error}")
    errors.raise_any(f"{path.name}: put quotes around a field that contains {delimiter!r}.")
    return Table(tuple(header), tuple(records), "line")


def _check_names(where: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{where}two columns are named {listed(map(repr, twice))}; rename one.")


def _json_lines(path: Path, text: str) -> Table:
    errors = RowErrors()
    # Not splitlines: it also splits at U+2028, which JSON strings may contain.
    lines = enumerate(text.replace("\r\n", "\n").split("\n"), start=1)
    records = list(objects(parsed(lines, errors), errors))
    errors.raise_any(f"{path.name}: each line must be one JSON object.")
    return Table.of(records, "line")


def _json(path: Path, text: str) -> Table:
    try:
        data: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path.name}, line {error.lineno}: not JSON ({error.msg} at column {error.colno}); "
            "for one object per line use the ending .jsonl or --format jsonl."
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path.name}: not JSON ({why_not_json(error)}); expected a list of objects."
        ) from None
    if not isinstance(data, list):
        raise DataError(f"{path.name}: expected a list of objects, got one {type(data).__name__}.")
    errors = RowErrors("item")
    records = list(objects(enumerate(data, start=1), errors))
    errors.raise_any(f"{path.name}: expected a list of objects.")
    return Table.of(records, "item")


def _parquet(path: Path) -> Table:
    try:
        import pandas

        frame = pandas.read_parquet(path)
    except ImportError:
        raise DataError(
            f"{path.name}: reading Parquet needs pandas and pyarrow; "
            "type: %pip install pandas pyarrow"
        ) from None
    except Exception as error:  # noqa: BLE001 - each engine has its own errors for a bad file
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path.name}: not a readable Parquet file ({why})") from None
    return frame_table(frame)


def frame_table(frame: Any) -> Table:
    """A pandas DataFrame as a table; rows are numbered from 1."""
    columns = tuple(str(column) for column in frame.columns)
    _check_names("", columns)
    values = zip(*(frame.iloc[:, index] for index in range(len(columns))), strict=True)
    records = tuple(
        (number, dict(zip(columns, cells, strict=True)))
        for number, cells in enumerate(values, start=1)
    )
    return Table(columns, records)
