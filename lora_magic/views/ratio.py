"""Trainable parameters against the base: bars, one matrix to scale, a table.

Knows counts; does not count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lora_magic.views import numbers, svg
from lora_magic.views.axis import Scale
from lora_magic.views.html import Markup, tag
from lora_magic.views.style import BLUE, GREY, ORANGE, figure, frame, heading, line
from lora_magic.views.table import facts_table, table
from lora_magic.views.text import one_line, plain_table, shortened, width

BARS = 12
_HEADER = ("Adapter", "Rank", "Modules", "Trainable", "By formula", "Share of base", "Checkpoint")
_BAR, _ROOM, _STEP, _LETTER = 320.0, 52.0, 26.0, 7.2
_SQUARE = 132.0
_SIDE = "display:flex;flex-wrap:wrap;gap:.5rem 2rem;align-items:flex-start"


def bundle(
    *,
    title: str,
    base_parameters: int,
    rows: Sequence[Mapping[str, object]],
    facts: Sequence[tuple[str, str]] = (),
    example: tuple[int, int, int] | None = None,
) -> dict[str, object]:
    """A ratio's MIME bundle.

    `rows`: adapter, rank (None for a method without one), modules, trainable, formula (the count
    that the method's formula gives), share (of the base, 0 to 1), checkpoint_bytes. `example`:
    d, k, r of one matrix that a low-rank method changes, drawn to scale.
    """
    cells = [_row(row) for row in rows]
    pictures = [_bars(base_parameters, rows)] if rows else []
    if example:
        pictures.append(_matrix(*example))
    caption = f"Parameters beside the base's {numbers.count(base_parameters)}"
    page = frame(
        heading(title),
        tag("div", *pictures, style=_SIDE) if pictures else "",
        table(caption, _HEADER, cells) if cells else line("No adapter yet."),
        facts_table("Also", facts),
        label="Trainable parameters",
    )
    plain = [one_line(title), f"base {numbers.count(base_parameters)} parameters"]
    if cells:
        plain.append(plain_table([name.lower() for name in _HEADER], cells))
    plain += [f"{one_line(name)}: {one_line(value)}" for name, value in facts]
    return {"text/plain": "\n".join(plain), "text/html": str(page)}


def _row(row: Mapping[str, object]) -> list[str]:
    trainable, formula = numbers.count(row["trainable"]), numbers.count(row["formula"])
    rank = row["rank"]
    return [
        str(row["adapter"]),
        numbers.count(rank) if isinstance(rank, (int, float)) else str(rank or numbers.MISSING),
        numbers.count(row["modules"]),
        trainable,
        f"{formula} = counted" if formula == trainable else f"{formula} ≠ counted",
        numbers.percent(row["share"]),
        numbers.size(row["checkpoint_bytes"]),
    ]


def _bars(base: int, rows: Sequence[Mapping[str, object]]) -> Markup:
    """Lengths on a logarithmic scale from the power of ten below the smallest."""
    shown = [(one_line(str(row["adapter"])), numbers.number(row["trainable"])) for row in rows]
    bars = [("base", float(base), GREY), *((name, n, BLUE) for name, n in shown[:BARS])]
    counts = [n for _, n, _ in bars if n >= 1]
    low = 10.0 ** max(0, math.floor(math.log10(min(counts, default=1))) - 1)
    high = 10.0 ** math.ceil(math.log10(max([*counts, low * 10])))
    names = [shortened(name, 20) for name, _, _ in bars]
    left = 16 + _LETTER * max(map(width, names))
    scale = Scale(low, high, left, left + _BAR, log=True)
    bottom = 8 + _STEP * len(bars)
    shapes = _grid(scale, bottom)
    for place, (name, (_, n, colour)) in enumerate(zip(names, bars, strict=True)):
        y = 8 + _STEP * place
        end = scale(max(n, low))
        shapes += [
            svg.label(left - 8, y + 14, name, "end", 12),
            svg.box(left, y + 2, max(end - left, 1), 16, fill=colour, rx="2"),
            svg.label(end + 6, y + 14, numbers.short(n), size=12),
        ]
    said = "Parameters on a logarithmic scale: " + ", ".join(
        f"{name} {numbers.short(n)}" for name, n, _ in bars
    )
    note = "Parameters, logarithmic scale"
    if len(rows) > BARS:
        note += f"; the first {BARS} of {len(rows)} adapters"
    drawn = svg.image(left + _BAR + _ROOM, bottom + 24, said, *shapes)
    return figure(drawn, note)


def _grid(scale: Scale, bottom: float) -> list[Markup]:
    first, last = round(math.log10(scale.low)), round(math.log10(scale.high))
    stride = max(1, math.ceil((last - first) / 6))
    powers = [10.0**exponent for exponent in range(first, last + 1, stride)]
    places = [(scale(count), bottom + 16, numbers.short(count)) for count in powers]
    return [
        svg.rules([((x, 4), (x, bottom)) for x, _, _ in places]),
        svg.labels("middle", places),
    ]


def _matrix(d: int, k: int, r: int) -> Markup:
    """ΔW = B·A of one matrix, all three to one scale."""
    unit = _SQUARE / max(d, k)
    wide, high, thin = k * unit, d * unit, max(r * unit, 1.0)
    left, top = 8.0, 22.0
    # A lies above a gap at the right of W, B beside it: as they are multiplied.
    x_b = left + wide + 44
    x_a = x_b + thin + 14
    middle = top + high / 2
    shapes = [
        svg.box(left, top, wide, high, fill=GREY, fill_opacity=".3", stroke=GREY),
        svg.label(left, 14, f"W  {d:,} × {k:,}", size=12),
        svg.label(left + wide + 22, middle + 4, "+", "middle", 16),
        svg.box(x_b, top, thin, high, fill=ORANGE),
        svg.box(x_a, top, wide, thin, fill=BLUE),
        svg.label(x_a, top + thin + 18, f"A  {r:,} × {k:,}", size=12),
        svg.label(x_b + thin + 6, max(middle, top + thin + 36) + 4, f"B  {d:,} × {r:,}", size=12),
    ]
    trained, whole = r * (d + k), d * k
    said = f"One matrix to scale: W {d} by {k}, B {d} by {r}, A {r} by {k}"
    right = max(x_a + wide + 8, 300)
    drawn = svg.image(right, max(top + high, top + thin + 44) + 4, said, *shapes)
    share = numbers.percent(trained / whole).replace(" ", "\u00a0")
    note = f"One matrix, to scale: r·(d + k) = {trained:,} of d·k = {whole:,}, {share}"
    return figure(drawn, note)
