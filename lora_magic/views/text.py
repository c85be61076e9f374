"""Plain-text tables, and text cut to a width.

Knows how wide characters are in a terminal; does not know HTML.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from lora_magic.printable import one_line


def width(value: str) -> int:
    """Columns of `value` in a terminal: two for a wide character, none for a combining mark."""
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in value
    )


def shortened(value: str, limit: int) -> str:
    """`value`, its middle left out if it is longer than `limit` characters."""
    if len(value) <= limit:
        return value
    head = (limit - 1) // 2
    return f"{value[:head]}…{value[len(value) - (limit - 1 - head) :]}"


def plain_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, indent: str = ""
) -> str:
    """Columns aligned with spaces: the first `left` columns to the left, the others to the right.

    An empty header (all names empty) is omitted.
    """
    cells = [[one_line(cell) for cell in row] for row in [header, *rows]]
    if not any(cells[0]):
        cells = cells[1:]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    return "\n".join(indent + _plain_row(row, widths, left).rstrip() for row in cells)


def _plain_row(row: Sequence[str], widths: Sequence[int], left: int) -> str:
    padded = []
    for place, (cell, wide) in enumerate(zip(row, widths, strict=True)):
        space = " " * (wide - width(cell))
        padded.append(cell + space if place < left else space + cell)
    return "  ".join(padded)
