"""Small pictures in SVG: presentation attributes only, `currentColor` for text and axes.

Knows shapes and escaping; does not know what is drawn. No ids, so that pictures on one page
cannot refer to each other's parts, and no gradients or clips, which would need them.

A picture that stays in a notebook is an `image`: JupyterLab's sanitiser drops <svg> from a
notebook that was not run here, and leaves the labels behind as loose words. One that is redrawn
several times a second is a `picture`, since an image would flicker.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence

from lora_magic.views.axis import Scale
from lora_magic.views.html import Markup, escaped, tag
from lora_magic.views.style import GREY, IMAGE, PICTURE

Point = tuple[float, float]
SOURCE = "data:image/svg+xml;base64,"
# An image inherits neither the page's colour nor its font: grey is readable on white and black.
_ALONE = {
    "xmlns": "http://www.w3.org/2000/svg",
    "color": GREY,
    "font_family": "system-ui,sans-serif",
}


def coordinate(value: float) -> str:
    """A length in user units, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def picture(width: float, height: float, label: str, *shapes: str) -> Markup:
    """The <svg> element, in the colours of its page; `label` is the text for screen readers."""
    return _drawn(width, height, shapes, role="img", aria_label=label, style=PICTURE)


def file(width: float, height: float, label: str, *shapes: str) -> Markup:
    """The same drawing as the text of an .svg file, in colours of its own."""
    return _drawn(width, height, (tag("title", label), *shapes), **_ALONE)


def image(width: float, height: float, label: str, *shapes: str) -> Markup:
    """The same drawing inside an <img>, which survives a sanitiser."""
    alone = _drawn(width, height, shapes, **_ALONE)
    return tag(
        "img",
        alt=label,
        src=SOURCE + base64.b64encode(alone.encode()).decode("ascii"),
        width=coordinate(width),
        height=coordinate(height),
        style=IMAGE,
    )


def _drawn(width: float, height: float, shapes: Iterable[str], **more: object) -> Markup:
    return tag(
        "svg",
        *shapes,
        width=coordinate(width),
        height=coordinate(height),
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        font_size="11",
        fill="currentColor",
        **more,
    )


def label(
    x: float, y: float, text: str, anchor: str = "start", size: int = 11, weight: str | None = None
) -> Markup:
    """Text whose baseline starts, centres or ends (`anchor`) at (x, y)."""
    return tag(
        "text",
        escaped(text, guard="tspan"),
        x=coordinate(x),
        y=coordinate(y),
        text_anchor=None if anchor == "start" else anchor,
        font_size=None if size == 11 else size,
        font_weight=weight,
    )


def path(points: Sequence[Point], colour: str, width: float = 1.5, **more: object) -> Markup:
    """A line through `points`; NaN breaks it. A lone point becomes a dot."""
    runs = _runs(points)
    return tag(
        "path",
        d="".join(map(_stroke, runs)),
        fill="none",
        stroke=colour,
        stroke_width=coordinate(width),
        # A round cap draws a line of length 0 as a dot.
        stroke_linecap="round" if any(len(run) == 1 for run in runs) else None,
        **more,
    )


def area(upper: Sequence[Point], lower: Sequence[Point], colour: str) -> Markup:
    """The band between two lines over the same x."""
    outline = [*upper, *reversed(lower)]
    return tag("path", d=_stroke(outline) + "Z", fill=colour, fill_opacity=".22")


def box(x: float, y: float, width: float, height: float, **more: object) -> Markup:
    """A rectangle."""
    places = {"x": x, "y": y, "width": width, "height": height}
    return tag("rect", **{key: coordinate(value) for key, value in places.items()}, **more)


def hatched(
    x: float, y: float, width: float, height: float, colour: str | None = None
) -> list[Markup]:
    """An outline with diagonals, in grey or in a stronger colour; a pattern would need an id."""
    step, lines = 6.0, []
    for at in range(1, math.ceil((width + height) / step)):
        run = at * step
        start = (x + min(run, width), y + max(0.0, run - width))
        end = (x + max(0.0, run - height), y + min(run, height))
        lines.append((start, end))
    inside, thick, strong = (".2", "1", "1") if colour else (".08", ".5", ".6")
    drawn = {"fill_opacity": inside, "stroke": colour or GREY, "stroke_width": thick}
    return [
        box(x, y, width, height, fill=colour or GREY, **drawn),
        rules(lines, strong, colour or "currentColor"),
    ]


def rules(
    lines: Sequence[tuple[Point, Point]], opacity: str = ".15", colour: str = "currentColor"
) -> Markup:
    """Hairlines, by default in the text's colour, all in one element: a grid, or an axis."""
    drawn = "".join(_stroke(ends) for ends in lines)
    return tag("path", d=drawn, stroke=colour, stroke_opacity=opacity)


def axes(
    across: Scale,
    up: Scale,
    rows: Sequence[tuple[float, str]],
    columns: Sequence[tuple[float, str]],
) -> list[Markup]:
    """A line for each of the `rows`, the axis at the bottom, and the labels of both."""
    left, right, bottom = across.start, across.end, up.start
    heights = [(up(value), text) for value, text in rows]
    return [
        rules([((left, y), (right, y)) for y, _ in heights]),
        labels("end", [(left - 6, y + 4, text) for y, text in heights]),
        rules([((left, bottom), (right, bottom))], ".5"),
        labels("middle", [(across(value), bottom + 16, text) for value, text in columns]),
    ]


def labels(anchor: str, places: Iterable[tuple[float, float, str]]) -> Markup:
    """Texts with one anchor: the ticks of an axis."""
    return tag("g", *(label(x, y, text) for x, y, text in places), text_anchor=anchor)


def _runs(points: Iterable[Point]) -> list[list[Point]]:
    runs: list[list[Point]] = [[]]
    for point in points:
        if point[0] == point[0] and point[1] == point[1]:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _stroke(points: Sequence[Point]) -> str:
    drawn = [f"{coordinate(x)},{coordinate(y)}" for x, y in points]
    return "M" + " ".join([*drawn, *(drawn if len(drawn) == 1 else [])])
