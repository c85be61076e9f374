"""Several adapters active at once, each with a weight.

Their changes at a module are weighted and summed: y = y0 + Σ wᵢ·(yᵢ − y0). For LoRA that is exactly
ΔW = Σ wᵢ·ΔWᵢ. Knows layers and low-rank updates; knows no PEFT and no session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lora_magic.errors import AdapterError
from lora_magic.lowrank.combine import weighted_sum
from lora_magic.lowrank.factors import LowRank

from .bottleneck import Bottleneck
from .delta import low_rank_of
from .slots import ROOT, AdapterLayer, Slots


class Added(AdapterLayer):
    """y = W0·x + s·B·A·x for a low-rank update that is not trained."""

    down: Tensor
    up: Tensor

    def __init__(self, original: nn.Module, update: LowRank) -> None:
        super().__init__(original)
        self.register_buffer("down", update.down.detach().clone(), persistent=False)
        self.register_buffer("up", update.scale * update.up.detach(), persistent=False)

    @property
    def added(self) -> LowRank:
        """The update."""
        return LowRank(self.down, self.up, 1.0)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Outputs [..., d] for inputs [..., k]; for an embedding, of ids [...]."""
        y: Tensor = self.base_layer(x, *args, **kwargs)
        if isinstance(self.base_layer, nn.Embedding):
            # Some models' embeddings scale what they look up.
            change = self.down.mT[x] @ self.up.mT * getattr(self.base_layer, "embed_scale", 1.0)
        else:
            change = (x.to(self.down.dtype) @ self.down.mT) @ self.up.mT
        return (y.to(change.dtype) + change).to(y.dtype)


class Blended(AdapterLayer):
    """y = y0 + Σ wᵢ·(yᵢ − y0) for layers of any kind in one slot."""

    def __init__(self, original: nn.Module, parts: Sequence[tuple[float, nn.Module]]) -> None:
        super().__init__(original)
        self.weights = [weight for weight, _ in parts]
        self.parts = nn.ModuleList([module for _, module in parts])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The weighted output; if the module returns a tuple, its first element is changed."""
        start = self.base_layer(*args, **kwargs)
        first = start[0] if isinstance(start, tuple) else start
        total = first
        for weight, part in zip(self.weights, self.parts, strict=True):
            total = total + weight * (_output(part, first, args, kwargs) - first)
        return (total, *start[1:]) if isinstance(start, tuple) else total


def _output(part: nn.Module, start: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One layer's output, or its first element; `start` is the base's own output."""
    if isinstance(part, Bottleneck):
        # Its own forward would run the block again, which would fill its cache twice.
        return part.changed(start)
    answer = part(*args, **kwargs)
    return answer[0] if isinstance(answer, tuple) else answer


def mixed(
    slots: Slots, parts: Sequence[tuple[float, str, Mapping[str, nn.Module]]]
) -> dict[str, nn.Module]:
    """The replacements of several adapters together, from (weight, name, replacements) of each.

    Raises `AdapterError` for virtual tokens, which act through the cache and cannot be weighted.
    """
    cached = [name for _, name, modules in parts if ROOT in modules]
    if cached:
        raise AdapterError(
            f"{cached[0]} acts through virtual tokens, which cannot be weighted with others; "
            f"use it alone: %lora swap {cached[0]}"
        )
    paths = dict.fromkeys(path for _, _, modules in parts for path in modules)
    found: dict[str, nn.Module] = {}
    for path in paths:
        there = [(weight, modules[path]) for weight, _, modules in parts if path in modules]
        found[path] = _one(slots.original(path), there)
    return found


def _one(original: nn.Module, parts: Sequence[tuple[float, nn.Module]]) -> nn.Module:
    if len(parts) == 1 and parts[0][0] == 1:
        return parts[0][1]
    updates = [(weight, low_rank_of(module)) for weight, module in parts]
    low = [(weight, update) for weight, update in updates if update is not None]
    if len(low) < len(parts):
        return Blended(original, parts)
    total = weighted_sum(low)
    assert isinstance(total, LowRank)  # a sum of low-rank updates
    return Added(original, total)
