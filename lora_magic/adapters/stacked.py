"""Several adapters in one model at once, each for its own block of the batch.

Knows adapters' layers and slots; knows neither PEFT's classes, nor a run, nor a session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lora_magic.lowrank.blocks import Block, Blocks, adapted_blocks

from .fused import parts_of
from .slots import AdapterLayer

#: The replacement modules of one adapter, by path.
Replacements = Mapping[str, nn.Module]


def obstacle(replacements: Replacements) -> str:
    """Why an adapter cannot be a block of a batch, or "": its layers must be plain LoRA.

    An expert of a mixture receives whichever tokens its router sends, not whole blocks.
    """
    for path, layer in replacements.items():
        found = parts_of(layer)
        if isinstance(found, str):
            return found
        if "experts" in path.split("."):
            return "a layer of an expert"
    return ""


def stacked(
    adapters: Sequence[Replacements], original: Callable[[str], nn.Module]
) -> dict[str, nn.Module]:
    """The layers that apply adapter n to block n of a batch, by path; `original` gives the
    base's.

    They train the adapters' own parameters. A layer that an adapter does not change is the base's
    for its block.
    """
    paths = dict.fromkeys(path for layers in adapters for path in layers)
    return {path: _layer(original(path), [one.get(path) for one in adapters]) for path in paths}


def _layer(original: nn.Module, layers: Sequence[nn.Module | None]) -> StackedLora:
    blocks: list[Block | None] = []
    for layer in layers:
        parts = None if layer is None else parts_of(layer)
        if isinstance(parts, str):
            raise ValueError(f"not a block of a batch: {parts}")
        blocks.append(Block(parts.down, parts.up, parts.scale) if parts else None)
    return StackedLora(original, blocks)


class StackedLora(AdapterLayer):
    """A linear layer with block n of its batch under update n; see `lowrank.blocks`."""

    def __init__(self, original: nn.Module, blocks: Sequence[Block | None]) -> None:
        super().__init__(original)
        # Not registered: they are the adapters' parameters, which stay in these.
        self.blocks = Blocks(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [..., d] for inputs x [..., k], whose rows are those of the blocks in order."""
        base: Any = self.base_layer
        return adapted_blocks(x, base.weight, base.bias, self.blocks)
