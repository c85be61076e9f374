"""A loss curve in SVG: every step faintly, a running mean over it. Knows losses; knows no run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from lora_magic.numbers import count, figures
from lora_magic.views import svg
from lora_magic.views.axis import Scale, log_ticks, ticks
from lora_magic.views.html import Markup
from lora_magic.views.style import BLUE, GREY, ORANGE

WIDTH, HEIGHT = 548.0, 162.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 456.0, 12.0, 140.0
POINTS = 240


def loss_curve(
    losses: Sequence[float],
    total: int | None = None,
    draw: Callable[..., Markup] = svg.image,
    held_out: Sequence[tuple[int, float]] = (),
    best: int | None = None,
) -> Markup:
    """Loss over optimizer steps from 1; the axis extends to `total` steps if given.

    `draw`: `svg.image` for a curve that stays, `svg.picture` for one that is redrawn in place.
    `held_out`: squares at (steps taken, loss), the one before the first step at its left end.
    `best`: the step whose weights were kept, marked by a vertical line.
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    if not finite:
        return Markup("")
    last = max(len(losses), total or 0, 2)
    across = Scale(1, last, LEFT, RIGHT)
    measured = [(max(1, step), loss) for step, loss in held_out if math.isfinite(loss)]
    seen = [*finite, *(loss for _, loss in measured)]
    margin = 0.06 * (max(seen) - min(seen)) or 0.05 * abs(seen[0]) or 0.05
    up = Scale(max(0.0, min(seen) - margin), max(seen) + margin, BOTTOM, TOP)
    mean = running_mean(losses)
    every = _points(losses, across, up)
    shapes = [
        *_axes(across, up, last),
        svg.path(every, GREY, 1, stroke_opacity=".75"),
        svg.path(_points(mean, across, up), BLUE, 2),
        *_squares([(across(step), up(loss)) for step, loss in measured]),
        *([] if best is None else _mark(across(max(1, best)), f"best: step {count(best)}")),
    ]
    if math.isfinite(losses[-1]):
        x, y = across(len(losses)), up(losses[-1]) + 4
        # In an unfinished run the axis would cross the label.
        y = min(y, BOTTOM - 5) if x < RIGHT else y
        shapes.append(svg.label(x + 6, y, figures(losses[-1]), size=12, weight="600"))
    said = f"Loss over {len(losses)} steps, from {figures(finite[0])} to {figures(finite[-1])}"
    if measured:
        said += f"; held out {figures(measured[0][1])} to {figures(measured[-1][1])}"
    said += f"; best at step {best}" if best is not None else ""
    return draw(WIDTH, HEIGHT, said, *shapes)


def rate_curve(
    rates: Sequence[float], losses: Sequence[float], rate: float | None = None
) -> Markup:
    """Loss against a learning rate that rises from step to step, on a logarithmic axis.

    `rate` is marked by a vertical line. Losses far above the first are cut off.
    """
    finite = [loss for loss in losses if math.isfinite(loss)]
    if not finite:
        return Markup("")
    top = 1.5 * finite[0]
    seen = [min(loss, top) for loss in finite]
    margin = 0.06 * (max(seen) - min(seen)) or 0.05
    up = Scale(max(0.0, min(seen) - margin), max(seen) + margin, BOTTOM, TOP)
    across = Scale(rates[0], max(rates[-1], 1.01 * rates[0]), LEFT, RIGHT, log=True)

    def line(values: Sequence[float], colour: str, width: float) -> Markup:
        kept = (up(min(loss, top)) if math.isfinite(loss) else math.nan for loss in values)
        points = zip((across(rate) for rate in rates), kept, strict=True)
        return svg.path([*points], colour, width)

    places = log_ticks(rates[0], across.high)
    shapes = [
        *svg.axes(across, up, ticks(up.low, up.high), places),
        svg.label(RIGHT + 30, BOTTOM + 16, "rate"),
        line(losses, GREY, 1),
        line(running_mean(losses), BLUE, 2),
        *([] if rate is None else _mark(across(rate), f"lr {rate:g}")),
    ]
    said = f"Loss at {len(losses)} learning rates from {rates[0]:.2g} to {rates[-1]:.2g}"
    said += f"; it falls fastest at {rate:g}" if rate is not None else ""
    return svg.image(WIDTH, HEIGHT, said, *shapes)


def running_mean(losses: Sequence[float]) -> list[float]:
    """Mean over the neighbours of each step, a twelfth of the run in all; NaN skipped.

    m_t = mean(loss_i, |i − t| ≤ h), h = steps/24 rounded down, fewer neighbours at both ends.
    """
    half = len(losses) // 24
    # Sums up to each place, so that a mean costs two differences however wide its window.
    totals = list(itertools.accumulate((x if math.isfinite(x) else 0.0 for x in losses), initial=0))
    counts = list(itertools.accumulate(map(math.isfinite, losses), initial=0))
    means = []
    for place in range(len(losses)):
        start, stop = max(0, place - half), min(len(losses), place + half + 1)
        seen = counts[stop] - counts[start]
        means.append((totals[stop] - totals[start]) / seen if seen else math.nan)
    return means


def thin(losses: Sequence[float], most: int = POINTS) -> list[tuple[int, float]]:
    """(step, loss), at most about `most` of them: the lowest and highest of each stretch."""
    pairs = list(enumerate(losses, start=1))
    if len(pairs) <= most:
        return pairs
    size = math.ceil(2 * len(pairs) / most)
    kept = {pairs[0], pairs[-1]}
    for start in range(0, len(pairs), size):
        stretch = [pair for pair in pairs[start : start + size] if math.isfinite(pair[1])]
        if stretch:
            kept |= {min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])}
    return sorted(kept)


def _points(losses: Sequence[float], across: Scale, up: Scale) -> list[svg.Point]:
    return [
        (across(step), up(loss) if math.isfinite(loss) else math.nan) for step, loss in thin(losses)
    ]


def _squares(places: Sequence[svg.Point]) -> list[Markup]:
    """Squares with a line from one to the next."""
    if not places:
        return []
    marks = (svg.box(x - 3, y - 3, 6, 6, fill=ORANGE) for x, y in places)
    return [svg.path(places, ORANGE, 1, stroke_dasharray="3 3"), *marks]


def _mark(x: float, what: str) -> list[Markup]:
    """A vertical line with a name on the side where there is room."""
    place, anchor = (x - 5, "end") if x > (LEFT + RIGHT) / 2 else (x + 5, "start")
    return [
        svg.path([(x, TOP), (x, BOTTOM)], ORANGE, 1),
        svg.label(place, TOP + 8, what, anchor),
    ]


def _axes(across: Scale, up: Scale, last: int) -> list[Markup]:
    steps = {1, *(round(v) for v, _ in ticks(1, last, 5) if 1 < v < last * 0.94), last}
    places = [(step, count(step)) for step in sorted(steps)]
    # To the right of the last step, whose number is centred at the end of the axis.
    after = RIGHT + max(22, 10 + 4 * len(count(last)))
    return [
        *svg.axes(across, up, ticks(up.low, up.high), places),
        svg.label(after, BOTTOM + 16, "steps"),
    ]
