"""How many parameters an adapter trains: of one that exists, or of a spec on a model's shapes.

Knows specs and shapes; knows no weights, and imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from lora_magic.adapters.coverage import Parts, described, left_out
from lora_magic.adapters.formula import ModuleCount, by_formula
from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.shapes import Shapes
from lora_magic.adapters.sites import Site, sites_of, trained_parameters
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.frames import frame
from lora_magic.numbers import percent
from lora_magic.printable import one_line

from .model import Model

if TYPE_CHECKING:
    from pandas import DataFrame

    from .matrix import MatrixCount


@dataclass(frozen=True)
class ParameterCount:
    """Trainable parameters against the base's, module by module.

    `adapter` is None for a plan: no such adapter is attached, and `tensors` are counted by formula.
    `left_out` are the base's weights outside the modules, by kind; empty if they are not known.
    `model` names a base that is not loaded.
    """

    adapter: str | None
    spec: AdapterSpec
    base_parameters: int
    modules: tuple[ModuleCount, ...]
    bytes_each: int = 4
    left_out: Parts = ()
    model: str = ""

    @property
    def adapted(self) -> str:
        """How much of the base's weights the low-rank modules hold, and what is left out.

        "" for a method without a rank.
        """
        held = sum(count.outputs * count.inputs for count in self.modules if count.rank)
        rest = f"; left out: {described(self.left_out, self.base_parameters)}"
        share = f"{percent(held / self.base_parameters)} of the weights"
        return f"{share}{rest if self.left_out else ''}" if held else ""

    @property
    def trainable_parameters(self) -> int:
        """Σ over the modules, by tensors."""
        return sum(count.tensors for count in self.modules)

    @property
    def formula(self) -> int:
        """Σ over the modules, by the method's formula."""
        return sum(count.formula for count in self.modules)

    @property
    def share(self) -> float:
        """Trainable over base parameters."""
        return self.trainable_parameters / self.base_parameters

    @property
    def line(self) -> str:
        """The answer in one line."""
        from .matrix import compared

        where = f" on {self.model}" if self.model else ""
        who = self.adapter or f"a plan of {self.spec.line}{where}"
        return (
            f"{who}: {self.trainable_parameters:,} trainable of {self.base_parameters:,} "
            f"parameters ({compared(self.share)})"
        )

    def __repr__(self) -> str:
        return one_line(self.line)

    def to_frame(self) -> DataFrame:
        """One row per module: module, outputs, inputs, rank, formula, trainable."""
        rows = [(c.module, c.outputs, c.inputs, c.rank, c.formula, c.tensors) for c in self.modules]
        names = ["module", "outputs", "inputs", "rank", "formula", "trainable"]
        return frame(rows, names)

    @property
    def method(self) -> str:
        """The spec, and what its method stores."""
        return f"{self.spec.line}; {METHODS[self.spec.method].storage}"

    @property
    def matrices(self) -> tuple[str, ...]:
        """The kinds of matrices that get a B·A, by the last parts of their names."""
        return tuple(dict.fromkeys(_kind(count) for count in self.modules if count.rank))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        return self.bundle()

    def bundle(self, matrix: str | MatrixCount | None = None) -> dict[str, object]:
        """The display, with the picture of the largest of the `matrices`, of the one named, or of
        any matrix."""
        from lora_magic.views import ratio

        return ratio.bundle(self, matrix)

    def largest(self, matrix: str | None = None) -> ModuleCount:
        """The module with the largest matrix, of those of that kind if one is named."""
        found = [c for c in self.modules if _kind(c) == matrix and c.rank] or self.modules
        return max(found, key=lambda count: count.outputs * count.inputs)


def _kind(count: ModuleCount) -> str:
    return count.module.rpartition(".")[2]


def planned(shapes: Shapes, spec: AdapterSpec, head: Iterable[str] = ()) -> tuple[ModuleCount, ...]:
    """The counts of an adapter that does not exist yet, by formula, for every method.

    `head` is a classifier's, by path, which every adapter trains. Raises `AdapterError` for targets
    that match nothing, and for a rank above the matrix.
    """
    head = tuple(head)
    sites = sites_of(shapes, spec, head)
    trained = trained_parameters(shapes, spec, sites, head)
    counts = by_formula(shapes, spec, sites, trained).values()
    return tuple(count._replace(tensors=count.formula) for count in counts)


def count_of(model: Model, spec: AdapterSpec) -> ParameterCount:
    """The counts of an adapter of this spec on a model that is not loaded; raises as `planned`."""
    counts = planned(model.shapes, spec, model.head)
    without = left_out(model.shapes, [count.module for count in counts if count.rank])
    return ParameterCount(None, spec, model.parameters, counts, left_out=without, model=model.name)


# A plan asks for the same specs many times, of a model with hundreds of modules.


@lru_cache(maxsize=16)
def sites_in(model: Model, spec: AdapterSpec) -> tuple[Site, ...]:
    """The sites of a spec's layers on this model; raises as `planned`."""
    return sites_of(model.shapes, spec, model.head)


@lru_cache(maxsize=16)
def trained_in(model: Model, spec: AdapterSpec) -> dict[str, tuple[str, ...]]:
    """The model's own parameters that a spec trains, by module; raises as `planned`."""
    found = trained_parameters(model.shapes, spec, sites_in(model, spec), model.head)
    return {path: tuple(names) for path, names in found.items()}


@lru_cache(maxsize=16)
def counted(model: Model, spec: AdapterSpec) -> tuple[ModuleCount, ...]:
    """What an adapter of this spec trains on this model, by formula alone; raises as `planned`."""
    sites, trained = sites_in(model, spec), trained_in(model, spec)
    return tuple(by_formula(model.shapes, spec, sites, trained).values())


@lru_cache(maxsize=16)
def trainable(model: Model, spec: AdapterSpec) -> int:
    """The parameters that an adapter of this spec trains on this model; raises as `planned`."""
    return sum(count.formula for count in counted(model, spec))
