"""A spectrum's static chart: one small SVG picture per panel, or a large one. Knows shapes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lora_magic.views import svg
from lora_magic.views.axis import Scale
from lora_magic.views.html import Markup, tag
from lora_magic.views.panels import Chart, Line, Panel
from lora_magic.views.text import shortened


class _Size(NamedTuple):
    """A picture, the plot in it, and the characters that fit into its title and labels."""

    wide: float
    high: float
    left: float
    right: float
    top: float
    bottom: float
    title: int
    label: int


SMALL = _Size(250, 184, 46, 184, 42, 162, title=24, label=8)
LARGE = _Size(680, 292, 46, 500, 30, 268, title=60, label=20)
_GAP = 11.0
_GRID = "display:flex;flex-wrap:wrap;gap:.5rem .75rem;margin:.5rem 0"
#: Adapters in one picture differ in their dashes too; W is dotted.
_DASHES = (None, "7 3", "2 2", "9 2 2 2")
_DOTTED = "1 3"


def drawing(chart: Chart) -> Markup:
    """One picture per panel, side by side as the width allows."""
    size = LARGE if chart.alone else SMALL
    across = Scale(1, chart.last, size.left, size.right, log=chart.alone)
    up = Scale(*chart.sigma_range, size.bottom, size.top, log=True)
    axes = svg.axes(across, up, chart.sigma_ticks, [(i, str(i)) for i in chart.index_ticks])
    pictures = (_panel(panel, size, across, up, axes) for panel in chart.panels)
    return tag("div", *pictures, style=_GRID)


def _panel(panel: Panel, size: _Size, across: Scale, up: Scale, axes: Sequence[Markup]) -> Markup:
    lines = _overlaid if size is LARGE else _layers
    shapes = [
        svg.label(8, 14, panel.title(size.title), size=12, weight="600"),
        *([svg.label(8, 29, panel.note)] if panel.note else []),
        *axes,
        *lines(panel, across, up),
    ]
    kind = "ΔW of each adapter, and W" if size is LARGE else "one line per layer"
    title = f"Singular values of {panel.title(60)}, {len(panel.lines)} lines, {kind}"
    return svg.image(size.wide, size.high, title, *shapes)


def _points(line: Line, across: Scale, up: Scale) -> list[svg.Point]:
    return [
        (across(index), up(sigma) if sigma >= up.low else math.nan)
        for index, sigma in zip(line.indices, line.sigmas, strict=True)
    ]


def _overlaid(panel: Panel, across: Scale, up: Scale) -> Iterator[Markup]:
    """Lines with a legend beside them, and a cross for each intruder."""
    edge, height = LARGE.right + 14, LARGE.top + 8
    names = []
    for line in panel.lines:
        dashes = _DOTTED if line.place < 0 else _DASHES[line.place % len(_DASHES)]
        for points in (_points(line, across, up), [(edge, height), (edge + 26, height)]):
            yield svg.path(points, line.colour, 2, stroke_dasharray=dashes)
        names.append((height, line.label))
        height += 16
    for mark in panel.marks:
        if mark.sigma >= up.low:
            yield _cross(across(mark.index), up(mark.sigma), mark.colour)
    if panel.marks:
        yield _cross(edge + 13, height, panel.marks[0].colour)
        names.append((height, "intruder in W + ΔW"))
    texts = [(edge + 32, y + 4, shortened(name, LARGE.label)) for y, name in names]
    yield svg.labels("start", texts)


def _cross(x: float, y: float, colour: str) -> Markup:
    """Two strokes, in two paths: a path of ours is one line."""
    strokes = ([(x - 5, y - 5), (x + 5, y + 5)], [(x - 5, y + 5), (x + 5, y - 5)])
    return tag("g", *(svg.path(stroke, colour, 2.5) for stroke in strokes))


def _layers(panel: Panel, across: Scale, up: Scale) -> list[Markup]:
    shapes, ends = [], []
    for line in panel.lines:
        points = _points(line, across, up)
        shapes.append(svg.path(points, line.colour, 2))
        last = (p for p in reversed(points) if not math.isnan(p[1]))
        ends.append(next(last, (SMALL.right, SMALL.bottom)))
    heights = _apart([y for _, y in ends])
    for number, (line, (x, y), height) in enumerate(zip(panel.lines, ends, heights, strict=True)):
        # "layer" once, at the first line.
        label = line.label.removeprefix("layer ") if number else line.label
        leader = [(x + 2, y), (SMALL.right + 8, height)]
        shapes.append(svg.path(leader, line.colour, 1, stroke_opacity=".7"))
        shapes.append(svg.label(SMALL.right + 11, height + 4, shortened(label, SMALL.label)))
    return shapes


def _apart(places: Sequence[float]) -> list[float]:
    """The heights, moved apart in one pass down and one pass up so that labels do not overlap."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for above, below in itertools.pairwise(order):
        moved[below] = max(moved[below], moved[above] + _GAP)
    limit = SMALL.bottom
    for place in reversed(order):
        moved[place] = min(moved[place], limit)
        limit = moved[place] - _GAP
    return moved
