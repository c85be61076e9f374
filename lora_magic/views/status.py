"""What a bare %lora shows: what is loaded, attached, active and merged, and the next thing to type.

Knows a `Status`; does not know the session.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_magic.printable import one_line
from lora_magic.views.html import Markup, escaped, joined, tag
from lora_magic.views.style import LINE, MUTED, SMALL, code, frame, heading
from lora_magic.views.text import plain_table

if TYPE_CHECKING:
    from lora_magic.state.status import Status

_CELL = "text-align:left;vertical-align:top;padding:.2em .8em .2em 0"
_NAME = f"{_CELL};font-weight:inherit;{MUTED}"
_PLAIN_ROW = "background:none"
_CAPTION = f"text-align:left;caption-side:top;padding:0;{SMALL};{MUTED}"
_TABLE = "margin:0;table-layout:auto;border-collapse:collapse;border:none;font-size:1em"


def bundle(status: Status) -> dict[str, object]:
    """A status's MIME bundle; without a base, the commands to type."""
    commands = [*map(_split, status.next_commands), *map(_found, status.found)]
    if status.base_line is None:
        return _nothing(status.line, commands)
    page = frame(_table(status, status.base_line, commands), label="Session")
    return {"text/plain": _plain(status, status.base_line, commands), "text/html": str(page)}


def _nothing(first: str, commands: Sequence[tuple[str, str]]) -> dict[str, object]:
    plain = [one_line(first)]
    if commands:
        plain.append(plain_table(("", ""), commands, left=2, indent="  "))
    lines = [
        tag("p", code(command), "  ", _reason(reason), style=f"{LINE};margin-left:1rem")
        for command, reason in commands
    ]
    page = frame(heading(first), *lines, label="Session")
    return {"text/plain": "\n".join(plain), "text/html": str(page)}


def _table(status: Status, base: str, commands: Sequence[tuple[str, str]]) -> Markup:
    adapters = status.rows
    body = [_row("base", _cell(base))]
    for place, adapter in enumerate(adapters):
        body.append(_row("" if place else "adapters", *_adapter(*adapter)))
    if not adapters:
        body.append(_row("adapters", _cell("none")))
    body.append(_row("merged", _cell(status.merged or "none")))
    body += [_row("rows", _cell(", ".join(status.kept)))] if status.kept else []
    body += [_row("serving", _cell(status.serving))] if status.serving else []
    for place, line in enumerate(status.resumable):
        body.append(_row("" if place else "resumable", _cell(line)))
    if commands:
        lines = [joined([code(typed), "  ", _reason(why), tag("br")]) for typed, why in commands]
        body.append(_row("next", _cell(*lines)))
    marks = "; ● is the active adapter" if any(active for *_, active in adapters) else ""
    return tag(
        "table",
        tag("caption", f"Session on {status.machine}{marks}", style=_CAPTION),
        tag("tbody", *body),
        style=_TABLE,
    )


def _row(name: str, *cells: Markup) -> Markup:
    """A row of the table; one without a name continues the row above."""
    if not name:
        return tag("tr", tag("td", style=_NAME), *cells, style=_PLAIN_ROW)
    return tag("tr", tag("th", name, scope="row", style=_NAME), *cells, style=_PLAIN_ROW)


def _cell(*children: str) -> Markup:
    """A cell that takes the whole width."""
    return tag("td", *children, colspan=3, style=_CELL)


def _adapter(name: str, spec: str, state: str, active: bool) -> list[Markup]:
    mark = tag("span", "● " if active else "○ ", aria_hidden="true")
    said = tag("strong", name, title="active") if active else escaped(name)
    return [tag("td", child, style=_CELL) for child in (joined([mark, said]), spec, state)]


def _plain(status: Status, base: str, commands: Sequence[tuple[str, str]]) -> str:
    adapters = status.rows
    table = plain_table(("", "", ""), [row[:3] for row in adapters], 3).split("\n")
    marks = ["● " if active else "  " for *_, active in adapters]
    blocks = {
        "base": [one_line(base)],
        "adapters": [*map("".join, zip(marks, table, strict=True))] if adapters else ["none"],
        "merged": [one_line(status.merged or "none")],
        **({"rows": [one_line(", ".join(status.kept))]} if status.kept else {}),
        **({"serving": [one_line(status.serving)]} if status.serving else {}),
        "resumable": [*map(one_line, status.resumable)],
        "next": [f"{one_line(typed)}  {one_line(why)}".rstrip() for typed, why in commands],
    }
    return "\n".join(
        f"{'' if place else name:<10}{line}"
        for name, lines in blocks.items()
        for place, line in enumerate(lines)
    )


def _split(command: str) -> tuple[str, str]:
    """A command and what it is for, two spaces between them."""
    typed, _, reason = command.partition("  ")
    return typed.strip(), reason.strip()


def _found(name: str) -> tuple[str, str]:
    command = name if name.startswith("%") else f"%lora use {name}"
    return command, "found in this notebook"


def _reason(text: str) -> Markup:
    return tag("span", text, style=f"{SMALL};{MUTED}") if text else Markup("")
