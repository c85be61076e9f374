"""An export's receipt: the line, what to know about it, and how each prompt was read back.

Knows text and numbers; does not know what was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views import receipt
from lora_magic.views.text import shortened

if TYPE_CHECKING:
    from lora_magic.export.receipt import Check, Export, PromptCheck

_HEADER = ("Prompt", "Tokens", "Same", "Difference", "Why")
_PROMPT = 60


def bundle(made: Export) -> dict[str, object]:
    """The MIME bundle; the plain text has a line for each note and each command."""
    facts = [
        *(("note", note) for note in made.notes),
        *made.commands,
        *_of_check(made.check),
        *((name, numbers.size(count)) for name, count in made.files),
        ("time", numbers.duration(made.seconds)),
    ]
    rows = tuple(_row(one) for one in made.check.prompts) if made.check else ()
    found = receipt.bundle(
        line=made.line,
        facts=facts,
        table=receipt.Rows(f"{len(rows)} prompts, read back", _HEADER, rows),
        more="What was written and read back",
    )
    lines = [one_line(made.line), *(f"  {one_line(note)}" for note in made.notes)]
    lines += [f"  {one_line(what)}: {one_line(line)}" for what, line in made.commands]
    return {**found, "text/plain": "\n".join(lines)}


def _of_check(check: Check | None) -> list[tuple[str, str]]:
    if check is None:
        return [("check", "none: --unchecked")]
    apart = f"{numbers.figures(check.worst)} (at most {numbers.figures(check.limit)})"
    return [
        ("read by", check.reader),
        (f"{check.measure}, from what the files should give", apart),
        *(("note", note) for note in check.notes),
        ("time of the check", numbers.duration(check.seconds)),
    ]


def _row(one: PromptCheck) -> tuple[str, ...]:
    same = "yes" if one.same else f"from token {one.differs_at}" if one.differs_at else "no"
    return (
        shortened(one_line(one.prompt), _PROMPT),
        numbers.count(one.tokens),
        same,
        numbers.figures(one.difference),
        one.why or "–",
    )
