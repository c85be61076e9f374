"""The board: a table with the best values marked, and the curves of all adapters in one picture.

Knows a record's numbers; does not know how they were measured, nor how a page is sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views import svg
from lora_magic.views.axis import Scale, log_range, log_ticks, ticks
from lora_magic.views.html import Markup, joined, tag
from lora_magic.views.style import figure, frame, heading, ramp
from lora_magic.views.style import line as one
from lora_magic.views.table import copying, table
from lora_magic.views.text import plain_table, shortened

if TYPE_CHECKING:
    from lora_magic.evaluation.board import Board, BoardRow, Curve

#: Rows of a table, curves of a picture, and characters of a name in each.
ROWS, CURVES, NAME, LABEL = 60, 12, 24, 18

_BEST, _SAVED = "★", "saved"
_STAR = tag("span", _BEST, role="img", aria_label="best", title="best")
#: Rows that the button copies.
COPIED = 500
_WIDTH, _HEIGHT = 600.0, 228.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 462.0, 14.0, 192.0
_GAP = 13.0
_MOST = 1e9


def bundle(board: Board) -> dict[str, object]:
    """A board's MIME bundle."""
    told = [one(note, muted=True) for note in board.notes]
    body = [_table(board), _curves(board.curves)] if board.rows else []
    page = frame(heading(board.line), *told, *body, label="Board")
    return {"text/plain": _plain(board), "text/html": str(page)}


def table_html(board: Board, order: str = "data") -> str:
    """The page of the table alone, inside a control that sorts it; `order` says by what."""
    return str(frame(_table(board, inside=True), label=f"Board by {order}"))


def columns(board: Board) -> list[str]:
    """The columns in which some row has a value, in their order."""
    return [
        name for name in _SHOWN if any(getattr(row, name) not in (None, "") for row in board.rows)
    ]


def _table(board: Board, *, inside: bool = False) -> Markup:
    """Columns below each other where they belong together: sixteen in a line are too wide."""
    known, marks = columns(board), board.marks
    shown = [pair for cell in _CELLS if (pair := [name for name in cell if name in known])]
    rows = [
        [_cell(row, pair, [name for name in pair if (at, name) in marks]) for pair in shown]
        for at, row in enumerate(board.rows[:ROWS])
    ]
    caption = "Losses in nats: lower is better"
    caption += f"; {_BEST} the best among rows with the same data" if marks else ""
    if len(board.rows) > ROWS:
        caption += f"; the first {ROWS} of {len(board.rows)}, .to_frame() has every row"
    header = [_stacked([(_SHOWN[name][0], False) for name in pair]) for pair in shown]
    return table(caption, header, rows, left=2, copy=_copying(board, inside))


def _copying(board: Board, inside: bool) -> Markup:
    """Every column and digit, for a spreadsheet, but no path: a notebook may be published."""
    rows = [list(_SHOWN)]
    for row in board.rows[:COPIED]:
        told = {name: getattr(row, name) for name in _SHOWN} | {"saved": _SAVED * bool(row.saved)}
        rows.append(["" if value is None else str(value) for value in told.values()])
    return copying(rows, inside=inside)


def _cell(row: BoardRow, names: Sequence[str], best: Sequence[str]) -> Markup:
    return _stacked([(_text(row, name), name in best) for name in names])


def _stacked(values: Sequence[tuple[str, bool]]) -> Markup:
    """Values one below the other, the best ones marked."""
    lines = []
    for at, (value, best) in enumerate(values):
        shown = joined([tag("strong", value), _STAR]) if best else value
        lines += [*([tag("br")] if at else []), tag("span", shown, style="white-space:nowrap")]
    return joined(lines)


def _plain(board: Board) -> str:
    lines = [one_line(board.line), *map(one_line, board.notes)]
    if board.rows:
        shown, marks = columns(board), board.marks
        rows = [
            [_text(row, name) + (f" {_BEST}" if (at, name) in marks else "") for name in shown]
            for at, row in enumerate(board.rows[:ROWS])
        ]
        lines.append(plain_table([_SHOWN[name][0] for name in shown], rows, left=2))
    return "\n".join(lines)


def _text(row: BoardRow, name: str) -> str:
    value = getattr(row, name)
    return numbers.MISSING if value in (None, "") else _SHOWN[name][1](value)


def _real(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1e4 else numbers.figures(value)


def _signed(value: float) -> str:
    """With a sign, unless it is shown as zero."""
    text = _real(abs(value))
    zero = not any(digit in text for digit in "123456789")
    return text if zero else ("−" if value < 0 else "+") + text


def _minute(when: str) -> str:
    """`11-29 14:05` of an ISO time."""
    return when[5:16].replace("T", " ")


#: The title of each column, and its values as text.
_SHOWN: dict[str, tuple[str, Callable[[Any], str]]] = {
    "adapter": ("Adapter", lambda name: shortened(name, NAME)),
    "method": ("Method", lambda name: shortened(name, NAME)),
    "rank": ("Rank", numbers.count),
    "parameters": ("Params", numbers.short),
    "bytes": ("Bytes", numbers.size),
    "steps": ("Steps", numbers.count),
    "data": ("Data", str),
    "held_out": ("Held out", _real),
    "base_held_out": ("Base", _real),
    "gain": ("Gain", _signed),
    "subject": ("Subject", numbers.percent),
    "truth": ("Truth", numbers.percent),
    "guard": ("Guard", _real),
    "seconds": ("Seconds", numbers.duration),
    "when": ("UTC", _minute),
    "saved": ("Saved", lambda folder: _SAVED),
}

#: The columns of the table on a page, those below each other that belong together.
_CELLS = (
    ("adapter", "data"),
    ("method", "rank"),
    ("parameters", "bytes"),
    ("steps", "seconds"),
    ("held_out", "base_held_out"),
    ("gain", "guard"),
    ("subject", "truth"),
    ("when", "saved"),
)


# The picture


def _curves(curves: Sequence[Curve]) -> Markup:
    """The losses of all trained adapters over the steps of their last runs."""
    drawn = [(curve, points) for curve in curves if (points := _finite(curve))][:CURVES]
    if not drawn:
        return Markup("")
    steps = [step for _, points in drawn for step, _ in points]
    losses = [loss for _, points in drawn for _, loss in points]
    across = Scale(0, max(*steps, 1), _LEFT, _RIGHT)
    up = Scale(*log_range(losses), _BOTTOM, _TOP, log=True)
    shapes = [
        *svg.axes(across, up, log_ticks(up.low, up.high), ticks(0, across.high, 5)),
        svg.label(_RIGHT + 22, _BOTTOM + 16, "steps"),
    ]
    ends = []
    for (curve, points), colour in zip(drawn, ramp(len(drawn)), strict=True):
        places = [(across(step), up(loss)) for step, loss in points]
        dashes = None if curve.held_out else "4 3"
        shapes.append(svg.path(places, colour, 2, stroke_dasharray=dashes))
        x, y = places[-1]
        shapes.append(svg.box(x - 2, y - 2, 4, 4, fill=colour))
        ends.append((places[-1], colour, curve.adapter))
    shapes += _names(ends)
    said = f"Losses of {', '.join(curve.adapter for curve, _ in drawn)} over their steps"
    return figure(
        svg.image(_WIDTH, _HEIGHT, said, *shapes), _caption([c for c, _ in drawn], len(curves))
    )


def _caption(curves: Sequence[Curve], total: int) -> str:
    held_out = [curve for curve in curves if curve.held_out]
    if not held_out:
        caption = "Training loss of each last run, averaged over stretches of steps"
    else:
        caption = "Held-out loss over the steps of each last run"
        if len(held_out) < len(curves):
            caption += "; dashed: training loss, where no rows were held out"
        if len({curve.data for curve in held_out}) > 1:
            caption += "; measured on different rows, so the heights cannot be compared"
    return caption + (f"; the first {len(curves)} of {total}" if total > len(curves) else "")


def _finite(curve: Curve) -> list[tuple[int, float]]:
    """What a logarithmic axis can show; a file can hold any number."""
    return [(step, loss) for step, loss in curve.points if 0 < loss < _MOST]


def _names(ends: Sequence[tuple[svg.Point, str, str]]) -> list[Markup]:
    """Names at the right, level with their curves' ends where there is room, with lines to them."""
    order = sorted(ends, key=lambda end: end[0][1])
    heights: list[float] = []
    for (_, y), _, _ in order:
        heights.append(max(y, heights[-1] + _GAP) if heights else max(y, _TOP))
    # The lowest names must not leave the picture.
    limit = _BOTTOM - 2
    for at in reversed(range(len(heights))):
        heights[at], limit = min(heights[at], limit), min(heights[at], limit) - _GAP
    shapes = []
    for ((x, y), colour, name), height in zip(order, heights, strict=True):
        shapes.append(svg.path([(x + 2, y), (_RIGHT + 10, height)], colour, 0.75))
        shapes.append(svg.label(_RIGHT + 14, height + 4, shortened(one_line(name), LABEL)))
    return shapes
