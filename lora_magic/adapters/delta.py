"""What one replaced module does to the weights of the module that it stands for.

Two questions: which ΔW is it, and which parameters would a module without it have to have. Answered
for every layer that the methods put into slots, by the parts that it has; never the plain formula
where another one holds. Weights and ΔW are [d, k], outputs by inputs, unless said.

Knows layers by their parts; knows neither PEFT's classes nor a session.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.quantise import dequantised, quantised_bits
from lora_magic.lowrank.combine import weighted_sum
from lora_magic.lowrank.dense import DenseUpdate, Update
from lora_magic.lowrank.factors import LowRank

from .residual import Residual
from .targets import is_conv1d
from .trainable_copy import TrainableCopy

#: Every adapter is captured in a wrapper of its own, where PEFT calls it so.
PEFT_NAME = "default"


def update_of(original: nn.Module, layer: nn.Module) -> Update | None:
    """ΔW of one layer; None for one that changes no matrix of weights.

    Kept as factors where it has few: LoRA, AdaLoRA (P·Λ·Q), and a start taken off the base. Dense
    for DoRA (W_merged − W0), (IA)³ and trained weights, in float64.
    """
    low = _low_rank(layer)
    if low is not None:
        return low
    if not _is_matrix(original) or not _folds(layer):
        return None
    weight = merged_parameters(original, layer).get("weight")
    if weight is None:
        return None
    return DenseUpdate(outputs_first(original, weight) - outputs_first(original, start(original)))


def low_rank_of(layer: nn.Module) -> LowRank | None:
    """ΔW as factors, where the layer adds just that and its bias stays; None elsewhere."""
    return (
        None if isinstance(getattr(layer, "base_layer", None), TrainableCopy) else _low_rank(layer)
    )


def _low_rank(layer: nn.Module) -> LowRank | None:
    """ΔW as factors, whatever becomes of the bias beside it."""
    part: Any = layer
    inner = getattr(part, "base_layer", None)
    if isinstance(layer, TrainableCopy) or _is_dora(part):
        return None
    if isinstance(inner, TrainableCopy) and "weight" in inner.values:
        return None
    if hasattr(part, "lora_E"):
        scale = float(part.scaling[PEFT_NAME]) / (float(part.ranknum[PEFT_NAME]) + 1e-5)
        # Values that the budget took are 0: ΔW is the same without their triplets.
        left = part.lora_E[PEFT_NAME].detach().flatten().nonzero().flatten()
        left = left if len(left) else left.new_zeros(1)
        down = (part.lora_A[PEFT_NAME] * part.lora_E[PEFT_NAME])[left]
        return LowRank(down, part.lora_B[PEFT_NAME][:, left], scale)
    own = _factors(part)
    if own is not None and isinstance(inner, Residual):
        both = weighted_sum([(1.0, own), (1.0, inner.taken)])
        assert isinstance(both, LowRank)  # a sum of such
        return both
    return own


def _factors(layer: Any) -> LowRank | None:
    """s·B·A of PEFT's LoRA layer, the scale read from it.

    For an embedding A is r×tokens and B dimensions×r.
    """
    if not hasattr(layer, "lora_A") or hasattr(layer, "lora_E"):
        return getattr(layer, "added", None)
    scale = float(layer.scaling[PEFT_NAME])
    if PEFT_NAME in layer.lora_A:
        return LowRank(layer.lora_A[PEFT_NAME].weight, layer.lora_B[PEFT_NAME].weight, scale)
    return LowRank(layer.lora_embedding_A[PEFT_NAME], layer.lora_embedding_B[PEFT_NAME], scale)


def merged_parameters(original: nn.Module, layer: nn.Module) -> dict[str, Tensor]:
    """The parameters that a module without the layer needs to answer the same, by name.

    In the module's own layout, float64 for float32 weights and float32 for narrower ones: rounded
    once, by whoever writes them. A quantised weight is read as what the layer computes with.
    """
    part: Any = layer
    wide = wide_of(original)
    inner = layer if isinstance(layer, TrainableCopy) else getattr(layer, "base_layer", None)
    found: dict[str, Tensor] = {}
    if isinstance(inner, TrainableCopy):
        found = {name: value.detach().to(wide) for name, value in inner.current().items()}
    if isinstance(layer, TrainableCopy):
        return found
    weight = outputs_first(original, found.get("weight", start(original)))
    if hasattr(part, "ia3_l"):
        return _rescaled(original, part, weight, found)
    own = _factors(part) if not hasattr(part, "lora_E") else low_rank_of(part)
    assert own is not None  # `_folds` has been asked
    weight = weight + own.dense(wide)
    if isinstance(inner, Residual):
        weight = weight + inner.taken.dense(wide)
    if _is_dora(part):
        magnitude = part.lora_magnitude_vector[PEFT_NAME].weight.detach().to(wide)
        weight = weight * (magnitude.flatten() / weight.norm(dim=1))[:, None]
    return {**found, "weight": outputs_first(original, weight)}


def _rescaled(
    original: nn.Module, layer: Any, weight: Tensor, found: dict[str, Tensor]
) -> dict[str, Tensor]:
    """(IA)³: outputs, bias too, or inputs times a vector."""
    vector = layer.ia3_l[PEFT_NAME].detach().to(weight.dtype).flatten()
    if layer.is_feedforward:
        return {**found, "weight": outputs_first(original, weight * vector[None, :])}
    bias = found.get("bias", original._parameters.get("bias"))
    if bias is not None:
        found = {**found, "bias": bias.detach().to(weight.dtype) * vector}
    return {**found, "weight": outputs_first(original, weight * vector[:, None])}


def start(original: nn.Module) -> Tensor:
    """W0 in its own layout and a wide number format."""
    if quantised_bits(original) is not None:
        return dequantised(original)
    weight: Any = original.weight
    found: Tensor = weight.detach().to(wide_of(original))
    return found


def wide_of(original: nn.Module) -> torch.dtype:
    """One number format wider than the weight's: then a sum with it is rounded once, at the end."""
    first = next(iter(original.parameters(recurse=False)))
    return torch.float64 if first.dtype in (torch.float32, torch.float64) else torch.float32


def outputs_first(original: nn.Module, weight: Tensor) -> Tensor:
    """A weight of this module's layout as [d, k], or back: Conv1D and an embedding keep [k, d]."""
    kept_transposed = is_conv1d(original) or isinstance(original, nn.Embedding)
    return weight.mT if kept_transposed else weight


def _is_matrix(original: nn.Module) -> bool:
    weight = original._parameters.get("weight")
    return weight is not None and (weight.dim() == 2 or quantised_bits(original) is not None)


def _folds(layer: nn.Module) -> bool:
    kinds = ("lora_A", "ia3_l", "added")
    return isinstance(layer, TrainableCopy) or any(hasattr(layer, kind) for kind in kinds)


def _is_dora(layer: Any) -> bool:
    return PEFT_NAME in getattr(layer, "lora_magnitude_vector", {})
