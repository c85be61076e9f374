"""A matrix of numbers as a picture: a colour for each cell, the number in it if it fits, a legend.

Colours go from dark blue over grey to yellow, which differ in lightness too, so that they are told
apart without seeing hues and on white and black pages. Knows numbers and labels; does not know what
they are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

from lora_magic.numbers import figures
from lora_magic.printable import one_line
from lora_magic.views import svg
from lora_magic.views.axis import Scale, ticks
from lora_magic.views.html import Markup, tag
from lora_magic.views.style import ORANGE, mixed
from lora_magic.views.text import shortened

# A saved notebook shows a cell of JupyterLab about 700 px wide on a screen of 800.
_WIDTH = 690.0
_WIDEST, _HIGHEST, _LOWEST = 56.0, 22.0, 7.0
_LETTER, _BOLD, _DIGIT, _LABEL_LETTERS = 6.7, 8.3, 5.4, 24
_HEAD, _FOOT = 46.0, 44.0
_LEGEND = 200.0
# Cividis, by Nuñez, Anderton and Renslow 2018, at five places.
_STOPS = ("#00224E", "#414D6B", "#7C7B78", "#BCAF6F", "#FEE838")
_LEVELS = 24
# From this level on a cell is light enough for black digits.
_BLACK, _WHITE, _BRIGHT = "#000000", "#FFFFFF", _LEVELS // 2
NONE = "n/a"


def heat_map(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    low: float,
    high: float,
    *,
    live: bool = False,
    marks: Collection[tuple[int, int]] = (),
    marked: str = "",
) -> Markup:
    """The matrix, its first row on top, coloured from `low` to `high`.

    None is hatched, n/a; NaN is no cell at all. `title` is above the picture, and the beginning of
    its text for screen readers. An image, which a saved notebook keeps; with `live`, for an output
    that is redrawn, a picture in which each value shows on hover. The cells of `marks` have a
    corner, which the legend calls `marked`.
    """
    frame = _Frame(rows, columns)
    missing = any(one is None for row in values for one in row)
    shapes = [
        svg.label(
            0, 13, shortened(one_line(title), int(frame.width / _BOLD)), size=12, weight="600"
        ),
        *frame.labels(),
        *(_named_cells if live else _cells)(frame, values, low, high),
        *_digits_in(frame, values, low, high),
        *(_corner(frame.corner(*place), frame.inside[0]) for place in marks),
        *_legend(frame, low, high, missing),
        *(_mark_legend(frame, marked, missing) if marks else ()),
    ]
    draw = svg.picture if live else svg.image
    return draw(frame.width, frame.height, _described(values, rows, columns, title), *shapes)


class _Frame:
    """Where the cells are: wide enough for their numbers if all fit, and at most as wide as a page.

    Beside and above them are the labels, only every second or so where there is no room for all.
    """

    def __init__(self, rows: Sequence[str], columns: Sequence[str]) -> None:
        self.rows = [shortened(one_line(row), _LABEL_LETTERS) for row in rows]
        self.columns = [shortened(one_line(column), _LABEL_LETTERS) for column in columns]
        longest = max(map(len, self.columns), default=0) * _LETTER + 8
        self.left = max(map(len, self.rows), default=0) * _LETTER + 10
        room = (_WIDTH - self.left) / max(1, len(columns))
        self.wide = max(_LOWEST, min(room, max(_WIDEST, longest)))
        self.high = min(_HIGHEST, max(_LOWEST, _WIDTH / max(1, len(rows))))
        self.end = self.left + self.wide * len(columns)
        self.bottom = _HEAD + self.high * len(rows)
        self.width = max(self.end + 4, self.left + _LEGEND + 260)
        self.height = self.bottom + _FOOT

    @property
    def inside(self) -> svg.Point:
        """Width and height of a cell, without the gap to its neighbours."""
        gap = 1.0 if min(self.wide, self.high) >= 9 else 0.0
        return self.wide - gap, self.high - gap

    def corner(self, row: int, column: int) -> svg.Point:
        """The upper left corner of a cell."""
        return self.left + self.wide * column, _HEAD + self.high * row

    def middle(self, row: int, column: int) -> svg.Point:
        """Where the digits of a cell begin: its middle, on their base line."""
        x, y = self.corner(row, column)
        return x + self.inside[0] / 2, y + self.inside[1] / 2 + 3.5

    def stroke(self, row: int, column: int) -> str:
        """A cell as a part of a path that is as wide as a cell is high."""
        x, y = self.corner(row, column)
        middle = svg.coordinate(y + self.inside[1] / 2)
        return f"M{svg.coordinate(x)},{middle}h{svg.coordinate(self.inside[0])}"

    def labels(self) -> Iterator[Markup]:
        """The names of the rows, and of as many columns as fit."""
        most = max(2, int(self.high * len(self.rows) / 11))
        yield svg.labels(
            "end",
            [
                (self.left - 6, self.corner(place, 0)[1] + self.high / 2 + 4, self.rows[place])
                for place in _spaced(len(self.rows), most)
            ],
        )
        longest = max(map(len, self.columns), default=0) * _LETTER + 4
        most = max(2, int(self.wide * len(self.columns) / longest)) if longest else 0
        yield svg.labels(
            "middle",
            [
                (self.corner(0, place)[0] + self.wide / 2, _HEAD - 7, self.columns[place])
                for place in _spaced(len(self.columns), most)
            ],
        )


def _cells(
    frame: _Frame, values: Sequence[Sequence[float | None]], low: float, high: float
) -> Iterator[Markup]:
    """A path for all cells of one colour, and the hatched ones: an image has to be small."""
    places: dict[int | None, list[str]] = {}
    for i, j, value in _numbered(values):
        level = None if value is None else _level(value, low, high)
        places.setdefault(level, []).append(frame.stroke(i, j))
    wide = svg.coordinate(frame.inside[1])
    for level, cells in places.items():
        if level is not None:
            yield tag("path", d="".join(cells), stroke=_colour(level), stroke_width=wide)
    for i, j, value in _numbered(values):
        if value is None:
            yield from svg.hatched(*frame.corner(i, j), *frame.inside)


def _named_cells(
    frame: _Frame, values: Sequence[Sequence[float | None]], low: float, high: float
) -> Iterator[Markup]:
    """An element for each cell, which names itself on hover."""
    for i, j, value in _numbered(values):
        title = tag("title", f"{frame.rows[i]}, {frame.columns[j]}: {_digits(value)}")
        if value is None:
            drawn = svg.hatched(*frame.corner(i, j), *frame.inside)
        else:
            colour = _colour(_level(value, low, high))
            drawn = [svg.box(*frame.corner(i, j), *frame.inside, fill=colour)]
        yield tag("g", title, *drawn)


def _digits_in(
    frame: _Frame, values: Sequence[Sequence[float | None]], low: float, high: float
) -> Iterator[Markup]:
    """The numbers in the cells, if all fit; black on light cells, white on dark ones."""
    cells = [one for one in _numbered(values) if one[2] is not None]
    widest = max((len(_digits(value)) for _, _, value in cells), default=0)
    if widest * _DIGIT + 3 > frame.wide or frame.high < 12:
        return
    for ink, bright in ((_BLACK, True), (_WHITE, False)):
        texts = [
            tag("text", _digits(value), x=svg.coordinate(x), y=svg.coordinate(y))
            for i, j, value in cells
            if value is not None and (_level(value, low, high) > _BRIGHT) == bright
            for x, y in [frame.middle(i, j)]
        ]
        more = {"pointer_events": "none", "font_size": 9, "text_anchor": "middle"}
        yield tag("g", *texts, fill=ink, **more)


def _corner(place: svg.Point, wide: float) -> Markup:
    """A triangle in the upper right corner of a cell, seen on every colour by its outline."""
    x, y = place[0] + wide, place[1]
    drawn = f"M{svg.coordinate(x - 7)},{svg.coordinate(y)}h7v7z"
    return tag("path", d=drawn, fill=ORANGE, stroke=_WHITE, stroke_width=".8")


def _mark_legend(frame: _Frame, marked: str, missing: bool) -> Iterator[Markup]:
    left, top = frame.left + _LEGEND + (84 if missing else 24), frame.bottom + 10
    yield _corner((left, top + 1), 8)
    yield svg.label(left + 14, top + 9, marked)


def _legend(frame: _Frame, low: float, high: float, missing: bool) -> Iterator[Markup]:
    """The colours of the range and their values, and what hatching means if there is any."""
    top, step = frame.bottom + 10, _LEGEND / (_LEVELS + 1)
    for level in range(_LEVELS + 1):
        yield svg.box(frame.left + step * level, top, step + 0.5, 10, fill=_colour(level))
    scale = Scale(low, high, frame.left, frame.left + _LEGEND)
    marks = ticks(low, high) if high > low else [(low, _digits(low))]
    if high > low and high - marks[-1][0] > 0.15 * (high - low):
        marks.append((high, _digits(high)))
    yield svg.labels("middle", [(scale(value), top + 22, text) for value, text in marks])
    if missing:
        right = frame.left + _LEGEND + 24
        yield from svg.hatched(right, top, 18, 10)
        yield svg.label(right + 24, top + 9, NONE)


def _described(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> str:
    """The title, the size, and the cells with the smallest and the largest value."""
    named = [
        (value, f"{_digits(value)} ({one_line(rows[i])}, {one_line(columns[j])})")
        for i, j, value in _numbered(values)
        if value is not None
    ]
    size = f"{one_line(title)}: heat map of {len(rows)} by {len(columns)}"
    if not named:
        return f"{size}, all {NONE}"
    return f"{size}, from {min(named)[1]} to {max(named)[1]}"


def _numbered(
    values: Sequence[Sequence[float | None]],
) -> Iterator[tuple[int, int, float | None]]:
    """Row, column and value of every cell that there is."""
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            if value is None or not math.isnan(value):
                yield i, j, value


def _spaced(total: int, most: int) -> range:
    """Every place, every second, …: at most `most`, from the first."""
    return range(0, total, max(1, math.ceil(total / most)))


def _level(value: float, low: float, high: float) -> int:
    """Where `value` lies between `low` and `high`: one of the levels, from 0."""
    share = min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.5
    return round(share * _LEVELS)


def _colour(level: int) -> str:
    place = level / _LEVELS * (len(_STOPS) - 1)
    part = min(len(_STOPS) - 2, int(place))
    return mixed(_STOPS[part], _STOPS[part + 1], place - part)


def _digits(value: float | None) -> str:
    """Two significant figures, without a leading zero: 5.2, .34."""
    if value is None:
        return NONE
    text = figures(float(f"{value:.1e}"), 2)  # 9.96 is 10, not 10.0
    return text[1:] if text.startswith("0.") else text
