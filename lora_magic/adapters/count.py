"""How many parameters an adapter trains: by formula from shapes, and by its tensors.

Knows shapes; allocates nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import nn

from lora_magic.base.quantise import count
from lora_magic.frames import frame
from lora_magic.numbers import percent
from lora_magic.printable import one_line

from .bottleneck import width_of
from .coverage import Parts, described
from .matrix import MatrixCount, compared
from .methods import METHODS
from .prefix import formula
from .sites import Site, sites_of, trained_parameters
from .slots import ROOT
from .spec import AdapterSpec
from .targets import carries_lora, shape_of

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ModuleCount:
    """One module: d outputs, k inputs, the method's `formula`, and the count of its `tensors`.

    `rank` is 0 for a method without one.
    """

    module: str
    outputs: int
    inputs: int
    rank: int
    formula: int
    tensors: int


@dataclass(frozen=True)
class ParameterCount:
    """Trainable parameters against the base's, module by module.

    `adapter` is None for a plan: no such adapter is attached, and `tensors` are counted by formula.
    `left_out` are the base's weights outside the modules, by kind; empty if they are not known.
    """

    adapter: str | None
    spec: AdapterSpec
    base_parameters: int
    modules: tuple[ModuleCount, ...]
    bytes_each: int = 4
    left_out: Parts = ()

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
        who = self.adapter or f"a plan of {self.spec.line}"
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


def low_rank(outputs: int, inputs: int, rank: int, spec: AdapterSpec) -> int:
    """r·(d + k): A is r×k and B is d×r. AdaLoRA adds r values, DoRA d magnitudes."""
    extra = rank if spec.method == "adalora" else 0
    return rank * (outputs + inputs) + extra + (outputs if spec.dora else 0)


def bottleneck(width: int, rank: int, norm: bool) -> int:
    """2·d·r + r + d for two layers with biases, plus 2·d for a norm of its own."""
    return 2 * width * rank + rank + width + (2 * width if norm else 0)


def width_at(model: nn.Module, module: nn.Module) -> int:
    """The width of a module's output: a linear layer's outputs, or the residual stream."""
    return shape_of(module)[0] if carries_lora(module) else width_of(model)


def by_formula(
    model: nn.Module, spec: AdapterSpec, sites: Iterable[Site], head: Iterable[str] = ()
) -> dict[str, ModuleCount]:
    """What a spec's layers train, and which parameters of the base are trained, by path.

    Tied parameters are counted once. `tensors` is 0: this counts formulas only.
    """
    sites = tuple(sites)
    found = {site.path: _of_layer(model, spec, site) for site in sites}
    seen: set[int] = set()
    for path, names in trained_parameters(model, spec, sites, head).items():
        module = model.get_submodule(path)
        values = [value for name in names if id(value := module.get_parameter(name)) not in seen]
        seen |= {id(value) for value in values}
        size = sum(count(value) for value in values)
        known = found.get(path) or _of_base(path, module, names, size)
        found[path] = replace(known, formula=known.formula + size)
    return found


def _of_layer(model: nn.Module, spec: AdapterSpec, site: Site) -> ModuleCount:
    if site.path == ROOT:
        size, tokens = formula(model, spec.method, spec.virtual_tokens), spec.virtual_tokens
        return ModuleCount("virtual tokens", size // tokens, tokens, 0, size, 0)
    module = model.get_submodule(site.path)
    if spec.method in ("houlsby", "adapter-l"):
        width = width_at(model, module)
        size = bottleneck(width, site.rank, norm=spec.method == "adapter-l")
        return ModuleCount(site.path, width, width, 0, size, 0)
    outputs, inputs = shape_of(module)
    if spec.method == "ia3":
        size = inputs if site.scales_inputs else outputs
        return ModuleCount(site.path, outputs, inputs, 0, size, 0)
    size = low_rank(outputs, inputs, site.rank, spec)
    return ModuleCount(site.path, outputs, inputs, site.rank, size, 0)


def _of_base(path: str, module: nn.Module, names: Iterable[str], size: int) -> ModuleCount:
    matrix = "weight" in names and carries_lora(module)
    outputs, inputs = shape_of(module) if matrix else (size, 1)
    return ModuleCount(path, outputs, inputs, 0, 0, 0)


def planned(
    model: nn.Module, spec: AdapterSpec, head: Iterable[str] = ()
) -> tuple[ModuleCount, ...]:
    """The counts of an adapter that does not exist yet, by formula, for every method.

    Nothing is allocated: `model` may be on the meta device. `head` is a classifier's, by path,
    which every adapter trains. Raises `AdapterError` for invalid targets or an invalid rank.
    """
    head = tuple(head)
    counts = by_formula(model, spec, sites_of(model, spec, head), head).values()
    return tuple(replace(count, tensors=count.formula) for count in counts)
