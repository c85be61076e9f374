"""How far the directions of adapters' updates overlap, and what each amplifies of W: the record.

Knows numbers and names; knows no model and no adapter. Pictures are drawn by the views.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import combinations
from statistics import median
from typing import TYPE_CHECKING

from lora_magic.checks import is_whole
from lora_magic.errors import CommandError, near
from lora_magic.frames import frame
from lora_magic.numbers import figures
from lora_magic.printable import one_line

from .subspace import Amplification

if TYPE_CHECKING:
    from pandas import DataFrame

#: Which singular vectors are compared, and their name in a sentence.
SIDES = {
    "inputs": "input directions of ΔW",
    "outputs": "output directions of ΔW",
    "A": "input directions of A",
    "B": "output directions of B",
}

#: Those sides that are of a factor, which not every update has.
FACTORS = ("A", "B")

#: How many of an update's directions are compared at most, the largest σ first.
FIRST = 64

#: What stands for a value that does not exist.
NONE = "n/a"

_ZERO = "ΔW = 0"


def side_of(word: object) -> str:
    """A side by its name, in any case; raises `CommandError` for another word."""
    for side in SIDES:
        if str(word).lower() == side.lower():
            return side
    raise CommandError(
        f"--side {word}: expected one of {', '.join(SIDES)}.{near(str(word), SIDES)}"
    )


@dataclass(frozen=True)
class Overlap:
    """φ of one module in two adapters, and the angle between their ΔW.

    `phi` has φ(i, j) in row i − 1 and column j − 1, of at most the first 64 directions; it is empty
    if one of the two has none. `counts` are the directions that each has in all, `dim` the
    dimension of their space; `shape` is W's [d, k]. `cosine` is ⟨ΔW₁, ΔW₂⟩/(‖ΔW₁‖·‖ΔW₂‖), None for
    ΔW = 0; `changes` are ‖ΔW₁‖ and ‖ΔW₂‖, `weight` is ‖W‖.
    """

    first: str
    second: str
    module: str
    shape: tuple[int, int]
    dim: int
    counts: tuple[int, int]
    phi: tuple[tuple[float, ...], ...]
    cosine: float | None
    changes: tuple[float, float]
    weight: float

    @property
    def last(self) -> tuple[int, int] | None:
        """The largest (i, j) that is compared; None without any."""
        return (len(self.phi), len(self.phi[0])) if self.phi else None

    @property
    def degrees(self) -> float | None:
        """The angle between the two ΔW, from 0 to 180; None for ΔW = 0."""
        return None if self.cosine is None else math.degrees(math.acos(self.cosine))

    @property
    def spread(self) -> float:
        """The standard deviation of the angle between random updates around 90°, in degrees.

        Turned at random, an update's cosine with another has the variance 1/(d·k).
        """
        return math.degrees(1 / math.sqrt(math.prod(self.shape)))

    @property
    def relative(self) -> tuple[float | None, float | None]:
        """‖ΔW₁‖/‖W‖ and ‖ΔW₂‖/‖W‖; None for W = 0."""
        first, second = (change / self.weight if self.weight else None for change in self.changes)
        return first, second

    def chance(self, i: int, j: int) -> float:
        """max(i, j)/dim, the expected φ(i, j) of independent random directions."""
        return max(i, j) / self.dim


@dataclass(frozen=True)
class Amplified:
    """What an adapter amplifies in one module; `found` is None for ΔW = 0."""

    adapter: str
    module: str
    found: Amplification | None


@dataclass(frozen=True)
class Intruding:
    """The largest |cosine| of each of the first singular vectors of W + ΔW with one of W's.

    `places` are the indices, from 0, of those below 0.5: the intruder dimensions.
    """

    adapter: str
    module: str
    cosines: tuple[float, ...]
    places: tuple[int, ...]


@dataclass(frozen=True)
class Similarity:
    """What two or more adapters have in common, or what one does to W: names and numbers only.

    `side` is what φ compares: the right singular vectors of ΔW ("inputs") or its left ones
    ("outputs"), those of the factor A in the space of the inputs, or of B in that of the outputs.
    `notes` say what a reader must know.
    """

    adapters: tuple[str, ...]
    side: str
    overlaps: tuple[Overlap, ...]
    amplified: tuple[Amplified, ...]
    intruding: tuple[Intruding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """One line: the medians over modules of φ with its random value, and of amplification."""
        names = ", ".join(self.adapters)
        return f"{names}: " + " · ".join(filter(None, self._parts()))

    def _parts(self) -> Iterator[str]:
        if len(self.adapters) == 2:
            yield self._of_two()
        elif len(self.adapters) > 2:
            yield f"{len(self.pairs)} pairs, φ of the {SIDES[self.side]}"
        else:
            yield self._alone()
        yield from self.notes

    def _alone(self) -> str:
        factors = [one.found.factor for one in self.amplified if one.found]
        if not factors:
            return f"{_ZERO}, so it amplifies nothing"
        said = f"‖ΔW‖ is {figures(median(factors))} times what W has in its directions"
        many = f" (median of {len(factors)} modules)" if len(factors) > 1 else ""
        if not self.intruding:
            return said + many
        count = sum(len(one.places) for one in self.intruding)
        return f"{said}{many}; {count} intruder dimension{'s' * (count != 1)}"

    def _of_two(self) -> str:
        """φ at (1, 1) and at the last (i, j), as medians over modules, with the angle."""
        alive = [one for one in self.overlaps if one.phi]
        if not alive:
            return f"φ {NONE}: {_ZERO}"
        first = self._at(alive, 1, 1)
        i = min(len(one.phi) for one in alive)
        j = min(len(one.phi[0]) for one in alive)
        whole = f", {self._at(alive, i, j)}" if (i, j) != (1, 1) else ""
        angle = self.degrees(*self.adapters)
        turned = "" if angle is None else f" · angle between their ΔW {angle:.0f}°"
        many = f" (medians of {len(alive)} modules)" if len(alive) > 1 else ""
        return f"φ of the {SIDES[self.side]}: {first}{whole}{many}{turned}"

    @staticmethod
    def _at(overlaps: Sequence[Overlap], i: int, j: int) -> str:
        value = median(one.phi[i - 1][j - 1] for one in overlaps)
        random = median(one.chance(i, j) for one in overlaps)
        return f"{figures(value, 2)} at ({i}, {j}), random {figures(random, 2)}"

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The pairs of adapters, in the order requested."""
        return tuple(combinations(self.adapters, 2))

    def of_pair(self, first: str, second: str) -> list[Overlap]:
        """The modules of one pair."""
        return [one for one in self.overlaps if (one.first, one.second) == (first, second)]

    def degrees(self, first: str, second: str) -> float | None:
        """The angle between two adapters over their common modules, taken as one vector."""
        overlaps = self.of_pair(first, second)
        inner = math.fsum((one.cosine or 0.0) * math.prod(one.changes) for one in overlaps)
        norms = [math.hypot(*(one.changes[at] for one in overlaps)) for at in (0, 1)]
        if not all(norms):
            return None
        return math.degrees(math.acos(max(-1.0, min(1.0, inner / norms[0] / norms[1]))))

    # Frames

    def to_frame(self) -> DataFrame:
        """Columns first, second, module, i, j, phi, chance: a row for each φ(i, j).

        A module whose ΔW is 0 has none.
        """
        rows = [
            (one.first, one.second, one.module, i, j, value, one.chance(i, j))
            for one in self.overlaps
            for i, values in enumerate(one.phi, start=1)
            for j, value in enumerate(values, start=1)
        ]
        return frame(rows, ("first", "second", "module", "i", "j", "phi", "chance"))

    def at(self, i: int, j: int) -> DataFrame:
        """The rows of `to_frame` at one (i, j).

        Raises `CommandError` for an (i, j) beyond the directions of every module.
        """
        most = [one.last for one in self.overlaps if one.last]
        whole = all(is_whole(place) and place >= 1 for place in (i, j))
        if not whole or not any(i <= last[0] and j <= last[1] for last in most):
            ends = (max(ends) for ends in zip(*most, strict=True))
            expected = "expected i from 1 to {} and j from 1 to {}".format(*ends) if most else _ZERO
            if len(self.adapters) < 2:
                expected = "name two adapters"
            raise CommandError(f"φ at ({i}, {j}) of {', '.join(self.adapters)}: {expected}.")
        found = self.to_frame()
        return found[(found["i"] == i) & (found["j"] == j)].reset_index(drop=True)

    def summary(self) -> DataFrame:
        """One row for each pair and module; a value that does not exist is None.

        Columns first, second, module, rank_first, rank_second (directions), phi_1 (φ at (1, 1)),
        chance_1, i, j (the last that are compared), phi and chance there, cosine, degrees, note.
        """
        columns = (
            *("first", "second", "module", "rank_first", "rank_second", "phi_1", "chance_1"),
            *("i", "j", "phi", "chance", "cosine", "degrees", "note"),
        )
        return _frame([_summed(one) for one in self.overlaps], columns)

    def angles(self) -> DataFrame:
        """The angle between the ΔW of each pair, module by module; None for ΔW = 0.

        Columns first, second, module, cosine, degrees (90 for independent updates, more if they
        oppose each other), relative_norm_first and relative_norm_second (‖ΔW‖/‖W‖).
        """
        columns = ("first", "second", "module", "cosine", "degrees")
        rows = [(*_named(one), one.cosine, one.degrees, *one.relative) for one in self.overlaps]
        relative = ("relative_norm_first", "relative_norm_second")
        return _frame(rows, (*columns, *relative))

    def amplification(self) -> DataFrame:
        """Table 7 of the LoRA paper for each adapter and module; None for ΔW = 0.

        Columns adapter, module, rank r, in_change ‖Uᵀ·W·V‖ in ΔW's first r directions, in_own in
        W's own, in_random in random ones, change ‖ΔW‖, weight ‖W‖, factor change/in_change.
        """
        columns = ("in_change", "in_own", "in_random", "change", "weight", "factor")
        rows = [
            (one.adapter, one.module, one.found.rank if one.found else 0)
            + (_values(one.found) if one.found else (None,) * 6)
            for one in self.amplified
        ]
        return _frame(rows, ("adapter", "module", "rank", *columns))

    def intruders(self) -> DataFrame:
        """The examined singular vectors of W + ΔW, for one adapter.

        Columns adapter, module, index (from 1), cosine, intruder.
        """
        rows = [
            (one.adapter, one.module, place + 1, cosine, place in one.places)
            for one in self.intruding
            for place, cosine in enumerate(one.cosines)
        ]
        return frame(rows, ("adapter", "module", "index", "cosine", "intruder"))

    def __repr__(self) -> str:
        return one_line(self.line)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import similarity as view

        return view.bundle(self)


def _frame(rows: Sequence[Sequence[object]], columns: Sequence[str]) -> DataFrame:
    """A frame in which a missing value stays None, where a column of numbers would make it NaN."""
    kinds = {int: "int64", float: "float64"}
    types = {
        name: kinds[type(values[0])]
        for name, values in zip(columns, zip(*rows, strict=True), strict=False)
        if type(values[0]) in kinds and None not in values
    }
    return frame(rows, columns, types)


def _named(one: Overlap) -> tuple[str, str, str]:
    return one.first, one.second, one.module


def _summed(one: Overlap) -> tuple[object, ...]:
    turned = (one.cosine, one.degrees)
    if one.last is None:
        return (*_named(one), *one.counts, *(None,) * 6, *turned, _ZERO)
    i, j = one.last
    first = (one.phi[0][0], one.chance(1, 1))
    return (*_named(one), *one.counts, *first, i, j, one.phi[-1][-1], one.chance(i, j), *turned, "")


def _values(found: Amplification) -> tuple[float | None, ...]:
    """Its numbers but the rank; the factor is None where W has nothing in ΔW's directions."""
    factor = found.factor if math.isfinite(found.factor) else None
    return (*astuple(found)[1:], factor)
