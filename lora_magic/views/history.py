"""The ledger's entries as a table, and the differences of two runs.

Knows entries as text and numbers; does not know how they were recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lora_magic import numbers
from lora_magic.checks import is_number, is_whole
from lora_magic.printable import one_line
from lora_magic.views.style import frame, heading
from lora_magic.views.style import line as one
from lora_magic.views.table import table
from lora_magic.views.text import plain_table, shortened

if TYPE_CHECKING:
    from lora_magic.state.history import Difference, History
    from lora_magic.state.ledger import Entry

#: The newest entries that are shown.
ROWS = 60
#: Characters of a hash, and of a result in plain text.
_HASH, _RESULT = 8, 88
_HEADER = ("Entry", "UTC", "Took", "Verb", "Adapter", "Data", "Result")


def bundle(record: History) -> dict[str, object]:
    """A history's MIME bundle: its line, and its newest entries, the oldest of them first."""
    if not record.entries:
        return {"text/plain": one_line(record.line), "text/html": str(frame(heading(record.line)))}
    shown = record.entries[-ROWS:]
    sessions = len({entry.session for entry in record.entries}) > 1
    rows = [_row(entry, sessions) for entry in shown]
    rest = len(record.entries) - len(shown)
    more = f"and {rest} earlier: .to_frame() has every row" if rest else ""
    page = frame(
        heading(record.line),
        table(
            f"The last {len(shown)} entries" if rest else "Entries",
            _HEADER,
            rows,
            left=len(_HEADER),
        ),
        one(more, muted=True) if more else "",
        label="History",
    )
    plain = [[*row[:-1], shortened(one_line(row[-1]), _RESULT)] for row in rows]
    lines = [
        one_line(record.line),
        plain_table(_HEADER, plain, left=len(_HEADER)),
        *([more] if more else []),
    ]
    return {"text/plain": "\n".join(lines), "text/html": str(page)}


def difference(record: Difference) -> dict[str, object]:
    """The MIME bundle of two runs' differences."""
    header = ("Part", "Field", *record.names)
    rows = [
        [part, key.replace("_", " "), *_pair(first, second)]
        for part, key, first, second in record.rows
    ]
    body = [table("What differs; equal fields are left out", header, rows, left=4)] if rows else []
    page = frame(heading(record.line), *body, label="Two runs")
    plain = [one_line(record.line), *([plain_table(header, rows, left=4)] if rows else [])]
    return {"text/plain": "\n".join(plain), "text/html": str(page)}


def _row(entry: Entry, sessions: bool) -> list[str]:
    data = ""
    if entry.data:
        rows = entry.data.get("rows")
        data = f"{numbers.count(rows)} rows · {str(entry.data.get('sha256'))[:_HASH]}"
    state = "" if entry.state == "done" else f"{entry.state}: "
    return [
        entry.id if sessions else str(entry.number),
        entry.when[:19].replace("T", " "),
        numbers.duration(entry.seconds),
        " · ".join(filter(None, (entry.verb, numbers.workers(entry.settings)))),
        entry.adapter or "",
        data,
        f"{state}{entry.result}",
    ]


def _pair(first: Any, second: Any) -> tuple[str, str]:
    """Two different values, with as many digits as it takes to see that they differ."""
    texts = _text(first), _text(second)
    return texts if texts[0] != texts[1] else (str(first), str(second))


def _text(value: Any) -> str:
    if value is None:
        return numbers.MISSING
    if isinstance(value, str):
        return value[:_HASH] if _is_hash(value) else value
    if is_number(value) and not is_whole(value):
        return f"{value:.4g}"
    return str(value)


def _is_hash(value: str) -> bool:
    return len(value) == 64 and set(value) <= set("0123456789abcdef")
