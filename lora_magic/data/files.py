"""Data files: from a path to a table, a list or text, with line numbers.

Knows CSV, JSON Lines, JSON, Parquet and text, each packed by gzip or not; knows no rows, no model
and not what columns mean. pyarrow reads Parquet, or else pandas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_magic import reading
from lora_magic.errors import CommandError, DataError, listed, near
from lora_magic.numbers import size

from . import FILE_FORMATS
from .csv_file import read_csv
from .records import objects, parsed
from .row import RowErrors
from .shapes import candidates
from .table import Table
from .turns import is_turns, why_not_json

ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".txt": "text",
}

_GZIP = b"\x1f\x8b"
_PACKED = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

#: The byte order marks of encodings other than UTF-8; one of UTF-32's begins like UTF-16's.
_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def read_file(
    path: Path, format: str | None = None, skip: bool | None = None
) -> Table | list[Any] | str:
    """The table or list in a file, or its text if the format is that of a cell's body.

    The format is `format`, else that of the file's ending, before `.gz`. With `skip` the lines that
    cannot be read are left in the table's errors. Raises `DataError` for a missing file, an unknown
    ending, and content that cannot be read, with its line; `CommandError` for an unknown format.
    """
    if format is not None and format not in FILE_FORMATS:
        raise CommandError(
            f"--format {format}: expected one of {', '.join(FILE_FORMATS)}."
            f"{near(format, FILE_FORMATS)}"
        )
    _check(path)
    ending = path.suffix.lower()
    if ending == ".gz":
        ending = Path(path.stem).suffix.lower()
    kind = format or ENDINGS.get(ending)
    if kind is None:
        raise DataError(
            f"{path.name}: unknown ending {path.suffix or '(none)'!r}, expected "
            f"{', '.join(ENDINGS)}, also with .gz; add --format {'|'.join(FILE_FORMATS)}, or read "
            "it into a frame and pass that."
        )
    if kind == "parquet":
        return _parquet(path)
    text = _text(path)
    if not text.strip():
        raise DataError(f"{path.name} is empty.")
    if kind == "text" and format is None and _has_header(text):
        kind = "csv"
    if kind in ("arrow", "text"):
        return text
    errors = RowErrors(skip=skip)
    if kind in ("csv", "tsv"):
        return read_csv(path.name, text, errors, tabs=kind == "tsv")
    begins_list = text.lstrip().startswith("[")
    if kind == "json" or begins_list:
        return _json(path, text, errors)
    return _json_lines(path, text, errors)


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
    names = (p.name for p in folder.iterdir())
    return sorted(n for n in names if Path(n.lower().removesuffix(".gz")).suffix in ENDINGS)


def _text(path: Path) -> str:
    try:
        raw = reading.read_bytes(path)
        raw = reading.unpacked(raw) if raw.startswith(_GZIP) else raw
        packed = next((what for mark, what in _PACKED.items() if raw.startswith(mark)), None)
    except reading.UnreadableError as error:
        raise DataError(f"{path.name}: {error}; read it into a frame and pass that.") from None
    if packed:
        raise DataError(f"{path.name} is packed by {packed}: unpack it, or pack it by gzip.")
    encoding = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), "utf-8-sig")
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: {_not_text(raw, encoding, error)}") from None


def _has_header(text: str) -> bool:
    """Whether a file of text is a table: its first line has the names of known columns."""
    first = text.lstrip("\r\n").partition("\n")[0]
    for sign in ",\t;|":
        columns = [name.strip(' \r"') for name in first.split(sign)]
        if len(columns) > 1 and any(candidates(columns, labelled) for labelled in (False, True)):
            return True
    return False


def _not_text(raw: bytes, encoding: str, error: UnicodeDecodeError) -> str:
    """Why bytes are not text, and how to read them: the person can see whether it is Windows'."""
    if encoding != "utf-8-sig":
        return f"its first bytes say {encoding.upper()}, but it is not; save it as UTF-8."
    at = error.start
    line = raw.count(b"\n", 0, at) + 1
    start, end = raw.rfind(b"\n", 0, at) + 1, raw.find(b"\n", at)
    around = raw[max(start, at - 20) : min(end if end >= 0 else len(raw), at + 20)]
    seen = around.decode("cp1252", errors="replace").strip()
    told = f"line {line} is not UTF-8 (byte 0x{raw[at]:02x})"
    if raw.count(0, 0, 1000) > 100:
        return f"{told} but perhaps UTF-16 without its mark; save it as UTF-8."
    return (
        f"{told}. If {seen!r} is right, it is Windows-1252: read it into a frame "
        '(frame = pandas.read_csv(…, encoding="cp1252")) and pass that, or save it as UTF-8. '
        "If not, do the same with its own encoding."
    )


def _json_lines(path: Path, text: str, errors: RowErrors) -> Table:
    # Not splitlines: it also splits at U+2028, which JSON strings may contain.
    lines = enumerate(text.replace("\r\n", "\n").split("\n"), start=1)
    before = len(errors.found)
    records = list(objects(parsed(lines, errors), errors))
    if len(errors.found) > before:
        errors.remedies[f"{path.name}: each line must be one JSON object."] = None
    return Table.of(records, "line", errors)


def _json(path: Path, text: str, errors: RowErrors) -> Table | list[Any]:
    try:
        data: Any = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return _json_lines(path, text, errors)  # one object per line, whatever the ending
        raise DataError(
            f"{path.name}, line {error.lineno}: not JSON ({error.msg} at column {error.colno}); "
            "for one object per line use the ending .jsonl or --format jsonl."
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path.name}: not JSON ({why_not_json(error)}); expected a list of objects."
        ) from None
    if isinstance(data, Mapping):
        return _wrapped(path, data, errors)
    if not isinstance(data, list):
        raise DataError(f"{path.name}: expected a list of objects, got one {type(data).__name__}.")
    return _items(data, errors)


def _items(data: list[Any], errors: RowErrors) -> Table | list[Any]:
    """Objects as a table; pairs, texts or lists of turns as they are."""
    errors.noun = "item"
    if not any(isinstance(item, Mapping) for item in data):
        return data
    before = len(errors.found)
    records = list(objects(enumerate(data, start=1), errors))
    if len(errors.found) > before:
        errors.remedies["Expected a list of objects."] = None
    return Table.of(records, "item", errors)


def _wrapped(path: Path, data: Mapping[str, Any], errors: RowErrors) -> Table | list[Any]:
    """An object around the rows: one key has the list of objects, or each key is a column.

    A frame's `to_json` writes columns as objects by index, or as `columns` and `data`.
    """
    if _is_row(data):
        return Table.of([(1, data)], "item", errors)
    held = {key: value for key, value in data.items() if isinstance(value, list) and value}
    rows = [key for key, value in held.items() if all(isinstance(i, Mapping) for i in value)]
    if len(rows) == 1:
        return _items(list(data[rows[0]]), errors)
    if not rows and {"columns", "data"} <= {*held}:
        names = [str(name) for name in held["columns"]]
        if all(isinstance(row, list) and len(row) == len(names) for row in held["data"]):
            rows_of = [dict(zip(names, row, strict=True)) for row in held["data"]]
            return Table.of(list(enumerate(rows_of, start=1)), "item", errors)
    columns = {
        key: list(value.values()) if isinstance(value, Mapping) else value
        for key, value in data.items()
    }
    lists = all(isinstance(value, list) for value in columns.values())
    if lists and len({len(value) for value in columns.values()}) == 1 and not rows:
        return Table.by_column([*columns], [*columns.values()].__getitem__, "item")
    what = f"lists of objects under {listed(rows)}" if rows else f"the keys {listed(data)}"
    raise DataError(
        f"{path.name}: expected a list of objects, got one dict with {what}. "
        "Read it into a list of rows and pass that."
    )


def _is_row(data: Mapping[str, Any]) -> bool:
    """Whether an object is one row: its texts or turns make a shape."""
    for mapping in (found for labelled in (False, True) for found in candidates(data, labelled)):
        cells = [data[name] for name in mapping.required]
        turns = [cell for cell in cells if isinstance(cell, list) and cell and is_turns(cell)]
        named = all({"role", "from"} & {*cell[0]} for cell in turns)
        if named and all(
            isinstance(cell, str | int | float) for cell in cells if cell not in turns
        ):
            return True
    return False


def _parquet(path: Path) -> Table:
    try:
        from pyarrow import parquet
    except ImportError:
        return _by_pandas(path)

    def cells(place: int) -> list[Any]:
        try:
            with parquet.ParquetFile(path) as file:
                # A name with a dot in it would be taken for a path into a structure.
                return list(file.read([columns[place]]).column(0).to_pylist())
        except Exception as error:  # noqa: BLE001 - a bad file raises one of several errors
            raise _bad_parquet(path, error) from None

    try:
        with parquet.ParquetFile(path) as file:
            columns = file.schema_arrow.names
    except Exception as error:  # noqa: BLE001 - as above
        raise _bad_parquet(path, error) from None
    return Table.by_column(columns, cells)


def _by_pandas(path: Path) -> Table:
    try:
        import pandas

        return frame_table(pandas.read_parquet(path))
    except ImportError:
        raise DataError(
            f"{path.name}: reading Parquet needs pandas and pyarrow; "
            "type: %pip install pandas pyarrow"
        ) from None
    except Exception as error:  # noqa: BLE001 - each engine has its own errors for a bad file
        raise _bad_parquet(path, error) from None


def _bad_parquet(path: Path, error: Exception) -> DataError:
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(f"{path.name}: not a readable Parquet file ({why})")


def frame_table(frame: Any) -> Table:
    """A pandas DataFrame as a table; rows are numbered from 1."""
    table = Table.by_column([*frame.columns], lambda place: frame.iloc[:, place].tolist())
    index = [str(name) for name in frame.index.names if name is not None]
    hint = f"Its index is {listed(index)}: pass frame.reset_index() to read that, too."
    return replace(table, hint=hint) if index else table
