"""The report of a merge: one line, facts, and what each module lost to rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lora_magic.views import numbers, receipt

_HEADER = ("Module", "Relative change |ΔW|/|W|", "Lost to rounding")


def bundle(
    *, line: str, facts: receipt.Facts, rows: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """A merge's MIME bundle; `rows`: module, relative_change, lost_to_rounding (share of ΔW)."""
    cells = tuple(
        (
            str(row["module"]),
            numbers.figures(row["relative_change"]),
            numbers.percent(row["lost_to_rounding"]),
        )
        for row in rows
    )
    caption = f"{len(rows)} merged modules"
    table = receipt.Rows(caption, _HEADER, cells) if cells else None
    return receipt.bundle(line=line, facts=facts, table=table, more="What the merge did")
