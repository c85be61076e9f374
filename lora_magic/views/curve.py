"""A loss curve in SVG: every step faintly, a running mean over it. Knows losses; not the run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lora_magic.views import svg
from lora_magic.views.axis import Scale, ticks
from lora_magic.views.html import Markup
from lora_magic.views.numbers import figures
from lora_magic.views.style import BLUE, GREY

WIDTH, HEIGHT = 520.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 456.0, 12.0, 140.0
POINTS = 240


def loss_curve(losses: Sequence[float], total: int | None = None) -> Markup:
    """Loss over optimizer steps from 1; the axis reaches to `total` steps where it is given."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    if not finite:
        return Markup("")
    last = max(len(losses), total or 0, 2)
    across = Scale(1, last, LEFT, RIGHT)
    air = 0.06 * (max(finite) - min(finite)) or 0.05 * abs(finite[0]) or 0.05
    up = Scale(max(0.0, min(finite) - air), max(finite) + air, BOTTOM, TOP)
    mean = running_mean(losses)
    every = _points(losses, across, up)
    shapes = [
        *_axes(across, up, last),
        svg.path(every, GREY, 1, stroke_opacity=".75"),
        svg.path(_points(mean, across, up), BLUE, 2, tip="running mean"),
    ]
    end = mean[-1]
    if math.isfinite(end):
        x, y = across(len(losses)), up(end)
        shapes.append(svg.label(x + 6, y + 4, figures(end), size=12, weight="600"))
    said = f"Loss over {len(losses)} steps, from {figures(finite[0])} to {figures(finite[-1])}"
    return svg.picture(WIDTH, HEIGHT, said, *shapes)


def running_mean(losses: Sequence[float]) -> list[float]:
    """Exponential mean over about a twelfth of the run, unbiased at the start; NaN skipped.

    m_t = Σ βᵗ⁻ⁱ·loss_i / Σ βᵗ⁻ⁱ with β = 1 − 1/window, window = steps/12, at least 1.
    """
    beta = 1 - 1 / max(1.0, len(losses) / 12)
    total = weight = 0.0
    means = []
    for loss in losses:
        if math.isfinite(loss):
            total, weight = beta * total + loss, beta * weight + 1
        means.append(total / weight if weight else math.nan)
    return means


def thin(losses: Sequence[float], most: int = POINTS) -> list[tuple[int, float]]:
    """(step, loss), at most about `most` of them: of each stretch its lowest and highest."""
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


def _axes(across: Scale, up: Scale, last: int) -> list[Markup]:
    shapes = [svg.rule(LEFT, BOTTOM, RIGHT, BOTTOM, ".5")]
    for value, text in ticks(up.low, up.high):
        y = up(value)
        shapes += [svg.rule(LEFT, y, RIGHT, y, ".15"), svg.label(LEFT - 6, y + 4, text, "end")]
    steps = [1, *(round(v) for v, _ in ticks(1, last, 5) if 1 < v < last * 0.94), last]
    shapes += [
        svg.label(across(step), BOTTOM + 16, f"{step:,}", "middle") for step in sorted(set(steps))
    ]
    shapes.append(svg.label(RIGHT + 22, BOTTOM + 16, "steps"))
    return shapes
