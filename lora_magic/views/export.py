"""An export's receipt: what was written, who read it back, what to type next; prompts on demand.

Knows text and numbers; does not know what was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views import receipt
from lora_magic.views.style import line, typed
from lora_magic.views.text import shortened

if TYPE_CHECKING:
    from lora_magic.export.receipt import Check, Export, PromptCheck

_HEADER = ("Prompt", "Tokens", "Same", "Difference")
_PROMPT = 60


def bundle(made: Export) -> dict[str, object]:
    """The MIME bundle; the plain text has a line for each note and each command."""
    notes = [*made.notes, *(made.check.notes if made.check else ())]
    found = receipt.bundle(
        line=made.written,
        shown=[
            line(made.told),
            typed(made.commands),
            *(line(one_line(note), muted=True) for note in notes),
        ],
        facts=[
            *((name, numbers.size(count)) for name, count in made.files),
            *_of_check(made.check),
            ("time", numbers.duration(made.seconds)),
        ],
        table=_prompts(made.check) if made.check else None,
        more="Files and prompts" if made.check else "Files",
    )
    lines = [one_line(made.line), *_differing(made.check), *(f"  {one_line(n)}" for n in notes)]
    lines += [f"  {one_line(what)}: {one_line(command)}" for what, command in made.commands]
    return {**found, "text/plain": "\n".join(lines)}


def _differing(check: Check | None) -> list[str]:
    """A line of plain text for each prompt that was answered otherwise; HTML has the table."""
    return [
        f"  not the same{f' from token {one.differs_at}' if one.differs_at else ''}: "
        f"{shortened(one_line(one.prompt), _PROMPT)}"
        for one in (check.prompts if check else ())
        if not one.same
    ]


def _of_check(check: Check | None) -> list[tuple[str, str]]:
    if check is None:
        return [("check", "none: --unchecked")]
    worst, limit = numbers.figures(check.worst), numbers.figures(check.limit)
    told = f"{check.measure} {worst} from what the files should give, at most {limit} is allowed"
    return [("check", told), ("time of the check", numbers.duration(check.seconds))]


def _prompts(check: Check) -> receipt.Rows:
    """A row for each prompt; a reason that all share is in the line alone."""
    reasons = {one.why for one in check.prompts if one.why}
    why = len(reasons) > 1
    rows = tuple((*_row(one), *([one.why or "–"] * why)) for one in check.prompts)
    return receipt.Rows(f"{len(rows)} prompts, read back", (*_HEADER, *["Why"] * why), rows)


def _row(one: PromptCheck) -> tuple[str, ...]:
    same = "yes" if one.same else f"no, from token {one.differs_at}" if one.differs_at else "no"
    return (
        shortened(one_line(one.prompt), _PROMPT),
        numbers.count(one.tokens),
        same,
        numbers.figures(one.difference),
    )
