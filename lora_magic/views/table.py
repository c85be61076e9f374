"""HTML tables with a caption and scopes. Knows cells as text; does not know where they come from.

`align` is an attribute because GitHub drops styles; `text-align` is given to the left cells
alone, since JupyterLab's own sheet sets cells to the right.
"""

from __future__ import annotations

from collections.abc import Sequence

from lora_magic.views.html import Markup, joined, tag
from lora_magic.views.style import MUTED

_TABLE = (
    "margin:.25rem 0;table-layout:auto;border-collapse:collapse;border:none;"
    "font-size:.875em;font-variant-numeric:tabular-nums"
)
_LEFT = "text-align:left"
# Pixels. A page's own sheet gives room to the tables of its outputs, and not to those of its
# controls; as an attribute of the table it is written once.
_ROOM = 5
_CAPTION = f"text-align:left;caption-side:top;padding:.25rem 0;font-size:1em;{MUTED}"


def table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1
) -> Markup:
    """The first cell of each row names the row; the first `left` columns stand to the left."""
    head = tag("tr", *(_cell("th", name, i < left, "col") for i, name in enumerate(header)))
    body = [
        tag(
            "tr",
            *(
                _cell("th" if i == 0 else "td", cell, i < left, "row" if i == 0 else None)
                for i, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    return tag(
        "table",
        tag("caption", caption, style=_CAPTION),
        tag("thead", head),
        tag("tbody", *body),
        style=_TABLE,
        cellpadding=_ROOM,
    )


def facts_table(caption: str, facts: Sequence[tuple[str, str]]) -> Markup:
    """Two columns: what, and how much; nothing for no facts."""
    if not facts:
        return Markup("")
    rows = joined(
        tag("tr", _cell("th", name, True, "row"), _cell("td", value, True)) for name, value in facts
    )
    return tag(
        "table",
        tag("caption", caption, style=_CAPTION),
        tag("tbody", rows),
        style=_TABLE,
        cellpadding=_ROOM,
    )


def _cell(kind: str, content: str, left: bool, scope: str | None = None) -> Markup:
    light = ";font-weight:inherit;white-space:nowrap" if scope == "row" else ""
    style = f"{_LEFT}{light}" if left else None
    return tag(kind, content, scope=scope, align=None if left else "right", style=style)
