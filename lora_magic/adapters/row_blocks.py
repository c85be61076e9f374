"""Several modules in one slot, each for its own rows of a batch: for adapters that change more than
low-rank updates of linear layers.

Knows layers in slots; knows no method, no prompt and no session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .bottleneck import Bottleneck
from .slots import AdapterLayer


class RowBlocks(AdapterLayer):
    """y_n = part_n(x_n) for block n of the batch, or the base's output where a part is None.

    One call for each block, so it takes as long as the parts one after the other; bottlenecks share
    one call of the module that they follow, which may fill a cache. If the module returns a tuple,
    its first element is changed.

    Shapes: inputs [N·b, ...] with b rows of each block, the rows of a block together; a single row
    stands for all. Raises `ValueError` in forward for another batch size.
    """

    def __init__(self, original: nn.Module, parts: Sequence[nn.Module | None]) -> None:
        super().__init__(original)
        self.parts = nn.ModuleList([original if part is None else part for part in parts])
        self.follow = all(part is None or isinstance(part, Bottleneck) for part in parts)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """The outputs of all rows, for inputs [N·b, ...]."""
        if not self.follow:
            return self._joined(x, lambda part, rows: part(rows, *args, **kwargs))
        output = self.base_layer(x, *args, **kwargs)
        if isinstance(output, tuple):
            return (self._joined(output[0], _changed), *output[1:])
        return self._joined(output, _changed)

    def _joined(self, x: Tensor, of: Callable[[Any, Tensor], Tensor]) -> Tensor:
        count = len(self.parts)
        x = x.expand(count, *x.shape[1:]) if x.shape[0] == 1 else x
        if x.shape[0] % count:
            raise ValueError(
                f"a batch of shape {tuple(x.shape)} for {count} modules: expected as many rows for "
                "each."
            )
        blocks = zip(self.parts, x.chunk(count), strict=True)
        return torch.cat([of(part, rows) for part, rows in blocks])


def _changed(part: Any, rows: Tensor) -> Tensor:
    return part.changed(rows) if isinstance(part, Bottleneck) else rows
