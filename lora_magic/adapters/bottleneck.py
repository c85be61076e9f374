"""Bottleneck adapters (Houlsby, Lin): small layers in the residual stream of the model.

Knows linear layers; knows no PEFT, no adapter and no session.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .slots import AdapterLayer


class Bottleneck(AdapterLayer):
    """h ← h + W_up·relu(W_down·h + b_down) + b_up, on the output h of a module of the base.

    W_down is r×d, normal with std 1/√d; W_up is d×r; it and both biases start at zero, so the
    initial output equals the base's. With `norm` a LayerNorm precedes W_down (Lin et al. 2020).
    Parameters: 2·d·r + r + d, and 2·d for the norm. float32, cast back once. If a module returns a
    tuple, its first element is changed.
    """

    norm: nn.Module
    down: nn.Linear
    up: nn.Linear

    def __init__(self, original: nn.Module, width: int, rank: int, *, norm: bool = False) -> None:
        super().__init__(original)
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.down = nn.Linear(width, rank)
        self.up = nn.Linear(rank, width)
        nn.init.normal_(self.down.weight, std=width**-0.5)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)
        device = next(original.parameters()).device
        for part in (self.norm, self.down, self.up):
            part.requires_grad_(False).to(device)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output with the adapter's part added."""
        output = self.base_layer(*args, **kwargs)
        if isinstance(output, tuple):
            return (self.changed(output[0]), *output[1:])
        return self.changed(output)

    def changed(self, h: Tensor) -> Tensor:
        """h [..., d] with the adapter's part added."""
        wide = h.to(self.down.weight.dtype)
        part: Tensor = self.up(torch.relu(self.down(self.norm(wide))))
        return (wide + part).to(h.dtype)
