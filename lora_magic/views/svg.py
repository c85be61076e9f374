"""Small pictures in SVG: presentational attributes alone, `currentColor` for text and axes.

Knows shapes and escaping; does not know what is drawn. No ids, so that pictures on one page
cannot take each other's parts, and no gradients or clips, which would need them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lora_magic.views.html import Markup, escaped, tag
from lora_magic.views.style import PICTURE

Point = tuple[float, float]


def coordinate(value: float) -> str:
    """A length in user units, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def picture(width: float, height: float, label: str, *shapes: str) -> Markup:
    """The <svg> element; `label` is what a screen reader says."""
    return tag(
        "svg",
        # Blanks between the parts: a sanitiser that drops SVG leaves its texts, else run together.
        *(Markup(f"{part}\n") for part in shapes),
        role="img",
        aria_label=label,
        width=coordinate(width),
        height=coordinate(height),
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        font_size="11",
        fill="currentColor",
        stroke_linejoin="round",
        stroke_linecap="round",
        style=PICTURE,
    )


def label(
    x: float, y: float, text: str, anchor: str = "start", size: int = 11, weight: str | None = None
) -> Markup:
    """Text whose base line starts, centres or ends (`anchor`) at (x, y)."""
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
    strokes = "".join(_stroke(run) for run in _runs(points))
    return tag(
        "path",
        d=strokes,
        fill="none",
        stroke=colour,
        stroke_width=coordinate(width),
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


def rules(lines: Sequence[tuple[Point, Point]], opacity: str = ".15") -> Markup:
    """Hair lines in the text's colour, one element for all: a grid, or an axis."""
    drawn = "".join(_stroke(ends) for ends in lines)
    return tag("path", d=drawn, stroke="currentColor", stroke_opacity=opacity)


def labels(anchor: str, places: Iterable[tuple[float, float, str]]) -> Markup:
    """Texts with one anchor: the ticks of an axis."""
    texts = [label(x, y, text) for x, y, text in places]
    return tag("g", *(Markup(f"{text}\n") for text in texts), text_anchor=anchor)


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
    # A round cap makes a dot of a line of no length.
    return "M" + " ".join([*drawn, *(drawn if len(drawn) == 1 else [])])
