"""The answers to a column: one line, and a table of the first rows.

Knows cells; does not know how they were made.
"""

from __future__ import annotations

from collections.abc import Sequence

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views.html import tag
from lora_magic.views.style import code, frame
from lora_magic.views.style import line as one
from lora_magic.views.table import table
from lora_magic.views.text import plain_table, shortened

#: Rows that are shown, and the characters of one cell.
SHOWN, WIDE, NARROW = 10, 240, 40


def bundle(
    *, line: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> dict[str, object]:
    """The MIME bundle of a table's first rows; the rest is counted.

    The second column, the adapter's name, is in the line, and is not repeated in every row.
    """
    header = ["row", columns[0], *columns[2:]]
    more = len(rows) - SHOWN
    rest = f"{more:,} more row{'s' if more > 1 else ''} in " if more > 0 else "All columns in "
    wide = [_cells(number, row, WIDE) for number, row in enumerate(rows[:SHOWN], start=1)]
    narrow = [_cells(number, row, NARROW) for number, row in enumerate(rows[:SHOWN], start=1)]
    page = frame(
        one(tag("strong", line)),
        table("The first answers" if more > 0 else "The answers", header, wide, left=len(header)),
        one(rest, code(".to_frame()"), muted=True),
        label="Answers to a column",
    )
    plain = [one_line(line), plain_table(header, narrow, left=3), f"{rest}.to_frame()"]
    return {"text/plain": "\n".join(plain), "text/html": str(page)}


def _cells(number: int, row: Sequence[object], limit: int) -> list[str]:
    return [str(number), *(_cell(value, limit) for value in (row[0], *row[2:]))]


def _cell(value: object, limit: int) -> str:
    """A value as text: none is a dash, a share a percentage."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return numbers.percent(value)
    return shortened(one_line(str(value)), limit)
