"""The inside of an adapter during its run: gradients, and σ, norm and rank of ΔW, by step.

Knows numbers and steps; knows no adapter and no formula: a `Recorder` reads them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lora_magic.frames import frame

#: The `module` of a reading of all modules together, and the gradients that a reading may have.
ALL = "all"
FACTORS = ("A", "B", "other")

#: Columns of the frame; those with numbers have these types.
COLUMNS = ("step", "module", "measure", "index", "value")
_TYPES = {"step": "int64", "index": "Int64", "value": "float64"}


@dataclass(frozen=True)
class Reading:
    """One module after `step` steps, or `ALL` of them together.

    `gradients` are the Frobenius norms of the loss's gradient, before clipping, for the examples of
    the next step: by factor A and B, and "other" for what the method trains besides. There are none
    after the last step. `base_gradients`, with `ALL`, is how many of the base's tensors have a
    gradient or ask for one. `norm` is ‖ΔW‖_F, `sigma` the singular values of ΔW, largest first,
    without those of a ΔW that is not given as factors; `effective_rank` is None for ΔW = 0, too.
    """

    step: int
    module: str
    gradients: dict[str, float] = field(default_factory=dict)
    base_gradients: int | None = None
    norm: float | None = None
    effective_rank: float | None = None
    sigma: tuple[float, ...] = ()

    def values(self) -> Iterator[tuple[str, int | None, float]]:
        """Measure, index (from 1, of a singular value) and value."""
        for factor, norm in self.gradients.items():
            yield f"gradient_{factor}", None, norm
        named = ("base_gradients", "norm", "effective_rank")
        for name in named:
            if (value := getattr(self, name)) is not None:
                yield name, None, value
        for index, sigma in enumerate(self.sigma, start=1):
            yield "sigma", index, sigma


class Recorder(Protocol):
    """Reads an adapter between the steps of its run, and changes nothing.

    `modules` is how many have a ΔW; `base_tensors` how many of the base's are looked at.
    """

    modules: int
    base_tensors: int

    def plan(self, steps: int, tokens: float) -> Sequence[int]:
        """After how many steps to read, in a run of so many steps of so many tokens each."""
        ...

    def read(self, step: int, scale: float | None) -> list[Reading]:
        """After so many steps; the gradients, of the next one, are `scale` times too large.

        Without a scale there are none.
        """
        ...


@dataclass(frozen=True)
class Inside:
    """What was read during a run: frozen numbers.

    `modules` have a ΔW; those in `followed` were read. The `base_tensors` were looked at for a
    gradient at each reading.
    """

    readings: tuple[Reading, ...]
    modules: int
    base_tensors: int

    @property
    def followed(self) -> tuple[str, ...]:
        """The modules that were read."""
        return tuple(dict.fromkeys(one.module for one in self.readings if one.module != ALL))

    @property
    def base_gradients(self) -> int:
        """The most of the base's tensors that had a gradient at one reading."""
        return max((one.base_gradients or 0 for one in self.readings), default=0)

    def of(self, module: str) -> list[Reading]:
        """The readings of one module, or of `ALL`, by step."""
        return [one for one in self.readings if one.module == module]

    def to_frame(self) -> Any:
        """A pandas DataFrame with columns step (taken), module, measure, index and value.

        Measures are gradient_A, gradient_B, gradient_other, base_gradients, norm, effective_rank
        and sigma, of which `index` counts from 1.
        """
        rows = [(one.step, one.module, *values) for one in self.readings for values in one.values()]
        return frame(rows, COLUMNS, _TYPES)


def replaced(readings: Sequence[Reading], step: int, found: Sequence[Reading]) -> list[Reading]:
    """Readings with those after `step` steps replaced."""
    return [*(one for one in readings if one.step != step), *found]


def check(readings: Sequence[Reading], steps: int) -> None:
    """Raise `ValueError` for readings, maybe from a stranger, that a run cannot have so far."""
    for one in readings:
        values = [value for _, _, value in one.values()]
        possible = 0 <= one.step <= steps and set(one.gradients) <= set(FACTORS)
        if not possible or not all(math.isfinite(value) and value >= 0 for value in values):
            raise ValueError(f"inside: a reading after {one.step} steps is not possible")
