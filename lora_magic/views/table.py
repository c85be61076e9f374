"""HTML tables with a caption and scopes. Knows cells as text; does not know where they come from.

`align` is an attribute because GitHub drops styles; only left-aligned cells need `text-align`,
since JupyterLab's style sheet aligns cells to the right.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar
from urllib.parse import quote

from lora_magic.printable import one_line
from lora_magic.views.html import Markup, joined, tag
from lora_magic.views.style import MUTED

#: With more adapters than `MANY` the base is repeated before every `ROW` of them, so that it stays
#: in view; base and `ROW` adapters fill the width of a page.
MANY, ROW = 4, 3
Column = TypeVar("Column")

_TABLE = (
    "margin:.25rem 0;table-layout:auto;border-collapse:collapse;border:none;"
    "font-size:.875em;font-variant-numeric:tabular-nums"
)
_LEFT = "text-align:left"
# Characters of a cell that is not broken into lines, such as a date or a duration.
_BRIEF = 20
# Pixels. JupyterLab's style sheet pads the tables of outputs, but not those of controls; one
# attribute of the table covers all its cells.
_ROOM = 5
_CAPTION = f"text-align:left;caption-side:top;padding:.25rem 0;font-size:1em;{MUTED}"


#: Puts a button above the table, where scripts run: it selects the rows and copies them, as a
#: table for a spreadsheet. No dollar and no backslash, which would start a formula.
COPY = Markup(
    "<script>(s=>{if(!s)return;const t=s.previousElementSibling,"
    "b=document.createElement('button');b.textContent='Copy table';b.style='color:inherit;"
    "background:none;border:1px solid;border-radius:3px;padding:3px 8px;min-height:24px;"
    "font-size:.8em;cursor:pointer';b.onclick=()=>{const r=document.createRange(),"
    "g=getSelection();r.setStartBefore(t.tHead);r.setEndAfter(t.tBodies[0]);"
    "g.removeAllRanges();g.addRange(r);document.execCommand('copy')};t.before(b);s.remove()})"
    "(document.currentScript)</script>"
)

#: A button's look, and what it does: it copies the text in its own `data-tsv`.
_BUTTON = (
    "color:inherit;background:none;border:1px solid;border-radius:3px;padding:3px 8px;"
    "min-height:24px;font-size:.8em;cursor:pointer"
)
_COPIES = (
    "(b=>{document.addEventListener('copy',e=>{e.clipboardData.setData('text/plain',"
    "decodeURIComponent(b.dataset.tsv));e.preventDefault();e.stopImmediatePropagation();"
    "b.textContent='Copied as TSV'},{once:true,capture:true});document.execCommand('copy')})"
)

#: The script that makes a button in its own place.
MADE = Markup(
    "(s=>{if(!s)return;const b=document.createElement('button');b.textContent='Copy table';"
    f"b.title='as TSV';b.dataset.tsv=s.dataset.tsv;b.style='{_BUTTON}';b.onclick=()=>{_COPIES}(b);"
    "s.replaceWith(b)})(document.currentScript)"
)


def copying(rows: Iterable[Sequence[str]], *, inside: bool = False) -> Markup:
    """A button that copies these rows, as tab-separated values, where scripts run.

    `inside` a control no <script> runs, but everything that is shown there was made by a script: an
    attribute works. In any other output the script makes the button, or it would be there where it
    cannot work.
    """
    # Quoted, since a tab is a control character, and a dollar or a backslash starts a formula.
    tsv = quote("\n".join("\t".join(map(one_line, row)) for row in rows), safe=" ,:+")
    if inside:
        more = {"title": "as TSV", "data_tsv": tsv, "onclick": f"{_COPIES}(this)"}
        return tag("button", "Copy table", type="button", style=_BUTTON, **more)
    return tag("script", MADE, data_tsv=tsv)


def table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    left: int = 1,
    copy: Markup = COPY,
) -> Markup:
    """A table with a button that copies it; the first `left` columns are left-aligned.

    The first cell of each row names the row. `copy` is another button.
    """
    head = tag("tr", *(_cell("th", name, i < left, "col") for i, name in enumerate(header)))
    body = [
        tag(
            "tr",
            _cell("th", row[0], left > 0, "row"),
            *(_cell("td", cell, i < left) for i, cell in enumerate(row[1:], start=1)),
        )
        for row in rows
    ]
    return joined([_table(caption, tag("thead", head), tag("tbody", *body)), copy])


def facts_table(caption: str, facts: Sequence[tuple[str, str]]) -> Markup:
    """Two columns, name and value; empty if there are no facts."""
    if not facts:
        return Markup("")
    rows = (
        tag("tr", _cell("th", name, True, "row"), _cell("td", value, True)) for name, value in facts
    )
    return _table(caption, tag("tbody", *rows))


def rows_of(columns: Sequence[Column]) -> list[list[Column]]:
    """The base's column and the adapters': in one row, or if there are many, in several rows that
    each begin with the base's."""
    base, *others = columns
    if len(others) <= MANY:
        return [[*columns]]
    return [[base, *others[at : at + ROW]] for at in range(0, len(others), ROW)]


def _table(caption: str, *parts: Markup) -> Markup:
    named = tag("caption", caption, style=_CAPTION)
    return tag("table", named, *parts, style=_TABLE, cellpadding=_ROOM)


def _cell(kind: str, content: str, left: bool, scope: str | None = None) -> Markup:
    light = ";font-weight:inherit" if scope == "row" else ""
    whole = ";white-space:nowrap" if scope == "row" or len(content) <= _BRIEF else ""
    style = f"{_LEFT}{light}{whole}" if left else None
    return tag(kind, content, scope=scope, align=None if left else "right", style=style)
