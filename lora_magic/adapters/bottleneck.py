"""Bottleneck adapters (Houlsby, Lin): small layers in the residual stream of the model.

Knows blocks of a model and linear layers; knows no PEFT, no adapter and no session.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.errors import AdapterError

from .slots import AdapterLayer
from .targets import carries_lora, is_attention, shape_of


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


def blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The model's blocks by path: the largest list of modules of one class.

    Raises `AdapterError` for a model without such a list.
    """
    lists = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len({type(m) for m in module}) == 1
    ]
    if not lists:
        raise AdapterError(
            f"{type(model).__name__} has no list of identical blocks for bottlenecks; name the "
            "modules: --targets o_proj,down_proj"
        )
    path, found = max(lists, key=lambda pair: sum(p.numel() for p in pair[1].parameters()))
    return {f"{path}.{index}": block for index, block in enumerate(found)}


def after_projections(model: nn.Module, width: int) -> list[str]:
    """Houlsby's sites: in each block the attention's and the feed-forward's output projection.

    Each is the last linear layer of its part with `width` outputs. Raises `AdapterError` for a
    block where one of the two is not found.
    """
    found = []
    for path, block in blocks(model).items():
        names = [
            name
            for name, module in block.named_modules()
            if carries_lora(module)
            and not isinstance(module, nn.Embedding)
            and shape_of(module)[0] == width
        ]
        attention = [name for name in names if is_attention(name)]
        other = [name for name in names if name not in attention]
        if not attention or not other:
            missing = "attention" if not attention else "feed-forward"
            raise AdapterError(
                f"{path} has no {missing} output projection (a linear layer with {width} outputs); "
                "name the modules: --targets o_proj,down_proj"
            )
        found += [f"{path}.{attention[-1]}", f"{path}.{other[-1]}"]
    return found


def width_of(model: nn.Module) -> int:
    """The width of the residual stream, from the model's config."""
    config: Any = model.config
    return int(config.get_text_config().hidden_size)
