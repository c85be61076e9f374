"""ΔW of one layer: what it changes in the weights of the module that it replaces.

Answers two questions for every layer of every method: its ΔW, and the parameters of a plain module
with the same outputs. Each kind of layer is recognised by its attributes and has its own formula.
Weights and ΔW are [d, k], outputs by inputs, unless noted otherwise.

Knows layers by their attributes; knows neither PEFT's classes nor a session.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.quantise import dequantised, quantised_bits
from lora_magic.lowrank.combine import weighted_sum
from lora_magic.lowrank.dense import DenseUpdate, Update
from lora_magic.lowrank.factors import LowRank

from .read_shapes import is_transposed
from .trainable_copy import TrainableCopy

#: PEFT's name for the one adapter in each wrapper.
PEFT_NAME = "default"


def update_of(original: nn.Module, layer: nn.Module) -> Update | None:
    """ΔW of one layer; None for one that changes no matrix of weights.

    As factors for LoRA, AdaLoRA (P·Λ·Q), and an initialisation subtracted from the base. Dense for
    DoRA (W_merged − W0), (IA)³ and trained weights, in float64.
    """
    low = factored_update(layer)
    if low is not None:
        return low
    if not _is_matrix(original) or not _merges(layer):
        return None
    exact = exact_of(original)
    weight = merged_parameters(original, layer, exact).get("weight")
    if weight is None:
        return None
    return _between(original, weight)


def merged_update(original: nn.Module, merged: nn.Module) -> Update | None:
    """ΔW that is in the weights of a merged module, rounding included; None without a matrix."""
    weight = merged._parameters.get("weight")
    if weight is None or weight is original._parameters.get("weight") or not _is_matrix(original):
        return None
    return _between(original, weight.detach())


def _between(original: nn.Module, weight: Tensor) -> DenseUpdate:
    """W − W0 in float64: float32 would be wrong by 1e-7 of W, which can be 1e-4 of ΔW."""
    exact = exact_of(original)
    both = (outputs_first(original, one).to(exact) for one in (weight, start(original)))
    return DenseUpdate(next(both) - next(both))


def low_rank_of(layer: nn.Module) -> LowRank | None:
    """ΔW as factors, if the layer adds only that and trains no bias; else None."""
    inner = getattr(layer, "base_layer", None)
    return None if isinstance(inner, TrainableCopy) else factored_update(layer)


def own_factors(layer: nn.Module) -> LowRank | None:
    """The B and A that the layer trains, DoRA's too, without what an initialisation subtracts.

    AdaLoRA's are P and Λ·Q without the pruned triplets. None for a layer without such factors.
    """
    return factored_update(layer) if hasattr(layer, "lora_E") else _factors(layer)


def factored_update(layer: nn.Module) -> LowRank | None:
    """ΔW as factors, whether or not the layer trains a bias; None if it has none."""
    part: Any = layer
    inner = getattr(part, "base_layer", None)
    if isinstance(layer, TrainableCopy) or _is_dora(part):
        return None
    if isinstance(inner, TrainableCopy) and "weight" in inner.values:
        return None
    if hasattr(part, "lora_E"):
        scale = scaling_of(part) / (float(part.ranknum[PEFT_NAME]) + 1e-5)
        # Values that the budget pruned are 0: ΔW is the same without their triplets.
        kept = part.lora_E[PEFT_NAME].detach().flatten().nonzero().flatten()
        kept = kept if len(kept) else kept.new_zeros(1)
        down = (part.lora_A[PEFT_NAME] * part.lora_E[PEFT_NAME])[kept]
        return LowRank(down, part.lora_B[PEFT_NAME][:, kept], scale)
    own, negated = _factors(part), getattr(inner, "negated", None)
    if own is not None and negated is not None:
        both = weighted_sum([(1.0, own), (1.0, negated)])
        assert isinstance(both, LowRank)  # a sum of low-rank updates
        return both
    return own


def _factors(layer: Any) -> LowRank | None:
    """s·B·A of PEFT's LoRA layer, with the layer's own scale, or of an `Added`."""
    if not hasattr(layer, "lora_A") or hasattr(layer, "lora_E"):
        return getattr(layer, "added", None)
    return LowRank(*factors_of(layer), scaling_of(layer))


def factors_of(layer: Any) -> tuple[Tensor, Tensor]:
    """A and B of PEFT's LoRA layer; for an embedding A is r×tokens and B dimensions×r."""
    if PEFT_NAME in layer.lora_A:
        return layer.lora_A[PEFT_NAME].weight, layer.lora_B[PEFT_NAME].weight
    return layer.lora_embedding_A[PEFT_NAME], layer.lora_embedding_B[PEFT_NAME]


def scaling_of(layer: Any) -> float:
    """s of PEFT's LoRA layer."""
    return float(layer.scaling[PEFT_NAME])


def merged_parameters(
    original: nn.Module, layer: nn.Module, dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """The parameters of a plain module with the same outputs as the layer, by name.

    In the module's own layout, computed in `dtype`, else in float64 for float32 weights and float32
    for narrower ones: the caller rounds them once. A quantised weight is dequantised as in the
    layer's forward pass.
    """
    part: Any = layer
    wide = dtype or wide_of(original)
    copy = copy_in(layer)
    found: dict[str, Tensor] = {}
    if copy is not None:
        found = {name: value.detach().to(wide) for name, value in copy.current().items()}
    if isinstance(layer, TrainableCopy):
        return found
    weight = outputs_first(original, found.get("weight", start(original).to(wide)))
    if hasattr(part, "ia3_l"):
        return _rescaled(original, part, weight, found)
    own = _factors(part) if not hasattr(part, "lora_E") else low_rank_of(part)
    assert own is not None  # `_merges` was checked
    weight = weight + own.dense(wide)
    negated = getattr(part.base_layer, "negated", None)
    if negated is not None:
        weight = weight + negated.dense(wide)
    if _is_dora(part):
        magnitude = part.lora_magnitude_vector[PEFT_NAME].weight.detach().to(wide)
        weight = weight * (magnitude.flatten() / weight.norm(dim=1))[:, None]
    return {**found, "weight": outputs_first(original, weight)}


def _rescaled(
    original: nn.Module, layer: Any, weight: Tensor, found: dict[str, Tensor]
) -> dict[str, Tensor]:
    """(IA)³: the outputs (with the bias) or the inputs times a vector."""
    vector = layer.ia3_l[PEFT_NAME].detach().to(weight.dtype).flatten()
    if layer.is_feedforward:
        return {**found, "weight": outputs_first(original, weight * vector[None, :])}
    bias = found.get("bias", original._parameters.get("bias"))
    if bias is not None:
        found = {**found, "bias": bias.detach().to(weight.dtype) * vector}
    return {**found, "weight": outputs_first(original, weight * vector[:, None])}


def copy_in(layer: nn.Module) -> TrainableCopy | None:
    """The trainable copy that a layer is, or has below it."""
    inner = layer if isinstance(layer, TrainableCopy) else getattr(layer, "base_layer", None)
    return inner if isinstance(inner, TrainableCopy) else None


def start(original: nn.Module) -> Tensor:
    """W0 in its own layout and a wider number format."""
    if quantised_bits(original) is not None:
        return dequantised(original)
    weight: Any = original.weight
    found: Tensor = weight.detach().to(wide_of(original))
    return found


def wide_of(original: nn.Module) -> torch.dtype:
    """A number format wider than the weight's, so that a sum is rounded only once, at the end."""
    first = next(iter(original.parameters(recurse=False)))
    return torch.float64 if first.dtype in (torch.float32, torch.float64) else torch.float32


def exact_of(original: nn.Module) -> torch.dtype:
    """float64, where the device of the module has it."""
    device = next(iter(original.parameters(recurse=False))).device.type
    return torch.float32 if device == "mps" else torch.float64


def outputs_first(original: nn.Module, weight: Tensor) -> Tensor:
    """A weight in this module's layout as [d, k], or back: Conv1D and embeddings store [k, d]."""
    return weight.mT if is_transposed(original) else weight


def _is_matrix(original: nn.Module) -> bool:
    weight = original._parameters.get("weight")
    return weight is not None and (weight.dim() == 2 or quantised_bits(original) is not None)


def _merges(layer: nn.Module) -> bool:
    kinds = ("lora_A", "ia3_l", "added")
    return isinstance(layer, TrainableCopy) or any(hasattr(layer, kind) for kind in kinds)


def _is_dora(layer: Any) -> bool:
    return PEFT_NAME in getattr(layer, "lora_magnitude_vector", {})
