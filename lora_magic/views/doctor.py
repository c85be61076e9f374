"""The examination of an installation as tables: one part each, with what to install or type.

Knows findings as text; does not know how they were found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_magic.printable import one_line
from lora_magic.views.html import escaped
from lora_magic.views.style import frame, heading
from lora_magic.views.table import table
from lora_magic.views.text import plain_table

if TYPE_CHECKING:
    from lora_magic.state.doctor import Examination

_MARKS = {"ok": "✓", "note": "!", "problem": "✗", "not tried": "–"}


def bundle(examination: Examination) -> dict[str, object]:
    """An examination's MIME bundle: its line, then a table for each part."""
    plain, tables = [one_line(examination.line)], []
    for part in dict.fromkeys(f.part for f in examination.findings):
        rows: list[tuple[str, ...]] = [
            (f.check, f"{_MARKS.get(f.state, '?')} {f.state}", f.found, f.advice)
            for f in examination.findings
            if f.part == part
        ]
        plain += [one_line(part), _plain(rows)]
        header: tuple[str, ...] = ("Check", "State", "Found", "What to do")
        if not any(row[3] for row in rows):
            header, rows = header[:3], [row[:3] for row in rows]
        tables.append(table(part.capitalize(), header, rows, left=len(header)))
    page = frame(heading(examination.line), *map(escaped, tables), label="Doctor")
    return {"text/plain": "\n".join(plain), "text/html": str(page)}


def _plain(rows: list[tuple[str, ...]]) -> str:
    """The rows, each with its advice in a line below."""
    lines = plain_table(("",) * 3, [row[:3] for row in rows], 3, indent="  ").split("\n")
    return "\n".join(
        line if not row[3] else f"{line}\n      → {one_line(row[3])}"
        for line, row in zip(lines, rows, strict=True)
    )
