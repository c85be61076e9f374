"""The display of a script: its receipt, and the program.

Knows text; does not know how the program was made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_magic.numbers import size
from lora_magic.printable import clean, one_line
from lora_magic.views import style, table
from lora_magic.views.html import tag
from lora_magic.views.text import shortened

if TYPE_CHECKING:
    from lora_magic.export.script.script import Script

#: Lines of the program in plain text, and their length.
_LINES, _WIDTH = 12, 100
#: Characters of the program in a page: one with its rows can be long.
_MOST = 40_000
_PROGRAM = f"{style.CODE};{style.SMALL};overflow-wrap:anywhere;margin:0"


def bundle(script: Script) -> dict[str, object]:
    """The receipt, with the program below it; in plain text its first lines."""
    line, shown = one_line(script.line), clean(script.text[:_MOST])
    if len(script.text) > _MOST:
        shown += f"\n… and more, in {script.file}"
    facts = [(name, size(count)) for name, count in script.files]
    page = style.frame(
        style.line(line),
        style.typed([("run it", script.command)]),
        style.details("The program", tag("pre", shown, style=_PROGRAM)),
        style.details("Files", table.facts_table("Files", facts)),
        label="Script",
    )
    first = [shortened(part, _WIDTH) for part in shown.splitlines()[:_LINES]]
    if script.lines > len(first):
        first.append(f"… and the rest of {script.lines} lines")
    return {
        "text/plain": "\n".join([line, f"  run it: {one_line(script.command)}", "", *first]),
        "text/html": str(page),
    }
