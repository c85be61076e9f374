"""Trainable parameters against the base: bars, one matrix to scale, modules by layer, a table.

A share that is too small to be seen is drawn again, enlarged. Knows counts; does not count.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views import svg
from lora_magic.views.axis import Scale
from lora_magic.views.heat_map import heat_map
from lora_magic.views.html import Markup, tag
from lora_magic.views.style import BLUE, GREY, ORANGE, code, figure, frame, heading
from lora_magic.views.style import line as one
from lora_magic.views.table import facts_table, table
from lora_magic.views.text import plain_table, shortened, width

if TYPE_CHECKING:
    from lora_magic.adapters.formula import ModuleCount
    from lora_magic.cost.count import ParameterCount
    from lora_magic.cost.matrix import MatrixCount

_HEADER = (
    *("Adapter", "Rank", "Modules", "Trainable", "By formula", "Share of base", "Reduction"),
    "Checkpoint",
)
_PARTS = ("Part", "Rows", "Columns", "Parameters", "Share of W")
#: A part is enlarged until it fills at least this share of its bar.
_SEEN = 0.05
_BAR, _ROOM, _STEP, _LETTER = 320.0, 52.0, 26.0, 7.2
_SQUARE = 132.0
_SIDE = "display:flex;flex-wrap:wrap;gap:.5rem 2rem;align-items:flex-start"


def bundle(count: ParameterCount, matrix: str | MatrixCount | None = None) -> dict[str, object]:
    """A count's MIME bundle.

    `matrix` is the kind of matrix to draw, or any matrix; None is the count's largest.
    """
    kind = matrix if isinstance(matrix, str) else None
    drawn = count.largest(kind)
    shape = f"{numbers.count(drawn.outputs)} × {numbers.count(drawn.inputs)}"
    facts = [
        ("method", count.method),
        *([("adapted matrices", count.adapted)] if count.adapted else []),
        ("drawn" if kind else "largest module", f"{drawn.module}, {shape}"),
    ]
    base = numbers.count(count.base_parameters)
    cells = [_row(count)]
    free = None if matrix is None or isinstance(matrix, str) else matrix
    pictures = [_bars(count)]
    if free is not None or drawn.rank:
        pictures.append(_matrix(free or drawn))
    page = frame(
        heading(count.line),
        tag("div", *pictures, style=_SIDE),
        *([] if free is None else [_zoomed_matrix(free)]),
        _zoomed(count.share, f"the base, {base}", _name(count)),
        _by_layer(count.modules),
        table(f"Parameters of {_name(count)} beside the base's {base}", _HEADER, cells),
        facts_table("Also", facts),
        label="Trainable parameters",
    )
    plain = [one_line(count.line), f"base {base} parameters"]
    plain.append(plain_table([name.lower() for name in _HEADER], cells))
    plain += [f"{name}: {one_line(value)}" for name, value in facts]
    return {"text/plain": "\n".join(plain), "text/html": str(page)}


def matrix_bundle(count: MatrixCount) -> dict[str, object]:
    """The MIME bundle of one matrix of any shape."""
    d, k, r = count.outputs, count.inputs, count.rank
    parts = (("W", d, k), ("A", r, k), ("B", d, r), ("A and B", None, None))
    rows = [
        [
            part,
            *(numbers.MISSING if side is None else numbers.count(side) for side in (high, wide)),
            numbers.count(size),
            numbers.percent(size / count.whole),
        ]
        for part, high, wide in parts
        for size in [count.factors if high is None or wide is None else high * wide]
    ]
    page = frame(
        heading(count.line),
        tag("div", _matrix(count), style=_SIDE),
        _zoomed_matrix(count),
        table("One matrix and its two factors", _PARTS, rows),
        label="One matrix and its factors",
    )
    plain = "\n".join([count.line, plain_table([name.lower() for name in _PARTS], rows)])
    return {"text/plain": plain, "text/html": str(page)}


def to_type(what: str, command: str) -> Markup:
    """The line to type for a choice in the controls."""
    return frame(one(f"{what}: ", code(command)))


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
        numbers.reduction(count.share),
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


def _zoomed_matrix(count: MatrixCount) -> Markup:
    return _zoomed(count.share, f"W, {numbers.count(count.whole)}", "A and B")


def _zoomed(share: float, whole: str, part: str) -> Markup:
    """A part of a whole to scale: if it is a hairline there, its beginning again, enlarged."""
    if not 0 < share < 1:
        return Markup("")  # the whole is trained, or nothing
    part = shortened(one_line(part), 20)
    factor = 1
    while share * factor < _SEEN:
        factor *= 10
    left, wide, high = 8.0, 2 * _BAR, 16.0
    shapes = [
        svg.label(left, 14, f"100% = {whole} parameters", size=12),
        *_part(left, 20, wide, high, share),
    ]
    bottom = 20 + high
    if factor > 1:
        lower = bottom + 44
        end = left + wide / factor
        shapes += [
            svg.rules(
                [((left, bottom), (left, lower)), ((end, bottom), (left + wide, lower))], ".5"
            ),
            svg.label(
                left + wide,
                lower + high + 17,
                f"enlarged {numbers.count(factor)} times: "
                f"the whole bar is {_exact(1 / factor)} of the one above",
                "end",
                12,
            ),
            *_part(left, lower, wide, high, share * factor),
        ]
        bottom = lower + high
    told = f"{part}: {numbers.percent(share)}, {numbers.reduction(share)}"
    shapes.append(svg.label(left, bottom + 17, told, size=12))
    drawn = svg.image(
        left + wide + 8,
        bottom + 26,
        f"{part} is {numbers.percent(share)} of {whole} parameters, on a linear scale",
        *shapes,
    )
    thin = "; there it is drawn one pixel wide, which is more than its share" * (share * wide < 1)
    note = "Linear scale" if factor == 1 else f"Linear scale, and its beginning enlarged{thin}"
    return figure(drawn, note)


def _part(x: float, y: float, wide: float, high: float, share: float) -> list[Markup]:
    """A bar, and the part of it that is trained."""
    return [
        svg.box(x, y, wide, high, fill=GREY, fill_opacity=".3", stroke=GREY, stroke_width=".5"),
        svg.box(x, y, max(1.0, share * wide), high, fill=BLUE),
    ]


def _exact(share: float) -> str:
    """One over a power of ten in percent: 0.01%."""
    return f"{100 * share:.12f}".rstrip("0").rstrip(".") + "%"


def _by_layer(modules: Sequence[ModuleCount]) -> Markup:
    """How much of each matrix is trained, by its kind and layer; nothing for a single layer."""
    shares: dict[tuple[str, str], list[int]] = {}
    for module in modules:
        layer, kind = _place(module.module)
        if module.rank and layer:
            found = shares.setdefault((kind, layer), [0, 0])
            found[0] += module.tensors
            found[1] += module.outputs * module.inputs
    kinds = list(dict.fromkeys(kind for kind, _ in shares))
    layers = sorted({layer for _, layer in shares}, key=int)
    if len(layers) < 2:
        return Markup("")
    percents = {place: 100 * trained / whole for place, (trained, whole) in shares.items()}
    values = [[percents.get((kind, layer)) for layer in layers] for kind in kinds]
    title, most = "Trained, in % of each matrix", max(percents.values())
    drawn = heat_map(values, kinds, layers, title, 0.0, most)
    return figure(drawn, "Trained parameters by module (rows) and layer (columns)")


def _place(path: str) -> tuple[str, str]:
    """The layer's number in a module's path, "" if there is none, and its last name."""
    number = re.search(r"(?:^|\.)(\d{1,6})\.", path)
    return number[1] if number else "", path.rpartition(".")[2]


def _matrix(module: ModuleCount | MatrixCount) -> Markup:
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
    # Letters at size 12 are as wide as those of a wide font.
    right = max(x_a + max(wide, _LETTER * len(f"A  {a_shape}")) + 8, 300)
    drawn = svg.image(right, max(top + high, top + thin + 44) + 4, summary, *shapes)
    share = r * (d + k) / (d * k)
    told = f"{numbers.percent(share)}, {numbers.reduction(share)}"
    note = f"One matrix, to scale: r·(d + k) = {trained} of d·k = {whole}, {told}"
    if r * unit < 1:
        note += f". A and B are drawn one pixel thick; to scale they are {r * unit:.2g} pixels"
    return figure(drawn, note)
