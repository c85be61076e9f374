"""How many parameters an adapter trains: by formula from shapes, and by its tensors.

Knows shapes; allocates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from lora_magic.frames import frame

from .spec import AdapterSpec
from .targets import shape_of

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ModuleCount:
    """One module: d outputs, k inputs, the method's `formula`, and what its tensors hold.

    `rank` is 0 where the method has none.
    """

    module: str
    outputs: int
    inputs: int
    rank: int
    formula: int
    tensors: int


@dataclass(frozen=True)
class Ratio:
    """Trainable parameters against the base's, module by module.

    `adapter` is None for a plan: nothing of that rank and those targets is attached, and
    `tensors` are then counted by formula.
    """

    adapter: str | None
    rank: int
    targets: str
    base_parameters: int
    modules: tuple[ModuleCount, ...]
    bytes_each: int = 4

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
        who = self.adapter or f"rank {self.rank} on {self.targets}"
        return (
            f"{who}: {self.trainable_parameters:,} trainable of {self.base_parameters:,} "
            f"parameters ({self.share:.3%}, 1 in {1 / self.share:,.0f})"
        )

    def __repr__(self) -> str:
        return self.line

    def to_frame(self) -> DataFrame:
        """One row a module: module, outputs, inputs, rank, formula, trainable."""
        rows = [(c.module, c.outputs, c.inputs, c.rank, c.formula, c.tensors) for c in self.modules]
        names = ["module", "outputs", "inputs", "rank", "formula", "trainable"]
        return frame(rows, names)

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import ratio

        largest = max(self.modules, key=lambda count: count.outputs * count.inputs)
        return ratio.bundle(
            title=self.line,
            base_parameters=self.base_parameters,
            rows=[
                {
                    "adapter": self.adapter or "plan",
                    "rank": self.rank,
                    "modules": len(self.modules),
                    "trainable": self.trainable_parameters,
                    "formula": self.formula,
                    "share": self.share,
                    "checkpoint_bytes": self.trainable_parameters * self.bytes_each,
                }
            ],
            facts=[
                ("largest target", f"{largest.module}, {largest.outputs} × {largest.inputs}"),
                ("targets", self.targets),
            ],
            example=(largest.outputs, largest.inputs, largest.rank),
        )


def low_rank(outputs: int, inputs: int, rank: int, spec: AdapterSpec) -> int:
    """r·(d + k): A is r×k and B is d×r. AdaLoRA has r values more, DoRA d magnitudes."""
    extra = rank if spec.method == "adalora" else 0
    return rank * (outputs + inputs) + extra + (outputs if spec.dora else 0)


def bottleneck(width: int, rank: int, norm: bool) -> int:
    """2·d·r + r + d for two layers with biases, 2·d more for a norm of its own."""
    return 2 * width * rank + rank + width + (2 * width if norm else 0)


def planned(model: nn.Module, paths: Sequence[str], rank: int) -> tuple[ModuleCount, ...]:
    """The counts of a LoRA that does not exist yet."""
    counts = []
    for path in paths:
        outputs, inputs = shape_of(model.get_submodule(path))
        held = rank * (outputs + inputs)
        counts.append(ModuleCount(path, outputs, inputs, rank, held, held))
    return tuple(counts)
