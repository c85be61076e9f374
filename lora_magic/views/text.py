"""Text that is safe to print: control characters made visible, and plain-text tables.

Knows what a terminal does with characters; does not know HTML.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

# A model's answer may contain these. ESC and the like control a terminal; the bidirectional
# controls make text read in another order than it is stored; surrogates cannot be written as UTF-8.
_BIDI = frozenset([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
_SEPARATORS = frozenset([0x2028, 0x2029, 0x85])


def clean(value: str) -> str:
    """`value` with every control character made visible; newlines and tabs stay.

    ESC becomes ␛, a right-to-left override becomes the seven characters <U+202E>.
    """
    unified = value.replace("\r\n", "\n")
    return "".join(map(_shown, unified)) if not unified.isascii() or _controls(unified) else unified


def one_line(value: str) -> str:
    """`clean`, with each run of white space as one space."""
    return " ".join(clean(value).split())


def _controls(value: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in value)


def _shown(character: str) -> str:
    code = ord(character)
    if character in "\n\t":
        return character
    if code in _SEPARATORS:
        return "\n"
    if code < 32:
        return chr(0x2400 + code)
    if code == 127:
        return "␡"
    noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    if code in _BIDI or noncharacter or unicodedata.category(character) in {"Cc", "Cs"}:
        return f"<U+{code:04X}>"
    return character


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
