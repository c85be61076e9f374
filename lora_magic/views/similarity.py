"""What adapters have in common, as a display: φ beside its random value, angles, amplification.

Knows a `Similarity`'s names and numbers; `heat_map` draws, `amplification` has the tables of one
adapter. A value that does not exist is n/a.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import clean, one_line
from lora_magic.views.amplification import (
    NONE,
    amplification,
    amplified_rows,
    condensed,
    intruders,
    medians,
    shown,
)
from lora_magic.views.axis import thinned
from lora_magic.views.heat_map import heat_map
from lora_magic.views.html import Markup, tag
from lora_magic.views.modules import layer, projections
from lora_magic.views.style import NOTE, code, details, figure, frame, heading, line
from lora_magic.views.table import table
from lora_magic.views.text import plain_table, shortened

if TYPE_CHECKING:
    from lora_magic.lowrank.similarity import Overlap, Similarity

#: Rows of a table, kinds of module whose φ is drawn, and directions on each side of such a picture.
ROWS, KINDS, SHOWN = 24, 4, 8

#: Letters of a name beside a picture, and of one in its title.
_BESIDE, _ABOVE = 12, 20

_RANDOM, _ROW = "random", "the mean for random directions"
_SIDES = {
    "inputs": "input directions of ΔW (right singular vectors)",
    "outputs": "output directions of ΔW (left singular vectors)",
    "A": "input directions of A (right singular vectors)",
    "B": "output directions of B (left singular vectors)",
}

Grid = Sequence[Sequence[float | None]]
Pair = tuple[str, str]


def bundle(record: Similarity) -> dict[str, object]:
    """A similarity's MIME bundle: pictures of φ, and the tables below them."""
    names = ", ".join(map(one_line, record.adapters))
    title = f"{names}: φ of the {_SIDES[record.side]}"
    if len(record.adapters) == 1:
        title = f"{names}: what ΔW amplifies of W"
        parts, rows = _alone(record), amplified_rows(record.amplified)
    elif len(record.adapters) == 2:
        parts, rows = _pair(record), _by_module(record.overlaps)
    else:
        parts, rows = _pairs(record), _by_pair(record)
    notes = [tag("p", note, style=NOTE) for note in record.notes]
    said = line(one_line(record.line))
    page = frame(heading(title), said, *notes, *parts, label="Similarity")
    plain = [one_line(record.line), *([_plain(rows)] if rows[1:] else [])]
    return {"text/plain": "\n".join(plain), "text/html": str(page)}


def _plain(rows: Sequence[Sequence[str]]) -> str:
    cells = [[shortened(clean(cell), 44) for cell in row] for row in rows[: ROWS + 1]]
    rest = len(rows) - len(cells)
    tail = [f"and {rest} more"] if rest else []
    return "\n".join([plain_table(cells[0], cells[1:], left=2), *tail])


# One adapter


def _alone(record: Similarity) -> Iterator[str]:
    if not any(one.found for one in record.amplified):
        yield line(f"Amplification is {NONE}: ΔW = 0.")
    if record.amplified:
        yield amplification(record.amplified)
    if record.intruding:
        yield intruders(record.intruding)
    command = f"%lora similarity {one_line(record.adapters[0])},OTHER"
    yield line("φ compares two adapters: ", code(command))


# Two adapters


def _pair(record: Similarity) -> Iterator[str]:
    alive = [one for one in record.overlaps if one.phi]
    first, second = map(one_line, record.adapters)
    if alive:
        yield line(
            f"φ(i, j) compares the span of {first}'s first i directions with that of {second}'s "
            "first j: the share of the smaller one that lies in the larger. 1: all of it; 0: they "
            "are orthogonal. For random directions the mean is max(i, j)/dimension.",
            muted=True,
        )
        yield from _grids(alive)
        yield _by_layer(alive)
    else:
        yield line(f"φ is {NONE}: ΔW = 0 has no directions.")
    header, *rows = _by_module(record.overlaps)
    caption = "φ(1, 1), φ of the largest (i, j), and beside each the mean for random directions"
    told = medians([one.module for one in record.overlaps], ".summary()")
    yield details("φ by layer and module", table(caption, header, rows), told, opened=True)
    yield _conflict(record)
    if record.amplified:
        yield amplification(record.amplified)


def _grids(overlaps: Sequence[Overlap]) -> Iterator[str]:
    """For each kind of module φ(i, j), the mean over its layers, with its random value beside."""
    groups = _kinds(overlaps)
    first, second = one_line(overlaps[0].first), one_line(overlaps[0].second)
    for kind, members in list(groups.items())[:KINDS]:
        rows = thinned(min(len(one.phi) for one in members), SHOWN)
        columns = thinned(min(len(one.phi[0]) for one in members), SHOWN)
        found = [[fmean(one.phi[i][j] for one in members) for j in columns] for i in rows]
        random = [
            [fmean(one.chance(i + 1, j + 1) for one in members) for j in columns] for i in rows
        ]
        across = [str(j + 1) for j in columns]
        picture = _map(
            [[*values, math.nan, *others] for values, others in zip(found, random, strict=True)],
            [str(i + 1) for i in rows],
            [*across, "", *across],
            f"φ(i, j) of {shortened(kind, _ABOVE)}; right: {_RANDOM}",
        )
        many = f", mean of {len(members)} layers" if len(members) > 1 else ""
        caption = (
            f"φ(i, j) of {kind}{many}: i down for {first}, j across for {second}. On the right "
            f"{_ROW} at the same (i, j)."
        )
        yield figure(picture, caption)
    if len(groups) > KINDS:
        other = list(groups)[KINDS]
        yield line(
            f"{KINDS} of {len(groups)} kinds of module are drawn; for another: --module {other}",
            muted=True,
        )


def _by_layer(overlaps: Sequence[Overlap]) -> Markup:
    """φ(1, 1) of every layer and kind of module, and its random value in the last row."""
    if len(overlaps) < 2:
        return Markup("")
    kinds = projections([one.module for one in overlaps])
    columns = list(dict.fromkeys(kinds.values()))
    rows = list(dict.fromkeys(layer(one.module) for one in overlaps))
    cells = {(layer(one.module), kinds[one.module]): one.phi[0][0] for one in overlaps}
    found: list[list[float | None]] = [[cells.get((row, kind)) for kind in columns] for row in rows]
    groups = _kinds(overlaps)
    found.append([fmean(one.chance(1, 1) for one in groups[kind]) for kind in columns])
    named = [f"layer {row}" if row else numbers.MISSING for row in rows]
    picture = _map(found, [*named, _RANDOM], columns, "φ(1, 1) by layer and module")
    return figure(picture, f"Do both learn the same first direction? Last row: {_ROW}.")


def _map(values: Grid, rows: Sequence[str], columns: Sequence[str], title: str) -> Markup:
    """A heat map from 0 to the next tenth above the largest value, at most 1."""
    seen = [value for row in values for value in row if value is not None and value == value]
    high = max(0.1, min(1.0, math.ceil(10 * max(seen, default=0.0)) / 10))
    down, across = ([shortened(name, _BESIDE) for name in names] for names in (rows, columns))
    return heat_map(values, down, across, title, 0.0, high)


def _kinds(overlaps: Sequence[Overlap]) -> dict[str, list[Overlap]]:
    names = projections([one.module for one in overlaps])
    groups: dict[str, list[Overlap]] = {}
    for one in overlaps:
        groups.setdefault(names[one.module], []).append(one)
    return groups


def _by_module(overlaps: Sequence[Overlap]) -> list[list[str]]:
    """Header and rows: φ at (1, 1) and at the last (i, j), each with its random value."""

    def values(one: Overlap) -> list[float | None]:
        if one.last is None:
            return [None] * 6
        i, j = one.last
        return [one.phi[0][0], one.chance(1, 1), i, j, one.phi[-1][-1], one.chance(i, j)]

    rows = []
    for _, name, found in condensed([("", one.module, values(one)) for one in overlaps]):
        first, random, i, j, last, random_last = found
        place = NONE if i is None else f"({i:g}, {j:g})"
        rows.append([name, shown(first), shown(random), place, shown(last), shown(random_last)])
    return [["Module", "φ(1, 1)", _RANDOM, "(i, j)", "φ(i, j)", _RANDOM], *rows]


def _conflict(record: Similarity) -> Markup:
    """The angle between the two ΔW of each module, to look at before blending them."""
    names = list(map(one_line, record.adapters))
    found = [("", one.module, [one.degrees, one.spread, *one.relative]) for one in record.overlaps]
    rows = [
        [module, _angle(degrees), f"90 ± {numbers.figures(spread, 2)}°", *map(_share, relative)]
        for _, module, (degrees, spread, *relative) in condensed(found)
    ]
    header = ("Module", "Angle", "Random", f"‖ΔW‖/‖W‖ of {names[0]}", f"of {names[1]}")
    caption = (
        "Below 90° they agree. At 90° they are orthogonal, as random ones are. Above 90° they "
        "oppose each other, and a blend cancels a part of both."
    )
    whole = record.degrees(*record.adapters)
    said = f"{NONE}: ΔW = 0" if whole is None else f"{_angle(whole)} over all modules"
    told = medians([one.module for one in record.overlaps], ".angles()")
    summary = f"Conflict: the angle between their ΔW is {said}"
    blend = (
        "" if whole is None else line("Blend: ", code(f"%lora blend NEW {'=0.5 '.join(names)}=0.5"))
    )
    return details(summary, table(caption, header, rows), told, blend, opened=True)


# More than two


def _pairs(record: Similarity) -> Iterator[str]:
    names = list(map(one_line, record.adapters))
    first = {pair: _median(record, pair, 0) for pair in record.pairs}
    random = {pair: _median(record, pair, 1) for pair in record.pairs}
    if any(value is not None for value in first.values()):
        found = [*_square(record, first, 1.0), _column_means(_square(record, random, None))]
        picture = _map(found, [*names, _RANDOM], names, "φ(1, 1), median over modules")
        yield figure(picture, f"Do two learn the same first direction? Last row: {_ROW}.")
    header, *rows = _by_pair(record)
    yield table("Medians over the modules that both have", header, rows[:ROWS], left=2)
    if len(rows) > ROWS:
        yield line(f"and {len(rows) - ROWS} more: .summary() has every row", muted=True)
    yield line("One pair, with its pictures: ", code(f"%lora similarity {names[0]},{names[1]}"))


def _square(
    record: Similarity, values: Mapping[Pair, float | None], own: float | None
) -> list[list[float | None]]:
    """A value for each two adapters, above the diagonal as below it, where each has its `own`."""
    return [
        [
            own if one == other else values.get((one, other), values.get((other, one)))
            for other in record.adapters
        ]
        for one in record.adapters
    ]


def _column_means(grid: Grid) -> list[float | None]:
    seen = [[value for value in column if value is not None] for column in zip(*grid, strict=True)]
    return [fmean(values) if values else None for values in seen]


def _median(record: Similarity, pair: Pair, random: int) -> float | None:
    alive = [one for one in record.of_pair(*pair) if one.phi]
    values = [one.chance(1, 1) if random else one.phi[0][0] for one in alive]
    return median(values) if values else None


def _by_pair(record: Similarity) -> list[list[str]]:
    """Header and rows: of each pair the medians of φ over modules, and the angle."""
    rows = []
    for pair in record.pairs:
        overlaps = record.of_pair(*pair)
        last = [(one.phi[-1][-1], one.chance(*one.last)) for one in overlaps if one.last]
        ends = [shown(median(values)) for values in zip(*last, strict=True)] or [NONE, NONE]
        first = [shown(_median(record, pair, 0)), shown(_median(record, pair, 1))]
        rows.append([*pair, str(len(overlaps)), *first, *ends, _angle(record.degrees(*pair))])
    header = ["First", "Second", "Modules", "φ(1, 1)", _RANDOM, "φ(i, j)", _RANDOM, "Angle"]
    return [header, *rows]


def _angle(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}°"


def _share(value: float | None) -> str:
    return NONE if value is None else numbers.percent(value)
