"""The spectra of many modules gathered into panels, one for each adapter and projection.

Within a panel the modules differ by their layer. Few layers are shown as a line each; many as the
median and the range over layers at each index. Knows module paths and σ; draws nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lora_magic.views.axis import thinned

LINES_IN_A_PANEL = 8
LINES_IN_ALL = 40
POINTS_IN_ALL = 900
POINTS_OF_A_LINE = 48
BAND_POINTS = 400
PANELS = 14

Series = tuple[str, str, Sequence[float]]
_NUMBER = re.compile(r"(?:^|(?<=\.))\d+(?=\.|$)")


@dataclass(frozen=True)
class Curve:
    """σ of one module over its index from 1; NaN where σ is zero."""

    module: str
    layer: str
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
    """The modules of one projection in one adapter: either curves or a band."""

    adapter: str
    projection: str
    modules: tuple[str, ...]
    curves: tuple[Curve, ...]
    band: Band | None

    def values(self) -> list[float]:
        """Every σ shown."""
        if self.band:
            return [*self.band.low, *self.band.middle, *self.band.high]
        return [sigma for curve in self.curves for sigma in curve.sigmas]


def gather(series: Sequence[Series]) -> tuple[Panel, ...]:
    """The panels in the order of their first module; modules whose σ are all zero are left out."""
    alive = [one for one in series if any(value > 0 for value in one[2])]
    names = projections([path for _, path, _ in alive])
    groups: dict[tuple[str, str], list[Series]] = {}
    for one in alive:
        groups.setdefault((one[0], names[one[1]]), []).append(one)
    largest = max(map(len, groups.values()), default=0)
    points = sum(len(sigmas) for _, _, sigmas in alive)
    together = largest > LINES_IN_A_PANEL or len(alive) > LINES_IN_ALL or points > POINTS_IN_ALL
    most = max(8, min(POINTS_OF_A_LINE, BAND_POINTS // (3 * max(1, min(len(groups), PANELS)))))
    return tuple(
        Panel(
            adapter,
            projection,
            tuple(path for _, path, _ in members),
            () if together else tuple(_curve(member) for member in members),
            _band(members, most) if together else None,
        )
        for (adapter, projection), members in groups.items()
    )


def projections(paths: Sequence[str]) -> dict[str, str]:
    """The shortest name for each module's kind: q_proj, or attention.dense where dense is not one.

    Two modules are of one kind when their paths differ in their numbers alone.
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

    No two paths have one name: of a kind they differ in their numbers.
    """
    kinds = projections(paths)
    return {path: ".".join(filter(None, (layer(path), kinds[path]))) for path in paths}


def zero_modules(series: Sequence[Series]) -> list[tuple[str, str]]:
    """Adapter and path of the modules whose ΔW is zero."""
    return [(name, path) for name, path, sigmas in series if not any(s > 0 for s in sigmas)]


def by_projection(
    summary: Sequence[Mapping[str, object]],
) -> dict[tuple[str, str], list[Mapping[str, object]]]:
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


def _curve(member: Series) -> Curve:
    _, path, sigmas = member
    places = thinned(len(sigmas), POINTS_OF_A_LINE)
    return Curve(
        path,
        layer(path),
        tuple(place + 1 for place in places),
        tuple(_positive(sigmas[place]) for place in places),
    )


def _band(members: Sequence[Series], most: int) -> Band:
    longest = max(len(sigmas) for _, _, sigmas in members)
    places = thinned(longest, most)
    low, middle, high = [], [], []
    for place in places:
        seen = [s[place] for _, _, s in members if len(s) > place and s[place] > 0]
        low.append(min(seen, default=math.nan))
        middle.append(median(seen) if seen else math.nan)
        high.append(max(seen, default=math.nan))
    return Band(tuple(p + 1 for p in places), tuple(low), tuple(middle), tuple(high))


def _positive(value: float) -> float:
    return float(value) if 0 < value < math.inf else math.nan
