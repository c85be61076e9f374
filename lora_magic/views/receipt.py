"""What a changing verb prints: one line, more on demand. Knows text; not what was done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lora_magic.views import table as tables
from lora_magic.views.html import tag
from lora_magic.views.style import NOTE, details, frame
from lora_magic.views.style import line as one
from lora_magic.views.text import one_line

ROWS = 24
Facts = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Rows:
    """A table for a receipt: a caption, names of columns, rows of text.

    The first `left` columns stand to the left, the others to the right.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


def bundle(
    *,
    line: str,
    facts: Facts = (),
    table: Rows | None = None,
    more: str = "More",
    warning: bool = False,
) -> dict[str, object]:
    """A receipt's MIME bundle; the plain text is the line alone, as a terminal wants one a verb.

    A `warning` stands out and shows all it has.
    """
    rows = table.rows if table else ()
    rest = len(rows) - ROWS
    page = frame(
        tag("p", tag("strong", line), style=NOTE) if warning else one(line),
        details(
            more,
            tables.facts_table("Facts", facts),
            tables.table(table.caption, table.header, rows[:ROWS], table.left)
            if table and rows
            else "",
            one(f"and {rest} more", muted=True) if rest > 0 else "",
            opened=warning,
        ),
        label="Receipt",
    )
    return {"text/plain": one_line(line), "text/html": str(page)}
