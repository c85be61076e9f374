"""What a spectrum's chart shows: the description that the static and the interactive chart draw.

A panel for each adapter and projection; within a panel the modules differ by their layer. Few
layers are drawn as one line each, many as the median and the range over layers at each index. Knows
module paths, singular values and colours; draws nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lora_magic import numbers
from lora_magic.printable import one_line
from lora_magic.views.axis import log_range, log_ticks, thinned
from lora_magic.views.style import ramp
from lora_magic.views.text import shortened

LINES_IN_A_PANEL = 8
LINES_IN_ALL = 40
POINTS_IN_ALL = 900
POINTS_OF_A_LINE = 48
BAND_POINTS = 340
PANELS = 14

#: Adapter, module path, its singular values above 0 (largest first; none for ΔW = 0).
Series = tuple[str, str, Sequence[float]]
Rows = Sequence[Mapping[str, object]]
_NUMBER = re.compile(r"(?:^|(?<=\.))\d+(?=\.|$)")


@dataclass(frozen=True)
class Line:
    """σ of one module over its index from 1; `place` numbers its layer."""

    module: str
    label: str
    place: int
    colour: str
    indices: tuple[int, ...]
    sigmas: tuple[float, ...]


@dataclass(frozen=True)
class Band:
    """Median and range of σ over the modules of a panel, at each index."""

    indices: tuple[int, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """The modules of one projection in one adapter: either lines or a band."""

    adapter: str
    projection: str
    note: str
    modules: tuple[str, ...]
    lines: tuple[Line, ...]
    band: Band | None

    def title(self, letters: int) -> str:
        """Adapter and projection, in at most `letters` characters."""
        return shortened(one_line(f"{self.adapter} · {self.projection}"), letters)

    def values(self) -> list[float]:
        """Every σ shown."""
        if self.band:
            return [*self.band.low, *self.band.middle, *self.band.high]
        return [sigma for line in self.lines for sigma in line.sigmas]

    @property
    def last(self) -> int:
        """The largest index shown."""
        runs = [self.band.indices] if self.band else [line.indices for line in self.lines]
        return max(max(run) for run in runs)


@dataclass(frozen=True)
class Chart:
    """The panels to draw, all on the same axes, and the words above them."""

    title: str
    words: tuple[str, ...]
    panels: tuple[Panel, ...]

    @property
    def sigma_range(self) -> tuple[float, float]:
        """The ends of the logarithmic axis of σ."""
        return log_range([value for panel in self.panels for value in panel.values()])

    @property
    def sigma_ticks(self) -> list[tuple[float, str]]:
        """Where that axis has ticks, and their labels."""
        return log_ticks(*self.sigma_range)

    @property
    def last(self) -> int:
        """The last index; an axis of one value reaches to 2."""
        return max(2, *(panel.last for panel in self.panels))

    @property
    def index_ticks(self) -> list[int]:
        """The first index, the one halfway, the last."""
        return sorted({1, math.ceil(self.last / 2), self.last})


def chart(adapters: Sequence[str], series: Sequence[Series], measures: Rows) -> Chart:
    """The chart of these spectra; `measures` are the rows of the record's summary."""
    panels = gather(series, measures)
    names = shortened(one_line(", ".join(adapters)), 60)
    title = f"{names}: singular values σ of ΔW" if names else "Singular values σ of ΔW"
    return Chart(title, tuple(_words(series, panels)), panels[:PANELS])


def _words(series: Sequence[Series], panels: Sequence[Panel]) -> list[str]:
    """What is shown, and what is not, in sentences."""
    if not series:
        return ["No modules to show."]
    zero = [(name, path) for name, path, sigmas in series if not sigmas]
    if len(zero) == len(series):
        return ["Not trained yet: ΔW = 0 in every module."]
    words = ["σ over its index; the same logarithmic scale in every panel."]
    if panels[0].band:
        total, first = sum(len(panel.modules) for panel in panels), panels[0]
        command = f"%lora spectrum {one_line(first.adapter)} --module {first.modules[0]}"
        words.append(
            f"{total} modules. Line: median over layers; band: smallest to largest. "
            f"One module alone: {command}"
        )
    if len(panels) > PANELS:
        words.append(f"The first {PANELS} of {len(panels)} panels are drawn: name fewer adapters.")
    if zero:
        names = ", ".join(f"{path} ({name})" for name, path in zero[:3])
        more = f" and {len(zero) - 3} more" if len(zero) > 3 else ""
        words.append(f"Not drawn, since ΔW = 0: {names}{more}.")
    return words


def gather(series: Sequence[Series], measures: Rows) -> tuple[Panel, ...]:
    """The panels in the order of their first module; modules with ΔW = 0 are omitted."""
    alive = [one for one in series if one[2]]
    names = projections([path for _, path, _ in alive])
    groups: dict[tuple[str, str], list[Series]] = {}
    for one in alive:
        groups.setdefault((one[0], names[one[1]]), []).append(one)
    largest = max(map(len, groups.values()), default=0)
    points = sum(len(sigmas) for _, _, sigmas in alive)
    together = largest > LINES_IN_A_PANEL or len(alive) > LINES_IN_ALL or points > POINTS_IN_ALL
    most = max(8, min(POINTS_OF_A_LINE, BAND_POINTS // (3 * max(1, min(len(groups), PANELS)))))
    colours = _colours(alive)
    rows = {(str(row["adapter"]), str(row["module"])): row for row in measures}
    return tuple(
        Panel(
            adapter,
            projection,
            _note([rows[one[:2]] for one in members]),
            tuple(path for _, path, _ in members),
            () if together else tuple(_line(member, colours) for member in members),
            _band(members, most) if together else None,
        )
        for (adapter, projection), members in groups.items()
    )


def _note(rows: Rows) -> str:
    """A panel's second line: the median effective rank out of the rank."""
    ranks = sorted({numbers.count(row["rank"]) for row in rows}, key=len)
    rank = ranks[0] if len(ranks) == 1 else f"{ranks[0]}–{ranks[-1]}"
    middle = median(numbers.number(row["effective_rank"]) for row in rows)
    return f"effective rank {numbers.figures(middle)} of {rank}"


def _colours(series: Sequence[Series]) -> dict[str, tuple[int, str]]:
    """Number and colour of each layer, the same in every panel."""
    layers = sorted({_layer_label(path) for _, path, _ in series}, key=_in_order)
    return {one: (n, c) for n, (one, c) in enumerate(zip(layers, ramp(len(layers)), strict=True))}


def _layer_label(path: str) -> str:
    numbered = layer(path)
    return f"layer {numbered}" if numbered else path


def _in_order(label: str) -> tuple[list[int], str]:
    return [int(part) for part in _NUMBER.findall(label.removeprefix("layer "))], label


def projections(paths: Sequence[str]) -> dict[str, str]:
    """The shortest name for each module's kind: q_proj, or attention.dense if dense is ambiguous.

    Two modules are of one kind if their paths differ only in their numbers.
    """
    kinds = {path: _NUMBER.sub("*", path) for path in paths}
    different = sorted(set(kinds.values()))
    names = {kind: _suffix(kind, different) for kind in different}
    return {path: names[kind] for path, kind in kinds.items()}


def layer(path: str) -> str:
    """The numbers of a path: 3 for model.layers.3.self_attn.q_proj."""
    return ".".join(_NUMBER.findall(path))


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The numbers and the kind of each path: 3.q_proj for model.layers.3.self_attn.q_proj.

    Names are unique, since paths of one kind differ in their numbers.
    """
    kinds = projections(paths)
    return {path: ".".join(filter(None, (layer(path), kinds[path]))) for path in paths}


def by_projection(summary: Rows) -> dict[tuple[str, str], list[Mapping[str, object]]]:
    """The summary's rows of each adapter and projection."""
    names = projections([str(row["module"]) for row in summary])
    groups: dict[tuple[str, str], list[Mapping[str, object]]] = {}
    for row in summary:
        groups.setdefault((str(row["adapter"]), names[str(row["module"])]), []).append(row)
    return groups


def _suffix(kind: str, kinds: Sequence[str]) -> str:
    parts = kind.split(".")
    for length in range(1, len(parts) + 1):
        tail = parts[-length:]
        named = any(part != "*" for part in tail)
        if named and sum(other.split(".")[-length:] == tail for other in kinds) == 1:
            return ".".join(tail)
    return kind


def _line(member: Series, colours: Mapping[str, tuple[int, str]]) -> Line:
    _, path, sigmas = member
    places = thinned(len(sigmas), POINTS_OF_A_LINE)
    label = _layer_label(path)
    indices = tuple(place + 1 for place in places)
    return Line(path, label, *colours[label], indices, tuple(sigmas[place] for place in places))


def _band(members: Sequence[Series], most: int) -> Band:
    places = thinned(max(len(sigmas) for _, _, sigmas in members), most)
    seen = [[s[place] for _, _, s in members if len(s) > place] for place in places]
    indices = tuple(place + 1 for place in places)
    return Band(indices, *(tuple(float(part(one)) for one in seen) for part in (min, median, max)))
