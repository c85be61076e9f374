"""A receipt: one line, with details on demand. Also the reports of a merge and of a check.

Knows text and numbers; does not know what was done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views import table as tables
from lora_magic.views.html import tag
from lora_magic.views.style import NOTE, details, frame
from lora_magic.views.style import line as one
from lora_magic.views.text import shortened

if TYPE_CHECKING:
    from lora_magic.adapters.merge import MergeReport
    from lora_magic.base.fingerprint import Verification

ROWS = 24
_CHANGED = 8
Facts = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Rows:
    """A table for a receipt: a caption, names of columns, rows of text.

    The first `left` columns are left-aligned, the others right-aligned.
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
    shown: Sequence[str] = (),
    more: str = "More",
    warning: bool = False,
) -> dict[str, object]:
    """A receipt's MIME bundle; the plain text is the line alone, for a terminal.

    `shown` is what a page has below the line; a `warning` is highlighted and shows its details.
    """
    rows = table.rows if table else ()
    rest = len(rows) - ROWS
    page = frame(
        tag("p", tag("strong", line), style=NOTE) if warning else one(line),
        *shown,
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


def merge(report: MergeReport) -> dict[str, object]:
    """A merge's MIME bundle: what it did to each module, and what rounding lost of ΔW."""
    rows = tuple(
        (row.module, numbers.figures(row.relative_change), numbers.percent(row.lost_to_rounding))
        for row in report.modules
    )
    header = ("Module", "Relative change |ΔW|/|W|", "Lost to rounding")
    return bundle(
        line=report.line,
        facts=[
            ("largest logit difference on a probe", numbers.figures(report.logit_difference)),
            ("time", numbers.duration(report.seconds)),
            ("extra bytes while merged", numbers.count(report.extra_bytes)),
        ],
        table=Rows(f"{len(rows)} merged modules", header, rows),
        more="What the merge did",
    )


def verification(found: Verification) -> dict[str, object]:
    """A check's MIME bundle; tensors that changed are named, in plain text the first eight."""
    names = [one_line(name) for name in found.changed]
    made = bundle(
        line=found.line,
        facts=[("time", numbers.duration(found.seconds))],
        table=Rows(f"{len(names)} changed tensors", ("Tensor",), tuple((n,) for n in names)),
        more="What was compared",
        warning=bool(names),
    )
    named = [f"  {shortened(name, 100)}" for name in names[:_CHANGED]]
    rest = len(names) - len(named)
    named += [f"  and {rest} more"] if rest else []
    return {**made, "text/plain": "\n".join([one_line(found.line), *named])}
