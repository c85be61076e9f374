"""Panels of a spectrum as small SVG pictures that wrap. Knows shapes; does not gather."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from lora_magic.views import svg
from lora_magic.views.axis import Scale, log_range, log_ticks
from lora_magic.views.html import Markup, tag
from lora_magic.views.panels import Band, Curve, Panel
from lora_magic.views.style import BLUE, ramp
from lora_magic.views.text import one_line, shortened

WIDTH, HEIGHT = 250.0, 168.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 184.0, 26.0, 146.0
_GAP = 11.0
# An image is cut at its edges: so many letters of the title, and of a line's label, have room.
_TITLE, _LABEL = 24, 8
_GRID = "display:flex;flex-wrap:wrap;gap:.5rem .75rem;margin:.5rem 0"


def drawing(panels: Sequence[Panel]) -> Markup:
    """One picture a panel, side by side as the width allows, all on the same scales."""
    low, high = log_range([value for panel in panels for value in panel.values()])
    last = max(_last(panel) for panel in panels)
    several = len({panel.adapter for panel in panels}) > 1
    across = Scale(1, max(last, 2), LEFT + 6, RIGHT)
    up = Scale(low, high, BOTTOM, TOP, log=True)
    return tag("div", *(_panel(panel, across, up, several) for panel in panels), style=_GRID)


def name(panel: Panel, several: bool) -> str:
    """A panel's title: the projection, and the adapter where there are several."""
    full = f"{one_line(panel.adapter)} · {panel.projection}" if several else panel.projection
    return shortened(one_line(full), 34)


def _panel(panel: Panel, across: Scale, up: Scale, several: bool) -> Markup:
    title = name(panel, several)
    kind = "median and range" if panel.band else "one line a layer"
    shapes = [
        svg.label(LEFT, 14, shortened(title, _TITLE), size=12, weight="600"),
        *_axes(across, up),
        *(_band(panel.band, across, up) if panel.band else _lines(panel, across, up)),
    ]
    said = f"Singular values of {title}, {len(panel.modules)} modules, {kind}"
    return svg.image(WIDTH, HEIGHT, said, *shapes)


def _axes(across: Scale, up: Scale) -> list[Markup]:
    rows = [(up(value), text) for value, text in log_ticks(up.low, up.high)]
    return [
        svg.rules([((LEFT, y), (RIGHT, y)) for y, _ in rows]),
        svg.labels("end", [(LEFT - 6, y + 4, text) for y, text in rows]),
        svg.rules([((LEFT, BOTTOM), (RIGHT, BOTTOM))], ".5"),
        svg.labels("middle", [(across(i), BOTTOM + 16, str(i)) for i in _indices(across)]),
    ]


def _indices(across: Scale) -> list[int]:
    last = int(across.high)
    return sorted({1, math.ceil(last / 2), last})


def _band(band: Band, across: Scale, up: Scale) -> list[Markup]:
    alive = [i for i, value in enumerate(band.middle) if value > 0]

    def trace(values: Sequence[float]) -> list[svg.Point]:
        floor = up.low
        return [(across(band.indices[i]), up(max(values[i], floor))) for i in alive]

    return [
        svg.area(trace(band.high), trace(band.low), BLUE),
        svg.path(trace(band.middle), BLUE, 2),
    ]


def _lines(panel: Panel, across: Scale, up: Scale) -> list[Markup]:
    colours = ramp(len(panel.curves))
    ends, shapes = [], []
    for curve, colour in zip(panel.curves, colours, strict=True):
        points = _points(curve, across, up)
        shapes.append(svg.path(points, colour, 2))
        drawn = [point for point in points if not math.isnan(point[1])]
        ends.append(drawn[-1] if drawn else (RIGHT, BOTTOM))
    texts = [f"layer {curve.layer}" if curve.layer else "" for curve in panel.curves]
    if len(texts) > 1:
        texts = [text.replace("layer ", "", 1) if i else text for i, text in enumerate(texts)]
    texts = [shortened(text, _LABEL) for text in texts]
    for (x, y), place, text, colour in zip(
        ends, _apart([y for _, y in ends]), texts, colours, strict=True
    ):
        leader = svg.path([(x + 2, y), (RIGHT + 8, place)], colour, 1, stroke_opacity=".7")
        shapes += [leader, svg.label(RIGHT + 11, place + 4, text)] if text else []
    return shapes


def _points(curve: Curve, across: Scale, up: Scale) -> list[svg.Point]:
    return [
        (across(index), up(sigma) if sigma >= up.low else math.nan)
        for index, sigma in zip(curve.indices, curve.sigmas, strict=True)
    ]


def _apart(places: Sequence[float]) -> list[float]:
    """The heights, moved as little as a pass down and a pass up need for labels not to touch."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for above, below in itertools.pairwise(order):
        moved[below] = max(moved[below], moved[above] + _GAP)
    limit = BOTTOM
    for place in reversed(order):
        moved[place] = min(moved[place], limit)
        limit = moved[place] - _GAP
    return moved


def _last(panel: Panel) -> int:
    runs = [panel.band.indices] if panel.band else [curve.indices for curve in panel.curves]
    return max(max(run) for run in runs)
