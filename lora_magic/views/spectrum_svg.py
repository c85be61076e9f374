"""A spectrum's static chart: one small SVG picture per panel. Knows shapes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from lora_magic.views import svg
from lora_magic.views.axis import Scale
from lora_magic.views.html import Markup, tag
from lora_magic.views.panels import Band, Chart, Panel
from lora_magic.views.style import BLUE
from lora_magic.views.text import shortened

WIDTH, HEIGHT = 250.0, 184.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 184.0, 42.0, 162.0
_GAP = 11.0
# The characters of the title, and of a line's label, that fit: an image is clipped at its edges.
_TITLE, _LABEL = 24, 8
_GRID = "display:flex;flex-wrap:wrap;gap:.5rem .75rem;margin:.5rem 0"


def drawing(chart: Chart) -> Markup:
    """One picture per panel, side by side as the width allows."""
    across = Scale(1, chart.last, LEFT, RIGHT)
    up = Scale(*chart.sigma_range, BOTTOM, TOP, log=True)
    axes = svg.axes(across, up, chart.sigma_ticks, [(i, str(i)) for i in chart.index_ticks])
    pictures = (_panel(panel, across, up, axes) for panel in chart.panels)
    return tag("div", *pictures, style=_GRID)


def _panel(panel: Panel, across: Scale, up: Scale, axes: Sequence[Markup]) -> Markup:
    kind = "median and range" if panel.band else "one line per layer"
    shapes = [
        svg.label(8, 14, panel.title(_TITLE), size=12, weight="600"),
        svg.label(8, 29, panel.note),
        *axes,
        *(_band(panel.band, across, up) if panel.band else _lines(panel, across, up)),
    ]
    title = f"Singular values of {panel.title(60)}, {len(panel.modules)} modules, {kind}"
    return svg.image(WIDTH, HEIGHT, title, *shapes)


def _band(band: Band, across: Scale, up: Scale) -> list[Markup]:
    def trace(values: Sequence[float]) -> list[svg.Point]:
        heights = (up(max(value, up.low)) for value in values)
        return list(zip(map(across, band.indices), heights, strict=True))

    return [
        svg.area(trace(band.high), trace(band.low), BLUE),
        svg.path(trace(band.middle), BLUE, 2),
    ]


def _lines(panel: Panel, across: Scale, up: Scale) -> list[Markup]:
    shapes, ends = [], []
    for line in panel.lines:
        points = [
            (across(index), up(sigma) if sigma >= up.low else math.nan)
            for index, sigma in zip(line.indices, line.sigmas, strict=True)
        ]
        shapes.append(svg.path(points, line.colour, 2))
        ends.append(next((p for p in reversed(points) if not math.isnan(p[1])), (RIGHT, BOTTOM)))
    heights = _apart([y for _, y in ends])
    for number, (line, (x, y), height) in enumerate(zip(panel.lines, ends, heights, strict=True)):
        # "layer" once, at the first line.
        text = shortened(line.label.removeprefix("layer ") if number else line.label, _LABEL)
        leader = [(x + 2, y), (RIGHT + 8, height)]
        shapes.append(svg.path(leader, line.colour, 1, stroke_opacity=".7"))
        shapes.append(svg.label(RIGHT + 11, height + 4, text))
    return shapes


def _apart(places: Sequence[float]) -> list[float]:
    """The heights, moved apart in one pass down and one pass up so that labels do not overlap."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for above, below in itertools.pairwise(order):
        moved[below] = max(moved[below], moved[above] + _GAP)
    limit = BOTTOM
    for place in reversed(order):
        moved[place] = min(moved[place], limit)
        limit = moved[place] - _GAP
    return moved
