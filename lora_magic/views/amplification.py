"""What an adapter amplifies of W, beside the paper's table 7, and its intruder dimensions: tables.

Knows names and numbers. A value that does not exist is n/a. Of many modules a table has the medians
over the layers of each kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views.html import Markup
from lora_magic.views.modules import projections, short_names
from lora_magic.views.style import code, details, line
from lora_magic.views.table import table

if TYPE_CHECKING:
    from lora_magic.lowrank.similarity import Amplified, Intruding

#: Beyond so many modules a table has one row for each kind.
ROWS = 24
NONE = "n/a"

#: Table 7 of the LoRA paper, as printed: r, ‖UᵀWV‖ in ΔW's, W's own and random directions, ‖ΔW‖,
#: ‖W‖, and the factor of its section 7.3.
PAPER = (
    ("4", "0.32", "21.67", "0.02", "6.91", "61.95", "21.5"),
    ("64", "1.90", "37.71", "0.33", "3.57", "61.95", "1.9"),
)
_PAPER = ("paper", "48.Wq of GPT-3")
_HEADER = (
    *("Adapter", "Module", "r", "‖UᵀWV‖: ΔW's", "W's own", "random"),
    *("‖ΔW‖", "‖W‖", "‖ΔW‖/‖UᵀWV‖"),
)

#: What names a row, a module's path, and its values.
Row = tuple[str, str, Sequence[float | None]]


def amplification(amplified: Sequence[Amplified]) -> Markup:
    """The adapters' rows below those of the paper."""
    header, *rows = amplified_rows(amplified)
    caption = (
        "‖UᵀWV‖: how much of W lies in r directions, the first ones of ΔW, the first of W, random "
        "ones. ‖ΔW‖/‖UᵀWV‖: by how much ΔW amplifies what W has in its directions. Paper: Hu et "
        "al. 2021, table 7 (6.91/0.32 is 21.6; it prints 21.5)."
    )
    shown = [*([*_PAPER, *row] for row in PAPER), *rows]
    told = medians([one.module for one in amplified], ".amplification()")
    summary = "Amplification, beside the paper's table 7"
    return details(summary, table(caption, header, shown, left=2), told, opened=True)


def amplified_rows(amplified: Sequence[Amplified]) -> list[list[str]]:
    """The header and the adapters' rows, as text."""
    rows = [(one.adapter, one.module, _values(one)) for one in amplified]
    texts = [
        [adapter, module, NONE if rank is None else f"{rank:g}", *map(shown, values)]
        for adapter, module, (rank, *values) in condensed(rows)
    ]
    return [[*_HEADER], *texts]


def _values(one: Amplified) -> list[float | None]:
    found = one.found
    if found is None:
        return [None] * 7
    sizes = (found.in_change, found.in_own, found.in_random, found.change, found.weight)
    return [found.rank, *sizes, found.factor]


def intruders(intruding: Sequence[Intruding]) -> Markup:
    """How many intruders each module has, and where."""
    names = short_names([one.module for one in intruding])
    count = sum(len(one.places) for one in intruding)
    most = sorted(intruding, key=lambda one: -len(one.places))[:ROWS]
    several = most if len(intruding) > ROWS else intruding
    rows = [
        [
            names[one.module],
            f"{len(one.places)} of {len(one.cosines)}",
            ", ".join(str(place + 1) for place in one.places) or numbers.MISSING,
            shown(min(one.cosines, default=None)),
        ]
        for one in several
    ]
    caption = (
        "Of the 10 largest singular vectors of W + ΔW, those that W does not have: no |cosine| of "
        "0.5 with any of its own. The count follows ‖ΔW‖/‖W‖, so compare adapters at equal loss."
    )
    rest = len(intruding) - len(rows)
    below = [line(f"and {rest} more: .intruders() has every row", muted=True)] if rest else []
    if count:
        command = f"%lora compress {one_line(intruding[0].adapter)} --remove-intruders"
        below.append(line("To remove them: ", code(command)))
    header = ("Module", "Intruders", "At index", "Smallest |cosine|")
    summary = f"Intruder dimensions: {count} in {_modules(len(intruding))}"
    return details(summary, table(caption, header, rows), *below, opened=True)


def _modules(count: int) -> str:
    return "1 module" if count == 1 else f"{count} modules"


def medians(modules: Sequence[str], method: str) -> str:
    """What a table of `condensed` rows leaves out, and which method has it; "" if nothing."""
    if len(set(modules)) <= ROWS:
        return ""
    return line(f"Medians over the layers of each kind: {method} has every module", muted=True)


def condensed(rows: Sequence[Row]) -> list[tuple[str, str, list[float | None]]]:
    """The rows with short names of modules; of more than 24 modules, medians over their layers.

    A value that does not exist is left out of its median.
    """
    paths = list(dict.fromkeys(path for _, path, _ in rows))
    if len(paths) <= ROWS:
        names = short_names(paths)
        return [(title, names[path], list(values)) for title, path, values in rows]
    kinds = projections(paths)
    groups: dict[tuple[str, str], list[Sequence[float | None]]] = {}
    for title, path, values in rows:
        groups.setdefault((title, kinds[path]), []).append(values)
    return [
        (
            title,
            f"{kind} ({len(several)})",
            [_middle(values) for values in zip(*several, strict=True)],
        )
        for (title, kind), several in groups.items()
    ]


def _middle(values: Iterable[float | None]) -> float | None:
    seen = [value for value in values if value is not None]
    return median(seen) if seen else None


def shown(value: float | None) -> str:
    """A number with three figures; n/a for one that does not exist."""
    text = NONE if value is None else numbers.figures(value)
    return NONE if text == numbers.MISSING else text
