"""What a chart of singular values shows: what the static and the interactive chart draw.

Of several modules a panel for each adapter and projection, with a line for each layer; of one
module a single panel, with a line for each adapter and one for W. Knows module paths, singular
values and colours; draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views.axis import log_range, log_ticks, thinned
from lora_magic.views.modules import Rows, in_order, layer, projections
from lora_magic.views.style import BLUE, GREEN, GREY, ORANGE, PINK, ramp
from lora_magic.views.text import shortened

if TYPE_CHECKING:
    from lora_magic.lowrank.spectrum import Spectrum

LINES_IN_A_PANEL = 8
LINES_IN_ALL = 40
POINTS_IN_ALL = 900
POINTS_OF_A_LINE = 48
#: The lines of adapters in one panel; the colour and the dashes differ from one to the next.
_OVERLAID = (BLUE, ORANGE, GREEN, PINK)

#: Adapter, module path, its singular values above 0 (largest first; none for ΔW = 0).
Series = tuple[str, str, Sequence[float]]


@dataclass(frozen=True)
class Line:
    """σ over its index from 1; `place` numbers its layer or adapter, −1 is W.

    `text` says on hover what it is.
    """

    text: str
    label: str
    place: int
    colour: str
    indices: tuple[int, ...]
    sigmas: tuple[float, ...]


@dataclass(frozen=True)
class Mark:
    """An intruder dimension: its index and σ in W + ΔW, and what it says on hover."""

    text: str
    colour: str
    index: int
    sigma: float


@dataclass(frozen=True)
class Panel:
    """Lines on common axes: the layers of one projection of an adapter, or adapters and W."""

    names: tuple[str, ...]
    note: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()

    def title(self, letters: int) -> str:
        """What it shows, in at most `letters` characters."""
        return shortened(one_line(" · ".join(self.names)), letters)


@dataclass(frozen=True)
class Chart:
    """The panels to draw, all on the same axes, and the words above them.

    `alone` is the chart of one module; its axis of indices is logarithmic, since W has hundreds of
    singular values and ΔW a few.
    """

    title: str
    words: tuple[str, ...]
    panels: tuple[Panel, ...]
    alone: bool = False

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The ends of the logarithmic axis of σ."""
        lines = [line for panel in self.panels for line in panel.lines]
        marks = [mark.sigma for panel in self.panels for mark in panel.marks]
        return log_range([*(sigma for line in lines for sigma in line.sigmas), *marks])

    @property
    def sigma_ticks(self) -> list[tuple[float, str]]:
        """Where that axis has ticks, and their labels."""
        return log_ticks(*self.sigma_range)

    @property
    def last(self) -> int:
        """The last index; an axis of one value reaches to 2."""
        return max(2, *(line.indices[-1] for panel in self.panels for line in panel.lines))

    @property
    def index_ticks(self) -> list[int]:
        """Indices with a label: the first, the one halfway, the last; or powers of two."""
        if not self.alone:
            return sorted({1, math.ceil(self.last / 2), self.last})
        powers = [2**n for n in range(self.last.bit_length())]
        return powers[:: math.ceil(len(powers) / 8)]


def few(series: Sequence[Series]) -> bool:
    """Can each of these be drawn as a line of its own?"""
    alive = [one for one in series if one[2]]
    groups = _groups(alive)
    return (
        0 < len(alive) <= LINES_IN_ALL
        and max(map(len, groups.values())) <= LINES_IN_A_PANEL
        and sum(len(sigmas) for _, _, sigmas in alive) <= POINTS_IN_ALL
    )


def _groups(series: Sequence[Series]) -> dict[tuple[str, str], list[Series]]:
    names = projections([path for _, path, _ in series])
    groups: dict[tuple[str, str], list[Series]] = {}
    for one in series:
        groups.setdefault((one[0], names[one[1]]), []).append(one)
    return groups


def by_layer(record: Spectrum) -> Chart:
    """A panel for each adapter and projection, in the order of their first module.

    Modules with ΔW = 0 are omitted.
    """
    alive = [one for one in record.curves() if one[2]]
    colours = _colours(alive)
    rows = {(str(row["adapter"]), str(row["module"])): row for row in record.measures()}
    panels = [
        Panel(
            names,
            _note([rows[one[:2]] for one in members]),
            tuple(_layer_line(member, colours) for member in members),
        )
        for names, members in _groups(alive).items()
    ]
    words = ("σ over its index; the same logarithmic scale in every panel.",)
    return Chart(titled(record), words, tuple(panels))


def of_one_module(record: Spectrum) -> Chart:
    """One module: σ of each adapter's ΔW, W's own, and the intruder dimensions."""
    (path,) = record.modules
    alive = [one for one in record.curves() if one[2]]
    colours = {one[0]: _OVERLAID[n % len(_OVERLAID)] for n, one in enumerate(alive)}
    lines = [
        _line(name, f"ΔW of {name}", n, colours[name], sigmas)
        for n, (name, _, sigmas) in enumerate(alive)
    ]
    own = [one for one in record.weights if one.sigma and one.sigma[0] > 0]
    for one in own:
        said = "all" if len(one.sigma) == one.count else "first"
        positive = [sigma for sigma in one.sigma if sigma > 0]
        lines.append(_line(f"W ({said} {len(one.sigma)})", f"W, {path}", -1, GREY, positive))
    marks = [
        Mark(f"intruder of {one.adapter}, |cosine| {cosine:.2f}", colours[one.adapter], at, sigma)
        for one in record.intruders
        if one.adapter in colours
        for at, sigma, cosine in one.found
    ]
    panel = Panel((path,), "", tuple(lines), tuple(marks))
    words = (
        "σ over its index; both scales are logarithmic.",
        *merged_words(record),
        *_beside(record),
        *intruder_words(record),
    )
    return Chart(titled(record), words, (panel,) if lines else (), alone=True)


def titled(record: Spectrum) -> str:
    """The adapters and what is shown of them."""
    names = shortened(one_line(", ".join(record.adapters)), 60)
    return f"{names}: singular values σ of ΔW" if names else "Singular values σ of ΔW"


def _beside(record: Spectrum) -> list[str]:
    """How ΔW compares to W, and what the intruders are, in sentences."""
    found = []
    (weight,) = record.weights or (None,)
    if weight is not None and weight.sigma:
        whole = len(weight.sigma) == weight.count
        how = f"the largest {len(weight.sigma)} of {weight.count:,}, by a randomised SVD"
        how = f"all {weight.count:,}, exact" if whole else how
        found.append(f"W has σ₁ = {numbers.figures(weight.sigma[0])} (dotted: {how}).")
    for row in record.measures():
        name, share = one_line(str(row["adapter"])), row["relative_norm"]
        if row["norm"] and share is not None:
            sigma = numbers.figures(row["sigma_1"])
            found.append(f"{name}: σ₁ = {sigma}, ‖ΔW‖ is {numbers.percent(share)} of ‖W‖.")
    return found


def merged_words(record: Spectrum) -> list[str]:
    """That a merged adapter's ΔW is not that of its factors."""
    if not record.merged:
        return []
    return [f"{record.merged} is merged: its ΔW is what is in the weights, rounding included."]


def intruder_words(record: Spectrum) -> list[str]:
    """How many intruder dimensions there are, or how to look for them."""
    examined = record.intruders
    if not examined:
        return []
    names = list(dict.fromkeys(one.adapter for one in examined))
    counts = [sum(len(one.found) for one in examined if one.adapter == name) for name in names]
    told = ", ".join(f"{n} of {one_line(name)}" for n, name in zip(counts, names, strict=True))
    return [
        f"Intruder dimensions: {told}. They are singular vectors, of the first 10 of W + ΔW, that "
        "W does not have (|cosine| with each of W's below 0.5). Their number grows with ‖ΔW‖/‖W‖: "
        "compare adapters at about equal loss."
    ]


def _note(rows: Rows) -> str:
    """A panel's second line: the median effective rank out of the rank."""
    ranks = sorted({numbers.count(row["rank"]) for row in rows}, key=len)
    rank = ranks[0] if len(ranks) == 1 else f"{ranks[0]}–{ranks[-1]}"
    middle = median(numbers.number(row["effective_rank"]) for row in rows)
    return f"effective rank {numbers.figures(middle)} of {rank}"


def _colours(series: Sequence[Series]) -> dict[str, tuple[int, str]]:
    """Number and colour of each layer, the same in every panel."""
    layers = sorted({_layer_label(path) for _, path, _ in series}, key=_by_number)
    return {one: (n, c) for n, (one, c) in enumerate(zip(layers, ramp(len(layers)), strict=True))}


def _layer_label(path: str) -> str:
    numbered = layer(path)
    return f"layer {numbered}" if numbered else path


def _by_number(label: str) -> tuple[list[int], str]:
    return in_order(label.removeprefix("layer "))


def _layer_line(member: Series, colours: Mapping[str, tuple[int, str]]) -> Line:
    _, path, sigmas = member
    label = _layer_label(path)
    return _line(label, path, *colours[label], sigmas)


def _line(label: str, text: str, place: int, colour: str, sigmas: Sequence[float]) -> Line:
    places = _spread(len(sigmas))
    indices = tuple(place + 1 for place in places)
    return Line(text, label, place, colour, indices, tuple(sigmas[place] for place in places))


def _spread(total: int) -> list[int]:
    """At most `POINTS_OF_A_LINE` places, the first ones all: there a spectrum bends."""
    if total <= POINTS_OF_A_LINE:
        return list(range(total))
    first = POINTS_OF_A_LINE // 3
    return [*range(first), *(first + n for n in thinned(total - first, POINTS_OF_A_LINE - first))]
