"""A plan: the change that makes it fit, memory as stacked bars, and tables.

Knows a plan's numbers and words; does not compute them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views import svg
from lora_magic.views.axis import Scale, ticks
from lora_magic.views.html import Markup, tag
from lora_magic.views.style import (
    BLUE,
    GREEN,
    GREY,
    NOTE,
    ORANGE,
    PINK,
    code,
    details,
    figure,
    frame,
)
from lora_magic.views.style import heading as title
from lora_magic.views.style import line as one
from lora_magic.views.table import facts_table, table
from lora_magic.views.text import plain_table, shortened

if TYPE_CHECKING:
    from lora_magic.cost.plan import CostPlan, Row, TypeCount, Way

#: Each part's colour, and whether it is hatched: parts of one kind share a colour, and eight
#: colours cannot be told apart on both a white and a black page.
_LOOK = {
    "weights": (GREY, False),
    "adapter": (BLUE, False),
    "gradients": (ORANGE, False),
    "optimizer": (ORANGE, True),
    "activations": (GREEN, False),
    "logits": (GREEN, True),
    "cache": (PINK, False),
    "workspace": (PINK, True),
}
_OTHER = (BLUE, True)
_MODULES = "Parameters by type of module"
_KINDS = ("Modules", "Number", "d × k", "Parameters", "Trained")
_PEAK = "peak"

# Narrow enough for a page of 400 pixels: each way's name is above its bar, not beside it.
_LEFT, _WIDTH, _BAR, _STEP, _LETTER = 8.0, 440.0, 18.0, 46.0, 7.2
#: Free memory is in the picture up to this many times the highest peak.
_FAR = 2.5
#: Hours from which a time is given in whole ones.
_LONG = 10.0


def bundle(plan: CostPlan) -> dict[str, object]:
    """A plan's MIME bundle."""
    return {"text/plain": _plain(plan), "text/html": str(_page(plan))}


def _page(plan: CostPlan) -> Markup:
    ways, kinds = _ways(plan), list(map(_kind, plan.types))
    tokens = f", for {numbers.short(plan.tokens)} tokens" if plan.tokens else ""
    used = f"Memory at the peak, and what each way takes{tokens}"
    return frame(
        title(plan.line),
        _advice(plan),
        *([_bars(plan)] if any(way.memory.parts for way in plan.ways) else []),
        *[one(told, muted=True) for told in _refused(plan)],
        *([table(used, _names(plan), _bold(_whole(ways, " ")))] if ways else []),
        *([details(_MODULES, table(_MODULES, _KINDS, _whole(kinds, " ×")))] if kinds else []),
        *map(_question, plan.rows),
        facts_table("Also", _facts(plan)),
        *[one(note, muted=True) for note in plan.notes],
        label="Plan",
    )


def _plain(plan: CostPlan) -> str:
    ways, kinds = _ways(plan), list(map(_kind, plan.types))
    tables = [
        *([plain_table(_names(plan), ways)] if ways else []),
        *([plain_table([name.lower() for name in _KINDS], kinds)] if kinds else []),
    ]
    told = [
        *(f"{_asked(row)} {_with(row.answer, row.command, ' → ')}" for row in plan.rows),
        *(f"{name}: {value}" for name, value in _facts(plan)),
        *_refused(plan),
        *plan.notes,
    ]
    advice = [one_line(_with(plan.advice, plan.command, ": "))] if plan.advice else []
    return "\n".join([one_line(plan.line), *advice, *tables, *map(one_line, told)])


def _with(told: str, command: str, sign: str) -> str:
    """A text with the line to type, if there is one."""
    return sign.join(filter(None, (told, command)))


def _names(plan: CostPlan) -> list[str]:
    return ["Way", *(way.name for way in plan.ways)]


def _refused(plan: CostPlan) -> list[str]:
    """The ways that are impossible, with the reason."""
    return [f"{way.name}: {way.refused}" for way in plan.ways if way.refused]


def _bold(rows: list[list[str]]) -> list[list[str]]:
    """The rows with the peak's in bold."""
    return [[tag("strong", cell) for cell in row] if row[0] == _PEAK else row for row in rows]


def _whole(rows: list[list[str]], space: str) -> list[list[str]]:
    """Cells without a line break in this text."""
    return [[cell.replace(space, space.replace(" ", "\u00a0")) for cell in row] for row in rows]


def _advice(plan: CostPlan) -> Markup:
    """What to change, and the line to type; nothing if there is nothing to change."""
    if not plan.advice:
        return Markup("")
    typed = (": ", code(plan.command)) if plan.command else ()
    return tag("div", plan.advice, *typed, style=NOTE)


# The tables


def _memory(plan: CostPlan) -> list[list[str]]:
    """Bytes by part and way, and their sums."""
    parts = dict.fromkeys(part for way in plan.ways for part, _ in way.memory.parts)
    known = [part for part in _LOOK if part in parts]
    rows = [
        [part, *(numbers.size(size) if (size := way.memory.of(part)) else "" for way in plan.ways)]
        for part in (*known, *(part for part in parts if part not in _LOOK))
    ]
    return [*rows, [_PEAK, *map(_peak, plan.ways)]] if rows else []


def _peak(way: Way) -> str:
    return numbers.size(way.memory.peak) if way.memory.parts else numbers.MISSING


def _ways(plan: CostPlan) -> list[list[str]]:
    """Memory by part, and what each way takes and allows; rows that say nothing are left out."""
    rows = _memory(plan)
    for name, told in _TOLD.items():
        cells = [numbers.MISSING if way.refused else told(way) for way in plan.ways]
        if any(cell not in ("", numbers.MISSING) for cell in cells):
            rows.append([name, *cells])
    return rows


def _format(way: Way) -> str:
    return f"{way.setting.bits} bits" if way.setting.bits else way.setting.dtype


def _fits(way: Way) -> str:
    return numbers.MISSING if way.fits is None else "yes" if way.fits else "no"


def _most(value: int, way: Way) -> str:
    return numbers.MISSING if way.fits is None else numbers.count(value) if value else "none"


def _time(hours: float | None) -> str:
    """Hours, or minutes or seconds, with as many figures as a prediction has."""
    if hours is None:
        return numbers.MISSING
    if hours < 1:
        minutes = round(60 * hours)
        return f"{minutes} min" if minutes else numbers.duration(3600 * hours)
    return f"{numbers.count(hours) if hours >= _LONG else numbers.figures(hours, 2)} h"


def _price(price: float | None) -> str:
    if price is None:
        return numbers.MISSING
    return "under 0.01" if 0 < price < 0.01 else f"{price:,.2f}"


#: The rows of the ways' table.
_TOLD: dict[str, Callable[[Way], str]] = {
    "fits": _fits,
    "most rows": lambda way: _most(way.rows, way),
    "most tokens": lambda way: _most(way.length, way),
    "dtype": _format,
    "rows × tokens": lambda way: f"{way.setting.rows} × {way.setting.length:,}",
    "checkpointing": lambda way: "yes" if way.setting.checkpointing else "",
    "trained": lambda way: numbers.short(way.trained),
    "cards": lambda way: numbers.count(way.cards),
    "operations": lambda way: numbers.figures(way.flops) if way.flops else "",
    "time": lambda way: _time(way.hours),
    "price": lambda way: _price(way.price),
}


def _kind(kind: TypeCount) -> list[str]:
    shape = f"{numbers.count(kind.outputs)} × {numbers.count(kind.inputs)}"
    return [
        kind.kind,
        numbers.count(kind.modules),
        shape if kind.outputs and kind.inputs else numbers.MISSING,
        numbers.count(kind.parameters),
        numbers.count(kind.trained) if kind.trained else "",
    ]


def _question(row: Row) -> Markup:
    """A question, its answer, and the line to type below them."""
    typed = (tag("br"), code(row.command)) if row.command else ()
    return one(tag("strong", _asked(row)), f" {row.answer}", *typed)


def _asked(row: Row) -> str:
    return row.question if row.question.endswith("?") else f"{row.question}:"


def _facts(plan: CostPlan) -> list[tuple[str, str]]:
    base, active = plan.base_parameters, plan.active_parameters
    share = plan.trainable_parameters / base if base else 0
    facts = [("base", f"{numbers.count(base)} parameters")]
    if active != base:
        facts.append(("active for each token", f"{numbers.count(active)} parameters"))
    facts.append(
        ("trained", f"{numbers.count(plan.trainable_parameters)}, {numbers.percent(share)}")
    )
    if plan.checkpoint:
        facts.append(("one saved adapter", numbers.size(plan.checkpoint)))
    if plan.tasks:
        tasks = numbers.count(plan.tasks)
        facts.append((f"{tasks} adapters, one base", numbers.size(plan.stored)))
        facts.append((f"{tasks} whole models", numbers.size(plan.copies)))
    return facts


# The picture


def _bars(plan: CostPlan) -> Markup:
    """A stacked bar for each way, to one linear scale, and what is free as a line."""
    most = max(way.memory.peak for way in plan.ways)
    near = plan.room is not None and plan.room <= _FAR * most
    scale = Scale(0, max(most, plan.room or 0) if near else most, _LEFT, _WIDTH - _LEFT)
    top = 20.0 if near else 4.0
    bottom = top + _STEP * len(plan.ways)
    marks = [(scale(value), numbers.size(value) if value else "0") for value, _ in _marks(scale)]
    shapes = [svg.rules([((x, top), (x, bottom)) for x, _ in marks])]
    for place, way in enumerate(plan.ways):
        shapes += _bar(way, top + _STEP * place, scale)
    # A label at the very end would leave the picture.
    shown = [(x, bottom + 14, text) for x, text in marks if x + 24 < _WIDTH]
    shapes.append(svg.labels("middle", [mark for mark in shown if mark[0] > 24]))
    shapes += [svg.label(x, y, text) for x, y, text in shown if x <= 24]
    if near and plan.room is not None:
        shapes += _line(scale(plan.room), top, len(plan.ways), f"free: {numbers.size(plan.room)}")
    key, height = _key(plan, bottom + 26)
    drawn = svg.image(_WIDTH, height, _described(plan), *shapes, *key)
    return figure(drawn, _caption(plan, near=near))


def _marks(scale: Scale) -> list[tuple[float, str]]:
    return ticks(0, scale.high) if scale.high else []


def _bar(way: Way, y: float, scale: Scale) -> Iterator[Markup]:
    """A way's name and peak, and below them its parts one after the other."""
    yield svg.label(_LEFT, y + 15, shortened(one_line(way.name), 24), size=12, weight="600")
    if not way.memory.parts:
        told = "not possible" if way.refused else "not known"
        yield svg.label(scale.end, y + 15, told, "end", 12)
        return
    fits = {None: "", True: ", fits", False: ", does not fit"}[way.fits]
    yield svg.label(scale.end, y + 15, numbers.size(way.memory.peak) + fits, "end", 12)
    done = 0
    for part, size in _ordered(way):
        start, done = scale(done), done + size
        wide = scale(done) - start
        # A gap tells two parts apart whose colours a reader cannot; a hairline has no room for one.
        yield from _filled(part, start, y + 22, wide - 1 if wide > 4 else wide, _BAR)


def _ordered(way: Way) -> list[tuple[str, int]]:
    order = {part: place for place, part in enumerate(_LOOK)}
    return sorted(way.memory.parts, key=lambda part: order.get(part[0], len(order)))


def _filled(part: str, x: float, y: float, wide: float, high: float) -> list[Markup]:
    colour, hatched = _LOOK.get(part, _OTHER)
    if hatched:
        # An outline is drawn half outside.
        edge = min(1.0, wide)
        return svg.hatched(x + edge / 2, y + 0.5, wide - edge, high - 1, colour)
    return [svg.box(x, y, wide, high, fill=colour)]


def _line(x: float, top: float, bars: int, told: str) -> list[Markup]:
    """What is free, across each bar: black and white in turn, of which one is seen anywhere."""
    lines = [
        ((x, top + _STEP * place + 19), (x, top + _STEP * place + 25 + _BAR))
        for place in range(bars)
    ]
    across = [
        svg.path(ends, colour, 3, stroke_dasharray=dashes)
        for ends in lines
        for colour, dashes in (("#000000", None), ("#FFFFFF", "4 4"))
    ]
    half = _LETTER * len(told) / 2
    middle = min(max(x, _LEFT + half), _WIDTH - _LEFT - half)
    return [*across, svg.label(middle, 14, told, "middle", 12)]


def _key(plan: CostPlan, top: float) -> tuple[list[Markup], float]:
    """The parts that are drawn with their colours, in as many lines as they need; the height."""
    drawn = {part for way in plan.ways for part, _ in way.memory.parts}
    shapes: list[Markup] = []
    x, y = _LEFT, top
    for part in [*(part for part in _LOOK if part in drawn), *sorted(drawn - _LOOK.keys())]:
        name = shortened(one_line(part), 24)
        wide = 18 + _LETTER * len(name)
        if x + wide > _WIDTH:
            x, y = _LEFT, y + 18
        shapes += [*_filled(part, x, y, 12, 10), svg.label(x + 18, y + 9, name, size=12)]
        x += wide + 12
    return shapes, y + 18


def _caption(plan: CostPlan, *, near: bool) -> str:
    where = f" on {plan.where}" if plan.where else ""
    told = "Memory at the peak, by part"
    if plan.room is None:
        return f"{told}; how much is free{where} is not known"
    free = f"free{where}: {numbers.size(plan.room)}"
    return (
        f"{told}; the line is what is {free}" if near else f"{told}; {free}, beyond the right end"
    )


def _described(plan: CostPlan) -> str:
    peaks = [f"{way.name} {'not possible' if way.refused else _peak(way)}" for way in plan.ways]
    free = "" if plan.room is None else f"; free: {numbers.size(plan.room)}"
    return f"Memory at the peak: {', '.join(peaks)}{free}"
