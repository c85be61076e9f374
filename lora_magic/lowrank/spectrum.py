"""The spectrum of ΔW, module by module: singular values, what they say about rank, and W's beside.

Knows updates, low-rank and dense; knows no model. Charts are drawn by the views.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lora_magic.errors import AdapterError, listed, near
from lora_magic.frames import frame
from lora_magic.printable import one_line

from .dense import Update

if TYPE_CHECKING:
    from pandas import DataFrame

UNTRAINED = "not trained yet: ΔW = 0"

#: What a heat map can show of each module, and its title; `sigma_1`, `sigma_2` and so on too.
MEASURES = {
    "effective_rank": "effective rank of ΔW",
    "stable_rank": "stable rank of ΔW",
    "energy_90": "σ that hold 90% of Σσ² of ΔW",
    "norm": "‖ΔW‖",
    "relative_norm": "‖ΔW‖ in percent of ‖W‖",
    "intruders": "intruder dimensions of W + ΔW",
}
_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SIGMA = re.compile(r"sigma_([1-9][0-9]{0,5})")


def effective_rank(sigma: Sequence[float]) -> float:
    """exp(−Σ p·ln p) with p = σ²/Σσ²: the number of directions in the update, from 1 to r.

    A flat spectrum of r values gives r, a single value 1, ΔW = 0 gives 0. Roy and Vetterli 2007
    ("The effective rank") take the entropy over values; here it is over energies.
    """
    shares = _shares(sigma)
    return math.exp(-math.fsum(p * math.log(p) for p in shares if p > 0)) if shares else 0.0


def stable_rank(sigma: Sequence[float]) -> float:
    """Σσ²/σ₁²: ΔW's squared Frobenius norm over its squared spectral norm; 0 for ΔW = 0."""
    shares = _shares(sigma)
    return 1 / max(shares) if shares else 0.0


def energy_rank(sigma: Sequence[float], share: float = 0.9) -> int:
    """The smallest number of singular values with `share` of Σσ²; 0 for ΔW = 0."""
    energy, shares = 0.0, sorted(_shares(sigma), reverse=True)
    for count, p in enumerate(shares, start=1):
        energy += p
        # Nine of ten equal values must reach 90 % despite rounding.
        if energy >= share - 1e-12:
            return count
    return len(shares)


def _shares(sigma: Sequence[float]) -> list[float]:
    """σ²/Σσ²; empty for ΔW = 0. Divided by the largest first, so that no square underflows."""
    top = max(sigma, default=0.0)
    if top <= 0:
        return []
    squares = [(s / top) ** 2 for s in sigma]
    total = math.fsum(squares)
    return [square / total for square in squares]


@dataclass(frozen=True, slots=True)
class SpectrumRow:
    """One singular value; `index` counts from 1, the largest, within its module."""

    adapter: str
    module: str
    index: int
    sigma: float


@dataclass(frozen=True, slots=True)
class ModuleWeight:
    """W of one module: ‖W‖_F, and its own singular values if they were asked for.

    `count` is min(d, k), how many there are; `sigma` has all of them or, where that takes long, the
    first by a randomised decomposition.
    """

    module: str
    norm: float
    count: int
    sigma: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class ModuleIntruders:
    """The intruder dimensions of one module: index from 1 and σ, both in W + ΔW, and |cosine|."""

    adapter: str
    module: str
    found: tuple[tuple[int, float, float], ...]


@dataclass(frozen=True)
class Spectrum:
    """The singular values of ΔW for one or more adapters: names and numbers only.

    `measure` is what its heat map shows. `weights` are the modules' own weights. `intruders` are
    those of the modules that were examined. `merged` names an adapter whose ΔW is the one in the
    merged weights, rounding included. `stacked` are trained weights that are several matrices in
    one tensor, such as experts, and have no rows.
    """

    rows: tuple[SpectrumRow, ...]
    measure: str = "effective_rank"
    weights: tuple[ModuleWeight, ...] = ()
    intruders: tuple[ModuleIntruders, ...] = ()
    merged: str = ""
    stacked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_measure(self.measure)
        longest = max((row.index for row in self.rows), default=0)
        found = _SIGMA.fullmatch(self.measure)
        if found and self.rows and int(found[1]) > longest:
            raise AdapterError(
                f"--measure {self.measure}: ΔW has at most {longest} singular values; type: "
                f"--measure sigma_{longest}"
            )

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters, in the order requested."""
        return tuple(dict.fromkeys(row.adapter for row in self.rows))

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules of all adapters, by path."""
        return tuple(dict.fromkeys(row.module for row in self.rows))

    @property
    def line(self) -> str:
        """One line: each adapter's modules, rank and effective rank, or that it is not trained."""
        return "spectrum of ΔW · " + " · ".join(self._described(name) for name in self.adapters)

    def to_frame(self) -> DataFrame:
        """Columns adapter, module, index (from 1), sigma: one row per singular value."""
        columns = [field.name for field in fields(SpectrumRow)]
        return frame([astuple(row) for row in self.rows], columns)

    def summary(self) -> DataFrame:
        """One row for each adapter and module.

        Columns adapter, module, rank, effective_rank, stable_rank, energy_90 (the smallest number
        of values with 90 % of Σσ²), sigma_1, norm (Frobenius), note, which says that ΔW = 0 (the
        measures are then 0), relative_norm (‖ΔW‖/‖W‖; missing if W = 0) and intruders (how many
        intruder dimensions; missing where they were not looked for).
        """
        return frame(self.measures())

    def measures(self) -> list[dict[str, object]]:
        """The rows of the summary."""
        norms = {one.module: one.norm for one in self.weights}
        counts = {(one.adapter, one.module): len(one.found) for one in self.intruders}
        return [
            {
                **(row := _measure(adapter, module, sigma)),
                "relative_norm": _ratio(row["norm"], norms.get(module)),
                "intruders": counts.get((adapter, module)),
            }
            for adapter, module, sigma in self._series()
        ]

    @property
    def measured(self) -> str:
        """The measure in words: effective rank of ΔW, σ₂ of ΔW."""
        found = _SIGMA.fullmatch(self.measure)
        if found:
            return f"σ{found[1].translate(_SUBSCRIPT)} of ΔW"
        return MEASURES[self.measure]

    def cells(self) -> dict[tuple[str, str], float | None]:
        """What the heat map shows of each adapter and module; None where there is no such number.

        That is so for ΔW = 0, for a σ beyond the rank, and for what was not computed. A relative
        norm is in percent.
        """
        sigma = _SIGMA.fullmatch(self.measure)
        found: dict[tuple[str, str], float | None] = {}
        for row, (adapter, module, values) in zip(self.measures(), self._series(), strict=True):
            if sigma:
                place = int(sigma[1])
                value: Any = values[place - 1] if place <= len(values) else None
            else:
                value = row[self.measure]
            scale = 100.0 if self.measure == "relative_norm" else 1.0
            zero = not any(values)
            found[adapter, module] = None if value is None or zero else scale * float(value)
        return found

    def _series(self) -> list[tuple[str, str, list[float]]]:
        grouped = groupby(self.rows, key=lambda row: (row.adapter, row.module))
        return [(*key, [row.sigma for row in rows]) for key, rows in grouped]

    def curves(self) -> list[tuple[str, str, list[float]]]:
        """(adapter, module, σ) without the σ that are rounding noise next to the largest."""
        return [(adapter, module, _drawable(sigma)) for adapter, module, sigma in self._series()]

    def outputs(self) -> list[dict[str, Any]]:
        """The chart, and the tables as a second output: MIME bundles to display in this order."""
        from lora_magic.views import spectrum as view

        return view.outputs(self)

    def _untrained(self) -> list[str]:
        """Adapters whose singular values are all 0."""
        trained = {row.adapter for row in self.rows if row.sigma > 0}
        return [name for name in self.adapters if name not in trained]

    def _described(self, adapter: str) -> str:
        if adapter in self._untrained():
            return f"{adapter}: {UNTRAINED}"
        series = [sigma for name, _, sigma in self._series() if name == adapter]
        ranks = sorted(effective_rank(sigma) for sigma in series if any(sigma))
        noun = "module" if len(series) == 1 else "modules"
        spread = _span(f"{ranks[0]:.1f}", f"{ranks[-1]:.1f}")
        rank = max(len(sigma) for sigma in series)
        return f"{adapter}: {len(series)} {noun}, rank {rank}, effective rank {spread}"

    def __repr__(self) -> str:
        return f"{one_line(self.line)}\n{self._repr_mimebundle_()['text/plain']}"

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import spectrum as view

        return view.bundle(self)


def spectrum_of(adapters: Mapping[str, Mapping[str, Update]]) -> Spectrum:
    """The spectrum of each adapter's updates, given by adapter name and module path.

    Raises one `AdapterError` that names every update with NaN or infinity.
    """
    broken: dict[str, list[str]] = {}
    rows: list[SpectrumRow] = []
    for adapter, modules in adapters.items():
        for module, update in modules.items():
            if not update.finite:
                broken.setdefault(adapter, []).append(module)
                continue
            values = update.singular_values().tolist()
            rows += [SpectrumRow(adapter, module, i, s) for i, s in enumerate(values, start=1)]
    if broken:
        found = "; ".join(f"{name}: {listed(modules, 3)}" for name, modules in broken.items())
        raise AdapterError(
            f"ΔW is not finite ({found}): training diverged. "
            f"Train again with a lower learning rate: %%lora_train {next(iter(broken))} --lr 1e-4"
        )
    return Spectrum(tuple(rows))


def check_measure(measure: object) -> None:
    """Raise `AdapterError` for what is no measure of a module."""
    if not isinstance(measure, str) or not (measure in MEASURES or _SIGMA.fullmatch(measure)):
        raise AdapterError(
            f"--measure {measure}: expected one of {', '.join(MEASURES)}, sigma_1, sigma_2 and so "
            f"on.{near(str(measure), MEASURES)}"
        )


def _ratio(norm: object, own: float | None) -> float | None:
    return float(str(norm)) / own if own else None


def _measure(adapter: str, module: str, sigma: list[float]) -> dict[str, object]:
    return {
        "adapter": adapter,
        "module": module,
        "rank": len(sigma),
        "effective_rank": effective_rank(sigma),
        "stable_rank": stable_rank(sigma),
        "energy_90": energy_rank(sigma),
        "sigma_1": max(sigma, default=0.0),
        "norm": math.hypot(*sigma),
        "note": "" if any(sigma) else UNTRAINED,
    }


def _drawable(sigma: list[float]) -> list[float]:
    """The values above float64's rounding error of the largest; a log scale would show it."""
    floor = max(sigma, default=0.0) * len(sigma) * sys.float_info.epsilon
    return [s for s in sigma if s > floor]


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
