"""The inside of a run as small charts: gradients, σ, ‖ΔW‖ and effective rank against steps.

Knows readings of a run; does not know how they are taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_magic.numbers import count, figures
from lora_magic.printable import one_line
from lora_magic.views import svg
from lora_magic.views.axis import Scale, log_range, log_ticks, thinned, ticks
from lora_magic.views.html import Markup, tag
from lora_magic.views.style import BLUE, GREEN, ORANGE, figure, ramp
from lora_magic.views.text import shortened

if TYPE_CHECKING:
    from lora_magic.training.inside import Inside, Reading

#: The module of readings of all of them.
ALL = "all"
#: Lines of a chart at most.
LINES = 6
#: A chart: its cell, and in it the left and right end of the axis of steps, its top and bottom.
_CELL = (274.0, 150.0)
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 192.0, 26.0, 124.0
#: The height of a name.
_HIGH = 11.0
_COLOURS = {"A": BLUE, "B": ORANGE, "other": GREEN}

#: After how many steps, and the value; None where there is none.
Points = Sequence[tuple[int, float | None]]


@dataclass(frozen=True)
class _Chart:
    """Lines with a name, a colour and a place each, on the same axes."""

    title: str
    lines: tuple[tuple[str, str, Points], ...]
    log: bool = False

    @property
    def values(self) -> list[float]:
        """All values that the axis can show."""
        found = [value for _, _, points in self.lines for _, value in points if value is not None]
        return [value for value in found if value > 0] if self.log else found

    @property
    def up(self) -> Scale:
        if self.log:
            return Scale(*log_range(self.values, 6), _BOTTOM, _TOP, log=True)
        return Scale(0.0, 1.06 * max(self.values) or 1.0, _BOTTOM, _TOP)


def charts(
    inside: Inside | None,
    total: int | None = None,
    draw: Callable[..., Markup] = svg.image,
    best: int | None = None,
) -> Markup:
    """The figure of what was read in a run, whose axis extends to `total` steps; "" for nothing.

    `best` is the step whose weights were kept, marked by a vertical line. `draw` as for the loss.
    """
    found = [] if not inside else [chart for chart in _found(inside) if chart.values]
    if not inside or not found:
        return Markup("")
    last = max(total or 0, *(one.step for one in inside.readings), 1)
    shapes: list[Markup] = []
    for at, chart in enumerate(found):
        left, top = (at % 2) * _CELL[0], (at // 2) * _CELL[1]
        shapes.append(_placed(left, top, _drawn(chart, last, best)))
    width, height = min(2, len(found)) * _CELL[0], -(-len(found) // 2) * _CELL[1]
    said = "; ".join(map(_said, found))
    return figure(draw(width, height, said, *shapes), _caption(inside, found))


def _found(inside: Inside) -> Iterator[_Chart]:
    """The charts, some maybe without a value."""
    together = inside.of(ALL)
    factors = dict.fromkeys(factor for one in together for factor in one.gradients)
    yield _Chart(
        "Gradient norm, all modules",
        tuple(
            (factor, _COLOURS[factor], [(one.step, one.gradients.get(factor)) for one in together])
            for factor in factors
        ),
        log=True,
    )
    by_module = sorted(
        ((path, inside.of(path)) for path in inside.followed), key=_last_norm, reverse=True
    )
    yield from (_sigmas(path, readings) for path, readings in by_module[:1])
    kept = [by_module[at] for at in thinned(len(by_module), LINES)]
    colours = ramp(len(kept))
    for title, name in (("‖ΔW‖", "norm"), ("Effective rank of ΔW", "effective_rank")):
        yield _Chart(
            title,
            tuple(
                (_short(path), colour, [(one.step, getattr(one, name)) for one in readings])
                for (path, readings), colour in zip(kept, colours, strict=True)
            ),
        )


def _last_norm(module: tuple[str, Sequence[Reading]]) -> float:
    return next((one.norm for one in reversed(module[1]) if one.norm is not None), 0.0)


def _sigmas(path: str, readings: Sequence[Reading]) -> _Chart:
    """The largest σ of one module, each against the steps."""
    most = min(LINES, max(len(one.sigma) for one in readings))
    lines = (
        [(one.step, one.sigma[at] if at < len(one.sigma) else None) for one in readings]
        for at in range(most)
    )
    named = (
        (f"σ{str(at + 1).translate(_SUBSCRIPT)}", colour, points)
        for at, (colour, points) in enumerate(zip(ramp(most), lines, strict=True))
    )
    return _Chart(f"σ of {_short(path)}", tuple(named))


_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _short(path: str) -> str:
    """The layer's number and the module's name: `3.q_proj`."""
    numbers = re.findall(r"(?:^|\.)(\d+)(?=\.|$)", path)
    name = path.rsplit(".", 1)[-1]
    return shortened(one_line(".".join([*numbers[:1], name])), 12)


def _drawn(chart: _Chart, last: int, best: int | None) -> list[Markup]:
    across, up = Scale(0, last, _LEFT, _RIGHT), chart.up
    rows = log_ticks(up.low, up.high, 4) if chart.log else ticks(up.low, up.high, 3)
    shapes = [
        svg.label(0, 12, chart.title, weight="600"),
        *svg.axes(across, up, rows, [(0, "0"), (last, count(last))]),
        svg.label((_LEFT + _RIGHT) / 2, _BOTTOM + 16, "steps", "middle"),
    ]
    if best is not None:
        shapes.append(svg.path([(across(best), _TOP), (across(best), _BOTTOM)], ORANGE, 1))
    ends = []
    for name, colour, points in chart.lines:
        places = [(across(at), float("nan") if v is None else up(v)) for at, v in points]
        shapes.append(svg.path(places, colour, 1.5))
        seen = [place for place in places if place[1] == place[1]]
        ends += [(*seen[-1], name, colour)] if seen else []
    return [*shapes, *_names(ends)]


def _names(ends: Sequence[tuple[float, float, str, str]]) -> Iterator[Markup]:
    """The names of lines at their ends, moved apart where they would cover each other.

    A short line in its colour leads from the end to the name.
    """
    ordered = sorted(ends, key=lambda end: end[1])
    heights: list[float] = []
    for _, y, *_ in ordered:
        heights.append(max(y, heights[-1] + _HIGH) if heights else y)
    low = _BOTTOM - 4
    for at in reversed(range(len(heights))):
        heights[at] = min(heights[at], low)
        low = heights[at] - _HIGH
    for (x, line, name, colour), y in zip(ordered, heights, strict=True):
        yield svg.path([(x + 1, line), (x + 8, y)], colour, 1)
        yield svg.label(x + 10, y + 4, name)


def _placed(left: float, top: float, shapes: Sequence[Markup]) -> Markup:
    return tag("g", *shapes, transform=f"translate({left:g} {top:g})")


def _said(chart: _Chart) -> str:
    """The first and the last value of a chart's first lines, for screen readers."""
    parts = []
    for name, _, points in chart.lines[:3]:
        values = [value for _, value in points if value is not None]
        if values:
            parts.append(f"{name} {figures(values[0])} to {figures(values[-1])}")
    return f"{chart.title}: {', '.join(parts)}"


def _caption(inside: Inside, found: Sequence[_Chart]) -> str:
    """What the charts show, of which modules, and what the base has."""
    parts = ["Against the steps taken. Gradients are before clipping"]
    first = inside.of(ALL)[:1]
    zero = any(one.gradients.get("A") == 0 and one.step == 0 for one in first)
    parts += ["A's is 0 at step 0, since B = 0 there"] if zero and _starts_at_zero(inside) else []
    if inside.base_gradients:
        parts.append(f"{inside.base_gradients} of the base's tensors have a gradient")
    else:
        parts.append(f"W0: none of its {count(inside.base_tensors)} tensors has a gradient")
    followed = len(inside.followed)
    if followed < inside.modules:
        some = f"{followed} of {inside.modules} modules"
        parts.append(f"ΔW is followed in {some}, to take at most 1 % of the time")
    if not any(one.sigma for one in inside.readings):
        parts.append("σ and rank are not followed: this ΔW is not a product of factors")
    return f"{'. '.join(parts)}."


def _starts_at_zero(inside: Inside) -> bool:
    return all(one.norm in (None, 0.0) for one in inside.readings if one.step == 0)
