"""CSV as programs write it: the sign between the fields is found, whatever the file is called.

The standard library reads it, since a frame would make numbers of texts and nothing of "None", and
would not say on which line a fault is. Knows text; knows no rows and no model.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from .row import RowErrors
from .table import Numbered, Table, check_names

#: The signs that may be between fields, the likeliest first.
_SIGNS = ",\t;|"

#: Records by which the sign is found.
_TRIED = 50

#: Excel's first line.
_SEP = re.compile(r"\ufeff?\"?sep=(.)\"?[^\S\r\n]*(\r\n|\r|\n)", re.IGNORECASE)


def read_csv(name: str, text: str, errors: RowErrors, tabs: bool = False) -> Table:
    """The table in a file's text, with the lines of its records; `tabs` says what it is called.

    Lines of another width than the header's are added to `errors`.
    """
    first, said = 1, _SEP.match(text)
    if said:
        text, first = text[said.end() :], 2
    sign = said[1] if said else _sign(text, "\t" if tabs else ",")
    remedy = f"{name}: put quotes around a field that contains {sign!r}."
    header: list[str] = []
    records: list[Numbered] = []
    with _any_length():
        for line, cells in _lines(text, sign, first, errors, remedy):
            if not header:
                header = [cell.strip() or f"column {n}" for n, cell in enumerate(cells, start=1)]
                check_names(f"{name}: ", header)
            elif len(cells) != len(header):
                told = f"{len(cells)} fields, but the header has {len(header)}"
                errors.add(line, told, remedy)
            else:
                records.append((line, dict(zip(header, cells, strict=True))))
    hint = f"If line {first} is a row, add a line with the column names above it."
    return Table(tuple(header), lambda names: records, "line", errors, hint=hint)


def _lines(
    text: str, sign: str, first: int, errors: RowErrors, remedy: str
) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with its first line; what cannot be read becomes an error."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
    while True:
        line = first + reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            why = str(error)
            if "unexpected end" in why:
                why += ": a quote that opens here is never closed"
            errors.add(line, why, remedy)
            continue
        if len(cells) > 1 or any(cell.strip() for cell in cells):
            yield line, cells


def _sign(text: str, usual: str) -> str:
    """The sign by which the first records have the same number of fields, at least two."""

    def score(sign: str) -> tuple[float, bool, int]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign)
        widths = [len(cells) for cells in islice(reader, _TRIED) if cells]
        if not widths or widths[0] < 2:
            return 0.0, sign == usual, 0
        same = sum(width == widths[0] for width in widths) / len(widths)
        return same, sign == usual, widths[0]

    with _any_length():
        return max(usual + _SIGNS.replace(usual, ""), key=score)


@contextmanager
def _any_length() -> Iterator[None]:
    """No limit for a field: the library's is 128 kB, and the text is in memory already."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
