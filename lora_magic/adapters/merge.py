"""Merges an adapter into copies of modules; the base's own tensors are never written.

A merged module is a shallow copy of the original with new parameters, W = W0 + ΔW rounded once. On
a quantised base it is a plain layer with the dequantised weight: rounding W0 + ΔW to 4 bits again
would lose half of ΔW. It is written into the original's slot, so unmerging writes the originals
back: exact in every number format, also for a tied weight, whose other names keep the base's
tensor.

Knows modules and low-rank factors; knows no session.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lora_magic.base.quantise import dequantised, quantised_bits
from lora_magic.errors import AdapterError
from lora_magic.frames import frame
from lora_magic.lowrank.factors import LowRank, precise
from lora_magic.numbers import percent, size
from lora_magic.printable import one_line

from .delta import low_rank_of, merged_parameters, start, wide_of
from .methods import Method
from .read_shapes import is_transposed
from .trainable_copy import shallow_copy

if TYPE_CHECKING:
    from pandas import DataFrame

#: Bytes of a block that is summed at once: on a CPU it stays in the cache of a core, elsewhere
#: each block costs the start of a few kernels.
BLOCK = {"cpu": 2**19}
LARGE_BLOCK = 2**27
#: The rounding error of a module is estimated from at least so many entries.
SAMPLED = 4096


@dataclass(frozen=True)
class ModuleMerge:
    """What merging did to one module, as Frobenius norms.

    `relative_change` is ‖ΔW‖/‖W0‖. `lost_to_rounding` is ‖(W − W0) − ΔW‖/‖ΔW‖: the share of ΔW
    lost to the base's number format; 0 if ΔW = 0.
    """

    module: str
    relative_change: float
    lost_to_rounding: float
    bytes: int


@dataclass(frozen=True)
class MergeReport:
    """A merge in numbers.

    `logit_difference` is the largest absolute difference, in float32, between the merged and the
    unmerged logits on a probe text. `extra_bytes` are the merged weights: the base's own are kept
    for `unmerge`. `dequantised` is the format of a quantised base, empty for others. Unless it was
    `checked`, what rounding lost is an estimate from 4,096 entries of each module.
    """

    adapter: str
    modules: tuple[ModuleMerge, ...]
    dtype: str
    logit_difference: float
    seconds: float
    already: bool = False
    dequantised: str = ""
    checked: bool = False

    @property
    def extra_bytes(self) -> int:
        """Bytes of the merged weights, in addition to the base."""
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
            return f"{self.adapter} is already merged; nothing to do"
        count = len(self.modules)
        lost = percent(self.largest_loss)
        about = "" if self.checked or lost.startswith("under") else "about "
        if not self.largest_change:
            return (
                f"{self.adapter} merged: it is not trained (ΔW = 0), so nothing changes; "
                "undo: %lora unmerge"
            )
        return (
            f"{self.adapter} merged into {count} module{'s' * (count != 1)}: ΔW up to "
            f"{percent(self.largest_change)} of W, {about}{lost} of ΔW lost to "
            f"{self.dtype} rounding, logits within {self.logit_difference:.2g}{self._cost}; "
            "undo: %lora unmerge"
        )

    @property
    def _cost(self) -> str:
        """The memory that dequantising cost."""
        if not self.dequantised:
            return ""
        return (
            f"; the {self.dequantised} weights were dequantised, "
            f"{size(self.extra_bytes)} more until unmerged"
        )

    def __repr__(self) -> str:
        return one_line(self.line)

    def to_frame(self) -> DataFrame:
        """One row per module: module, relative_change, lost_to_rounding, bytes."""
        names = ["module", "relative_change", "lost_to_rounding", "bytes"]
        return frame([astuple(row) for row in self.modules], names)

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import receipt

        return receipt.merge(self)


def merged_module(
    path: str,
    original: nn.Module,
    layer: nn.Module,
    dtype: torch.dtype,
    *,
    norm: float | None = None,
    check: bool = False,
) -> tuple[nn.Module, ModuleMerge]:
    """A plain module with the same outputs as `layer` around `original`, and its report.

    A copy of `original` with the merged parameters in its own number format; for a quantised one a
    plain linear layer with the dequantised weight in `dtype`, the format that the base computes in.
    `norm` is ‖W0‖_F, computed if not given. With `check` the rounding error is computed from every
    entry; else, where ΔW is low rank, from 4,096.

    Raises `AdapterError` for an update with NaN or infinity.
    """
    low = None if quantised_bits(original) else low_rank_of(layer)
    # A start that is subtracted can cancel ΔW exactly, which its factors do not show.
    if low is not None and getattr(getattr(layer, "base_layer", None), "negated", None) is None:
        with torch.no_grad():
            return _added(path, original, low, norm, check)
    with torch.no_grad():
        found = merged_parameters(original, layer)
        module = _dense(original, dtype) if quantised_bits(original) else shallow_copy(original)
        rows = [_replaced(module, original, name, value) for name, value in found.items()]
    # Rounding to a narrower number format can overflow.
    if not all(bool(module.get_parameter(name).isfinite().all()) for name in found):
        raise _broken(path)
    return module, _summed(path, rows)


def _broken(path: str) -> AdapterError:
    return AdapterError(
        f"{path}: the merged weights would contain NaN or infinity; train the adapter "
        "again with a smaller --lr, or type: %lora detach NAME"
    )


def _added(
    path: str, original: nn.Module, low: LowRank, norm: float | None, check: bool
) -> tuple[nn.Module, ModuleMerge]:
    """W0 + s·B·A in blocks that stay in the cache, rounded once, with ‖ΔW‖ from the factors."""
    kept: Any = original._parameters["weight"]
    weight: Tensor = kept.detach()
    begin = weight_norm(original) if norm is None else norm
    wide = wide_of(original)
    left, right = low.up.detach().to(wide), low.down.detach().to(wide)
    change = norm_of(LowRank(right, left, low.scale))
    if is_transposed(original):
        left, right = right.mT, left.mT
    merged = torch.empty_like(weight, memory_format=torch.contiguous_format)
    row_bytes = weight.shape[1] * wide.itemsize
    rows = max(1, BLOCK.get(weight.device.type, LARGE_BLOCK) // row_bytes)
    total = torch.empty(min(rows, len(weight)), weight.shape[1], dtype=wide, device=weight.device)
    step = 1 if check else max(1, weight.numel() // SAMPLED)
    # Every column is sampled.
    while math.gcd(step, weight.shape[1]) > 1:
        step -= 1
    errors, count = [], 0
    for given, side, rounded in zip(
        *(torch.split(whole, rows) for whole in (weight, left, merged)), strict=True
    ):
        block = total[: len(given)]
        block.copy_(given).addmm_(side, right, alpha=low.scale)
        rounded.copy_(block)
        error = rounded.view(-1)[::step] - block.view(-1)[::step]
        errors.append(torch.linalg.vector_norm(error))
        count += len(error)
    # No entry of the sum is larger than both norms together.
    bounded = begin + change < torch.finfo(weight.dtype).max
    if not (bounded or bool(merged.isfinite().all())):
        raise _broken(path)
    lost = math.hypot(*torch.stack(errors).tolist()) * math.sqrt(merged.numel() / count)
    module = shallow_copy(original)
    module._parameters["weight"] = nn.Parameter(merged, requires_grad=False)
    tiny = torch.finfo(torch.float32).tiny
    share = lost / change if change else 0.0
    size_in_bytes = merged.numel() * merged.element_size()
    return module, ModuleMerge(path, change / max(begin, tiny), share, size_in_bytes)


def norm_of(low: LowRank) -> float:
    """‖s·B·A‖_F = |s|·√Σ((Bᵀ·B)∘(A·Aᵀ)), in float64; NaN or infinity if a factor has one."""
    up, down = precise(low.up), precise(low.down)
    square = float(((up.mT @ up) * (down @ down.mT)).sum())
    return abs(low.scale) * math.sqrt(max(square, 0.0)) if square == square else math.nan


def weight_norm(original: nn.Module) -> float:
    """‖W0‖_F, summed in float64 where the device has it."""
    weight: Any = original._parameters["weight"]
    wide = torch.float32 if weight.device.type == "mps" else torch.float64
    return float(torch.linalg.vector_norm(weight.detach(), dtype=wide))


def dequantised_module(original: nn.Module, dtype: torch.dtype) -> nn.Linear:
    """A plain linear layer with the weight that a quantised one computes with, in `dtype`."""
    made = _dense(original, dtype)
    with torch.no_grad():
        made.weight.copy_(dequantised(original))
    return made


def _dense(original: Any, dtype: torch.dtype) -> nn.Linear:
    """An empty linear layer with the sizes and the bias of a quantised one."""
    device = original.weight.device
    made = nn.Linear(original.in_features, original.out_features, bias=False, device="meta")
    made._parameters["weight"] = nn.Parameter(
        torch.empty(made.out_features, made.in_features, dtype=dtype, device=device), False
    )
    made._parameters["bias"] = original._parameters.get("bias")
    made.training = False
    return made


def _replaced(
    module: nn.Module, original: nn.Module, name: str, value: Tensor
) -> tuple[float, float, float, int]:
    """Write one parameter, rounded once: squared norms of W0, ΔW and the rounding error, bytes."""
    there: Any = module._parameters[name]
    rounded = value.to(there.dtype)
    kept: Any = original._parameters[name]
    begin = start(original) if name == "weight" else kept.detach().to(value.dtype)
    change = value - begin
    lost = rounded.to(value.dtype) - value
    module._parameters[name] = nn.Parameter(rounded.contiguous(), requires_grad=False)
    squares = [float(part.double().norm()) ** 2 for part in (begin, change, lost)]
    return squares[0], squares[1], squares[2], rounded.numel() * rounded.element_size()


def _summed(path: str, rows: list[tuple[float, float, float, int]]) -> ModuleMerge:
    begin, change, lost = (math.sqrt(sum(row[part] for row in rows)) for part in range(3))
    tiny = torch.finfo(torch.float32).tiny
    share = lost / change if change else 0.0
    return ModuleMerge(path, change / max(begin, tiny), share, sum(row[3] for row in rows))


def refuse_unmergeable(method: Method, name: str) -> None:
    """Raise `AdapterError`, with reason and remedy, for a method that cannot be merged."""
    if method.not_merged:
        raise AdapterError(
            f"{name} ({method.title}) cannot be merged: {method.not_merged}. Use it unmerged: "
            f"%lora swap {name}"
        )
