"""Trainable parameters against the base: bars, one matrix to scale, a table.

Knows counts; does not count.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views import svg
from lora_magic.views.axis import Scale
from lora_magic.views.html import Markup, tag
from lora_magic.views.style import BLUE, GREY, ORANGE, figure, frame, heading
from lora_magic.views.table import facts_table, table
from lora_magic.views.text import plain_table, shortened, width

if TYPE_CHECKING:
    from lora_magic.adapters.count import ModuleCount, ParameterCount

_HEADER = ("Adapter", "Rank", "Modules", "Trainable", "By formula", "Share of base", "Checkpoint")
_BAR, _ROOM, _STEP, _LETTER = 320.0, 52.0, 26.0, 7.2
_SQUARE = 132.0
_SIDE = "display:flex;flex-wrap:wrap;gap:.5rem 2rem;align-items:flex-start"


def bundle(count: ParameterCount, matrix: str | None = None) -> dict[str, object]:
    """A count's MIME bundle; `matrix` is the kind of matrix to draw, the largest one if None."""
    drawn = count.largest(matrix)
    shape = f"{numbers.count(drawn.outputs)} × {numbers.count(drawn.inputs)}"
    facts = [
        ("method", count.method),
        *([("adapted matrices", count.adapted)] if count.adapted else []),
        ("drawn" if matrix else "largest module", f"{drawn.module}, {shape}"),
    ]
    base = numbers.count(count.base_parameters)
    cells = [_row(count)]
    pictures = [_bars(count), *([_matrix(drawn)] if drawn.rank else [])]
    page = frame(
        heading(count.line),
        tag("div", *pictures, style=_SIDE),
        table(f"Parameters of {_name(count)} beside the base's {base}", _HEADER, cells),
        facts_table("Also", facts),
        label="Trainable parameters",
    )
    plain = [one_line(count.line), f"base {base} parameters"]
    plain.append(plain_table([name.lower() for name in _HEADER], cells))
    plain += [f"{name}: {one_line(value)}" for name, value in facts]
    return {"text/plain": "\n".join(plain), "text/html": str(page)}


def _name(count: ParameterCount) -> str:
    return count.adapter or "plan"


def _row(count: ParameterCount) -> list[str]:
    trainable, formula = map(numbers.count, (count.trainable_parameters, count.formula))
    return [
        _name(count),
        # Virtual tokens, biases and whole weights have no rank.
        numbers.count(count.spec.rank) if count.spec.rank else numbers.MISSING,
        numbers.count(len(count.modules)),
        trainable,
        f"{formula} = counted" if formula == trainable else f"{formula} ≠ counted",
        numbers.percent(count.share),
        numbers.size(count.trainable_parameters * count.bytes_each),
    ]


def _bars(count: ParameterCount) -> Markup:
    """The base's and the adapter's bar, on a logarithmic scale from below the smaller one."""
    bars = [
        ("base", count.base_parameters, GREY),
        (shortened(one_line(_name(count)), 20), count.trainable_parameters, BLUE),
    ]
    counts = [n for _, n, _ in bars if n]
    low = 10.0 ** max(0, math.floor(math.log10(min(counts))) - 1)
    high = 10.0 ** math.ceil(math.log10(max([*counts, low * 10])))
    left = 16 + _LETTER * max(width(name) for name, _, _ in bars)
    scale = Scale(low, high, left, left + _BAR, log=True)
    bottom = 8 + _STEP * len(bars)
    shapes = _grid(scale, bottom)
    for place, (name, n, colour) in enumerate(bars):
        y = 8 + _STEP * place
        end = scale(max(n, low))
        shapes += [
            svg.label(left - 8, y + 14, name, "end", 12),
            svg.box(left, y + 2, max(end - left, 1), 16, fill=colour, rx="2"),
            svg.label(end + 6, y + 14, numbers.short(n), size=12),
        ]
    summary = ", ".join(f"{name} {numbers.short(n)}" for name, n, _ in bars)
    drawn = svg.image(
        left + _BAR + _ROOM, bottom + 24, f"Parameters on a logarithmic scale: {summary}", *shapes
    )
    return figure(drawn, f"Parameters of {_name(count)}, logarithmic scale")


def _grid(scale: Scale, bottom: float) -> list[Markup]:
    first, last = round(math.log10(scale.low)), round(math.log10(scale.high))
    stride = max(1, math.ceil((last - first) / 6))
    powers = [10.0**exponent for exponent in range(first, last + 1, stride)]
    places = [(scale(count), bottom + 16, numbers.short(count)) for count in powers]
    return [
        svg.rules([((x, 4), (x, bottom)) for x, _, _ in places]),
        svg.labels("middle", places),
    ]


def _matrix(module: ModuleCount) -> Markup:
    """W, A and B of one matrix, all three to one scale."""
    d, k, r = module.outputs, module.inputs, module.rank
    unit = _SQUARE / max(d, k)
    wide, high, thin = k * unit, d * unit, max(r * unit, 1.0)
    left, top = 8.0, 22.0
    # A lies above a gap at the right of W, B beside it: as they are multiplied.
    x_b = left + wide + 44
    x_a = x_b + thin + 14
    middle = top + high / 2
    w_shape, a_shape, b_shape = (
        f"{numbers.count(rows)} × {numbers.count(columns)}"
        for rows, columns in ((d, k), (r, k), (d, r))
    )
    shapes = [
        svg.box(left, top, wide, high, fill=GREY, fill_opacity=".3", stroke=GREY),
        svg.label(left, 14, f"W  {w_shape}", size=12),
        svg.label(left + wide + 22, middle + 4, "+", "middle", 16),
        svg.box(x_b, top, thin, high, fill=ORANGE),
        svg.box(x_a, top, wide, thin, fill=BLUE),
        svg.label(x_a, top + thin + 18, f"A  {a_shape}", size=12),
        svg.label(x_b + thin + 6, max(middle, top + thin + 36) + 4, f"B  {b_shape}", size=12),
    ]
    trained, whole = map(numbers.count, (r * (d + k), d * k))
    summary = f"One matrix to scale: W {d} by {k}, B {d} by {r}, A {r} by {k}"
    right = max(x_a + wide + 8, 300)
    drawn = svg.image(right, max(top + high, top + thin + 44) + 4, summary, *shapes)
    share = numbers.percent(r * (d + k) / (d * k))
    note = f"One matrix, to scale: r·(d + k) = {trained} of d·k = {whole}, {share}"
    return figure(drawn, note)
