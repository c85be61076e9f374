"""Folds ΔW into copies of the target modules; the base's own tensors are never written.

A merged module is a shallow copy of the original with one new weight, W = W0 + ΔW rounded once.
It stands in the original's slot, so `unmerge` is writing the originals back: exact in every number
format, also for a tied weight, whose other names keep the base's tensor.

Knows modules and low-rank factors; knows no session.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lora_magic.errors import AdapterError
from lora_magic.frames import frame
from lora_magic.lowrank.factors import LowRank

from .targets import is_conv1d

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class ModuleMerge:
    """What merging did to one module, as Frobenius norms.

    `relative_change` is ‖ΔW‖/‖W0‖. `lost_to_rounding` is ‖(W − W0) − ΔW‖/‖ΔW‖: the share of ΔW
    that the base's number format could not hold; 0 when ΔW = 0.
    """

    module: str
    relative_change: float
    lost_to_rounding: float
    bytes: int


@dataclass(frozen=True)
class MergeReport:
    """A merge in numbers.

    `logit_difference` is the largest absolute difference, in float32, between the merged and the
    unmerged answer's logits on a probe text. `extra_bytes` are the merged weights: the base's own
    are kept beside them for `unmerge`.
    """

    adapter: str
    modules: tuple[ModuleMerge, ...]
    dtype: str
    logit_difference: float
    seconds: float
    already: bool = False

    @property
    def extra_bytes(self) -> int:
        """Bytes held beside the base while merged."""
        return sum(row.bytes for row in self.modules)

    @property
    def largest_change(self) -> float:
        """The largest ‖ΔW‖/‖W0‖ of a module."""
        return max((row.relative_change for row in self.modules), default=0.0)

    @property
    def largest_loss(self) -> float:
        """The largest share of ΔW lost to rounding in a module."""
        return max((row.lost_to_rounding for row in self.modules), default=0.0)

    @property
    def line(self) -> str:
        """The receipt in one line."""
        if self.already:
            return f"{self.adapter} is merged already; nothing done"
        count = len(self.modules)
        if not self.largest_change:
            return (
                f"{self.adapter} merged: it is not trained, ΔW = 0, so nothing changes; "
                "undo: %lora unmerge"
            )
        return (
            f"{self.adapter} merged into {count} module{'s' * (count != 1)}: ΔW up to "
            f"{self.largest_change:.2%} of W, {self.largest_loss:.2g} of ΔW lost to {self.dtype} "
            f"rounding, logits within {self.logit_difference:.2g}; undo: %lora unmerge"
        )

    def __repr__(self) -> str:
        return self.line

    def to_frame(self) -> DataFrame:
        """One row a module: module, relative_change, lost_to_rounding, bytes."""
        names = ["module", "relative_change", "lost_to_rounding", "bytes"]
        rows = [(m.module, m.relative_change, m.lost_to_rounding, m.bytes) for m in self.modules]
        return frame(rows, names)

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import merge

        return merge.bundle(
            line=self.line,
            facts=[
                ("largest logit difference on a probe", f"{self.logit_difference:.3g}"),
                ("seconds", f"{self.seconds:.3f}"),
                ("extra bytes while merged", f"{self.extra_bytes:,}"),
            ],
            rows=[
                {
                    "module": row.module,
                    "relative_change": row.relative_change,
                    "lost_to_rounding": row.lost_to_rounding,
                }
                for row in self.modules
            ],
        )


def merged_module(path: str, original: nn.Module, delta: LowRank) -> tuple[nn.Module, ModuleMerge]:
    """A copy of `original` whose weight is W0 + ΔW, and what that did.

    Raises `AdapterError` for a quantised weight, which would have to be dequantised first.
    """
    weight = original.weight
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        raise AdapterError(
            f"{path} is quantised ({type(original).__name__}), so ΔW cannot be added to it; "
            "keep the adapter unmerged: %lora swap NAME"
        )
    with torch.no_grad():
        merged, row = _folded(path, weight, _oriented(original, delta))
    module = copy.copy(original)
    # A shallow copy shares its dicts with the original: this one must be its own.
    module._parameters = dict(original._parameters)
    module._parameters["weight"] = nn.Parameter(merged, requires_grad=False)
    return module, row


def _oriented(original: nn.Module, delta: LowRank) -> tuple[Tensor, Tensor, float]:
    """ΔW = scale·left@right in the weight's own layout.

    Linear keeps d×k; Conv1D and an embedding keep k×d, so ΔWᵀ = scale·Aᵀ@Bᵀ.
    """
    if is_conv1d(original) or isinstance(original, nn.Embedding):
        return delta.down.mT, delta.up.mT, delta.scale
    return delta.up, delta.down, delta.scale


def _folded(
    path: str, weight: Tensor, factors: tuple[Tensor, Tensor, float]
) -> tuple[Tensor, ModuleMerge]:
    # One wider format than the weight's: then W0 + ΔW is rounded once, at the end.
    wide = torch.float64 if weight.dtype in (torch.float32, torch.float64) else torch.float32
    left, right, scale = (factors[0].to(wide), factors[1].to(wide), factors[2])
    start = weight.to(wide)
    update = scale * (left @ right)
    merged = (start + update).to(weight.dtype)
    if not bool(update.isfinite().all()):
        raise AdapterError(
            f"{path}: ΔW holds NaN or infinity, so it is not merged; train the adapter again "
            "with a smaller --lr, or type: %lora detach NAME"
        )
    size = float(update.norm())
    lost = float((merged.to(wide) - start - update).norm()) / size if size else 0.0
    change = size / max(float(start.norm()), torch.finfo(wide).tiny)
    row = ModuleMerge(path, change, lost, merged.numel() * merged.element_size())
    return merged, row
