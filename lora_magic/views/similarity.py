"""What adapters have in common, as a display: φ beside its random value, angles, amplification.

Knows a `Similarity`'s names and numbers; `heat_map` draws. A value that does not exist is n/a.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import clean, one_line
from lora_magic.views.axis import thinned
from lora_magic.views.heat_map import heat_map
from lora_magic.views.html import Markup, joined, tag
from lora_magic.views.panels import layer, projections, short_names
from lora_magic.views.style import NOTE, details, figure, frame, heading, line
from lora_magic.views.table import table
from lora_magic.views.text import plain_table, shortened

if TYPE_CHECKING:
    from lora_magic.lowrank.similarity import Amplified, Intruding, Overlap, Similarity

#: Rows of a table, kinds of module whose φ is drawn, and directions on each side of such a picture.
ROWS, KINDS, SHOWN = 24, 4, 12

#: Pixels of a picture that has another one beside it.
HALF = 340.0
NONE = "n/a"

#: Table 7 of the LoRA paper: r, ‖UᵀWV‖ in ΔW's, W's own and random directions, ‖ΔW‖, ‖W‖, factor.
PAPER = (
    (4, 0.32, 21.67, 0.02, 6.91, 61.95, 21.6),
    (64, 1.90, 37.71, 0.33, 3.57, 61.95, 1.9),
)
_PAPER = "LoRA paper, table 7: Wq of GPT-3 175B's layer 48"

_RANDOM, _DIRECTIONS, _ROW = "random", "Random directions", "what random directions have"
_AMPLIFIED = (
    *("Adapter", "Module", "r", "‖UᵀWV‖: ΔW's", "W's own", "random"),
    *("‖ΔW‖", "‖W‖", "‖ΔW‖/‖UᵀWV‖"),
)
_SIDES = {
    "inputs": "input directions of ΔW (right singular vectors)",
    "outputs": "output directions of ΔW (left singular vectors)",
    "A": "input directions of A (right singular vectors)",
    "B": "output directions of B (left singular vectors)",
}


def bundle(record: Similarity) -> dict[str, object]:
    """A similarity's MIME bundle: pictures of φ, and the tables below them."""
    if len(record.adapters) == 1:
        parts, rows = _alone(record), [[*_AMPLIFIED], *_amplified(record.amplified)]
    elif len(record.adapters) == 2:
        parts, rows = _pair(record), _by_module(record.overlaps)
    else:
        parts, rows = _pairs(record), _by_pair(record)
    title = _title(record)
    notes = [tag("p", note, style=NOTE) for note in record.notes]
    page = frame(heading(title), *notes, *parts, label="Similarity")
    plain = [one_line(record.line), _plain(rows)] if rows[1:] else [one_line(record.line)]
    return {"text/plain": "\n".join(plain), "text/html": str(page)}


def _title(record: Similarity) -> str:
    names = ", ".join(map(one_line, record.adapters))
    if len(record.adapters) == 1:
        return f"{names}: what ΔW amplifies of W"
    return f"{names}: φ of the {_SIDES[record.side]}"


def _plain(rows: Sequence[Sequence[str]]) -> str:
    shown = [[shortened(clean(cell), 44) for cell in row] for row in rows[: ROWS + 1]]
    rest = len(rows) - len(shown)
    tail = [f"and {rest} more"] if rest else []
    return "\n".join([plain_table(shown[0], shown[1:], left=2), *tail])


# Two adapters


def _pair(record: Similarity) -> Iterator[str]:
    overlaps = record.overlaps
    first, second = map(one_line, record.adapters)
    alive = [one for one in overlaps if one.phi]
    if not alive:
        yield line(f"φ is {NONE}: ΔW = 0, which has no directions.")
    else:
        yield line(
            f"φ(i, j): the share of the smaller of two subspaces that lies in the larger one, for "
            f"the first i directions of {first} and the first j of {second}. 1: contained; 0: "
            f"orthogonal; random directions have max(i, j)/dimension on average.",
            muted=True,
        )
        yield from _grids(alive)
        yield _by_layer(alive)
    header, *rows = _by_module(overlaps)
    rest = len(overlaps) - ROWS
    tail = line(f"and {rest} more: .summary() has every row", muted=True) if rest > 0 else ""
    caption = f"φ by layer and module, and what random {_SIDES[record.side]} have"
    yield details("Table by module", table(caption, header, rows[:ROWS]), tail, opened=True)
    yield _conflict(record)
    yield _amplification(record)


def _grids(overlaps: Sequence[Overlap]) -> Iterator[str]:
    """For each kind of module: φ(i, j), the mean over its layers, beside its random value."""
    groups = _kinds(overlaps)
    for kind, members in list(groups.items())[:KINDS]:
        rows = thinned(min(len(one.phi) for one in members), SHOWN)
        columns = thinned(min(len(one.phi[0]) for one in members), SHOWN)
        found = [[fmean(one.phi[i][j] for one in members) for j in columns] for i in rows]
        random = [
            [fmean(one.chance(i + 1, j + 1) for one in members) for j in columns] for i in rows
        ]
        where = f"{kind}, mean of {len(members)} layers" if len(members) > 1 else kind
        first, second = one_line(members[0].first), one_line(members[0].second)
        caption = (
            f"φ(i, j) of {kind}: i down for {first}, j across for {second}. Beside it {_ROW} at "
            "the same (i, j), max(i, j)/dimension."
        )
        sides = [str(i + 1) for i in rows], [str(j + 1) for j in columns]
        pictures = (
            _map(found, *sides, f"φ(i, j), {where}", beside=random),
            _map(random, *sides, _DIRECTIONS, beside=found),
        )
        yield figure(joined([pictures[0], " ", pictures[1]]), caption)
    if len(groups) > KINDS:
        other = list(groups)[KINDS]
        yield line(
            f"The first {KINDS} of {len(groups)} kinds of module are drawn; for another: "
            f"--module {other}",
            muted=True,
        )


def _by_layer(overlaps: Sequence[Overlap]) -> Markup:
    """φ(1, 1) of every layer and kind of module, and its random value in the last row."""
    if len(overlaps) < 2:
        return Markup("")
    kinds = projections([one.module for one in overlaps])
    columns = list(dict.fromkeys(kinds.values()))
    rows = list(dict.fromkeys(layer(one.module) for one in overlaps))
    cells = {(layer(one.module), kinds[one.module]): one for one in overlaps}
    found: list[list[float | None]] = [
        [one.phi[0][0] if one else None for one in (cells.get((row, kind)) for kind in columns)]
        for row in rows
    ]
    found.append([fmean(m.chance(1, 1) for m in _kinds(overlaps)[kind]) for kind in columns])
    named = [f"layer {row}" if row else "–" for row in rows]
    picture = _map(found, [*named, _RANDOM], columns, "φ(1, 1) by layer and module")
    return figure(picture, f"Do both learn the same first direction? Last row: {_ROW}.")


def _map(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    beside: Sequence[Sequence[float | None]] | None = None,
) -> Markup:
    """A heat map from 0 to the next tenth above the largest value, here or in one `beside` it."""
    if beside is None:
        return heat_map(values, rows, columns, title, 0.0, _high(values))
    return heat_map(values, rows, columns, title, 0.0, _high(values, beside), width=HALF)


def _high(*grids: Sequence[Sequence[float | None]]) -> float:
    """The next tenth above the largest value, at most 1."""
    seen = [value for grid in grids for row in grid for value in row if value is not None]
    return max(0.1, min(1.0, math.ceil(10 * max(seen, default=0.0)) / 10))


def _kinds(overlaps: Iterable[Overlap]) -> dict[str, list[Overlap]]:
    several = list(overlaps)
    names = projections([one.module for one in several])
    groups: dict[str, list[Overlap]] = {}
    for one in several:
        groups.setdefault(names[one.module], []).append(one)
    return groups


def _by_module(overlaps: Sequence[Overlap]) -> list[list[str]]:
    """Header and a row for each module: φ at (1, 1) and at the last (i, j), with random values."""
    names = short_names([one.module for one in overlaps])
    rows = [
        [
            names[one.module],
            *_first(one),
            "({}, {})".format(*one.last) if one.last else NONE,
            *_last(one),
        ]
        for one in overlaps
    ]
    return [["Module", "φ(1, 1)", _RANDOM, "(i, j)", "φ(i, j)", _RANDOM], *rows]


def _first(one: Overlap) -> list[str]:
    return [_shown(one.phi[0][0]), _shown(one.chance(1, 1))] if one.phi else [NONE, NONE]


def _last(one: Overlap) -> list[str]:
    return [_shown(one.phi[-1][-1]), _shown(one.chance(*one.last))] if one.last else [NONE, NONE]


def _conflict(record: Similarity) -> Markup:
    """The angle between the two ΔW of each module, to look at before blending them."""
    whole = record.degrees(*record.adapters)
    names = short_names([one.module for one in record.overlaps])
    rows = [
        [
            names[one.module],
            _angle(one.degrees),
            f"90 ± {numbers.figures(one.spread, 2)}°",
            *map(_shown, one.relative),
        ]
        for one in record.overlaps
    ]
    first, second = map(one_line, record.adapters)
    header = ("Module", "Angle", "Random", f"‖ΔW‖/‖W‖ of {first}", f"of {second}")
    said = f"{NONE}: ΔW = 0" if whole is None else f"{_angle(whole)} over all modules"
    caption = (
        "Below 90° they agree; 90°: independent, as random ones are; above 90° they oppose each "
        "other, and a blend cancels a part of both."
    )
    summary = f"Conflict: the angle between their ΔW is {said}"
    rest = len(rows) - ROWS
    tail = line(f"and {rest} more: .angles() has every row", muted=True) if rest > 0 else ""
    return details(summary, table(caption, header, rows[:ROWS]), tail, opened=True)


# One adapter, and amplification of both


def _alone(record: Similarity) -> Iterator[str]:
    if not any(one.found for one in record.amplified):
        yield line(f"Amplification is {NONE}: ΔW = 0.")
    yield _amplification(record)
    yield _intruders(record.intruding)
    name = one_line(record.adapters[0])
    yield line(f"φ compares two adapters: %lora similarity {name},OTHER", muted=True)


def _amplification(record: Similarity) -> Markup:
    """Table 7 of the paper, with its own rows first."""
    if not record.amplified:
        return Markup("")
    paper = [["paper", _PAPER, *map(numbers.figures, row)] for row in PAPER]
    rows = _amplified(record.amplified)
    caption = (
        "‖UᵀWV‖ is how much of W lies in r directions: ΔW's first, W's own first, random ones. "
        "‖ΔW‖ over it: by how much ΔW amplifies what W has there. A large factor says that ΔW "
        "strengthens directions that W has, but does not stress. (6.91/0.32 = 21.6; the paper "
        "prints 21.5.)"
    )
    rest = len(rows) - ROWS
    tail = line(f"and {rest} more: .amplification() has every row", muted=True) if rest > 0 else ""
    shown = [*paper, *rows[:ROWS]]
    return details(
        "Amplification, beside the paper's table 7",
        table(caption, _AMPLIFIED, shown, left=2),
        tail,
        opened=True,
    )


def _amplified(amplified: Sequence[Amplified]) -> list[list[str]]:
    names = short_names([one.module for one in amplified])
    rows = []
    for one in amplified:
        if one.found is None:
            rows.append([one.adapter, names[one.module], *[NONE] * 7])
            continue
        found = one.found
        values = (found.in_change, found.in_own, found.in_random, found.change, found.weight)
        shown = [*map(_shown, values), _shown(found.factor)]
        rows.append([one.adapter, names[one.module], str(found.rank), *shown])
    return rows


def _intruders(intruding: Sequence[Intruding]) -> Markup:
    if not intruding:
        return Markup("")
    names = short_names([one.module for one in intruding])
    count = sum(len(one.places) for one in intruding)
    rows = [
        [
            names[one.module],
            f"{len(one.places)} of {len(one.cosines)}",
            ", ".join(str(place + 1) for place in one.places) or "–",
            _shown(min(one.cosines, default=None)),
        ]
        for one in intruding
    ]
    caption = (
        "Of the 10 largest singular vectors of W + ΔW, those that W does not have: no |cosine| of "
        "0.5 with any of its own. The count follows ‖ΔW‖/‖W‖, so compare adapters at equal loss."
    )
    header = ("Module", "Intruders", "At index", "Smallest |cosine|")
    name = one_line(intruding[0].adapter)
    advice = f"To remove them: %lora compress {name} --remove-intruders" if count else ""
    rest = len(rows) - ROWS
    more = line(f"and {rest} more: .intruders() has every row", muted=True) if rest > 0 else ""
    summary = f"Intruder dimensions: {count}"
    below = line(advice, muted=True) if advice else ""
    return details(summary, table(caption, header, rows[:ROWS]), more, below, opened=True)


# More than two


def _pairs(record: Similarity) -> Iterator[str]:
    names = list(map(one_line, record.adapters))
    first = {pair: _median(record, pair, 0) for pair in record.pairs}
    random = {pair: _median(record, pair, 1) for pair in record.pairs}
    if any(value is not None for value in first.values()):
        found = [*_square(record, first), _column_means(_square(record, random))]
        picture = _map(found, [*names, _RANDOM], names, "φ(1, 1), median over modules")
        yield figure(picture, f"Do two learn the same first direction? Last row: {_ROW}.")
    header, *rows = _by_pair(record)
    caption = "Medians over the modules that both have"
    yield table(caption, header, rows[:ROWS], left=2)
    if len(rows) > ROWS:
        yield line(f"and {len(rows) - ROWS} more: .summary() has every row", muted=True)
    yield line(f"One pair: %lora similarity {names[0]},{names[1]}", muted=True)


def _square(
    record: Similarity, values: dict[tuple[str, str], float | None]
) -> list[list[float | None]]:
    """A value for each two adapters, above the diagonal as below it; none on it."""
    return [
        [values.get((one, other), values.get((other, one))) for other in record.adapters]
        for one in record.adapters
    ]


def _column_means(grid: Sequence[Sequence[float | None]]) -> list[float | None]:
    seen = [[value for value in column if value is not None] for column in zip(*grid, strict=True)]
    return [fmean(values) if values else None for values in seen]


def _median(record: Similarity, pair: tuple[str, str], random: int) -> float | None:
    alive = [one for one in record.of_pair(*pair) if one.phi]
    values = [one.chance(1, 1) if random else one.phi[0][0] for one in alive]
    return median(values) if values else None


def _by_pair(record: Similarity) -> list[list[str]]:
    rows = []
    for pair in record.pairs:
        overlaps = record.of_pair(*pair)
        alive = [one for one in overlaps if one.last]
        last = [(one.phi[-1][-1], one.chance(*one.last)) for one in alive if one.last]
        ends = [numbers.figures(median(values)) for values in zip(*last, strict=True)]
        first = [_shown(_median(record, pair, 0)), _shown(_median(record, pair, 1))]
        rows.append(
            [
                *pair,
                str(len(overlaps)),
                *first,
                *(ends or [NONE, NONE]),
                _angle(record.degrees(*pair)),
            ]
        )
    header = ["First", "Second", "Modules", "φ(1, 1)", _RANDOM, "φ(all)", _RANDOM, "Angle"]
    return [header, *rows]


def _angle(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}°"


def _shown(value: float | None) -> str:
    """A number with three figures; n/a for one that does not exist."""
    text = NONE if value is None else numbers.figures(value)
    return NONE if text == numbers.MISSING else text
