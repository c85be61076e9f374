"""Several low-rank updates over one linear layer, each for its own rows of a batch.

Knows torch; knows no model and no adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .factors import LowRank


class StackedLinear(nn.Module):
    """y_n = base(x_n) + s_n·B_n·A_n·x_n: block n of a batch under update n.

    Two batched products serve all updates: A stacked as [N, k, r], s·B as [N, r, d], smaller ranks
    padded with zeros. A row under `None`, or under an update with B = 0, equals the base's output
    bit for bit. Computed in the factors' dtype (fp32 factors over a bf16 base give an fp32 sum) and
    cast back once, as PEFT's `Linear.forward` does for a single adapter. `base` is called and its
    weight is not read, so it may be transposed (`Conv1D`) or quantised.

    Args:
        base: the layer under the updates; x [..., k] → [..., d].
        deltas: for each of the N rows an update of shape (d, k), or None.

    Shapes: x [N·b, ..., k] with b rows of each block, the rows of a block together, or flattened
    to [N·b·T, k] in that order.

    Raises `ValueError` for no `deltas` or shapes that differ; in forward for another batch size.
    The factors are copied: build a new stack after the adapter is trained further.
    """

    down: Tensor
    up: Tensor

    def __init__(self, base: nn.Module, deltas: Sequence[LowRank | None]) -> None:
        super().__init__()
        present = [delta for delta in deltas if delta is not None]
        shapes = {delta.shape for delta in present}
        if not deltas or len(shapes) > 1:
            raise ValueError(
                f"{len(deltas)} updates of shapes {sorted(shapes)}: "
                "expected one or more, all of one shape."
            )
        self.base = base
        self.rows = len(deltas)
        self.has_updates = bool(present)
        if present:
            down, up = _stacked(deltas, present)
            self.register_buffer("down", down, persistent=False)
            self.register_buffer("up", up, persistent=False)
        self.training = base.training

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Outputs [..., d] in the base's dtype, for inputs x [..., k]."""
        y: Tensor = self.base(x, *args, **kwargs)
        if not self.has_updates:
            return y
        if x.shape[0] % self.rows:
            raise ValueError(
                f"a batch of shape {tuple(x.shape)} for {self.rows} updates: expected as many rows "
                "for each."
            )
        dtype = self.down.dtype
        inner = torch.bmm(x.reshape(self.rows, -1, x.shape[-1]).to(dtype), self.down)
        outer = y.reshape(self.rows, -1, y.shape[-1]).to(dtype)
        # Not in place: a hook may keep a reference to the base's output.
        return torch.baddbmm(outer, inner, self.up).to(y.dtype).view(y.shape)

    def __getattr__(self, name: str) -> Any:
        # Some models read `weight` or `bias` of a layer that they also call.
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base":
                raise
            return getattr(super().__getattr__("base"), name)


def _stacked(deltas: Sequence[LowRank | None], present: Sequence[LowRank]) -> tuple[Tensor, Tensor]:
    """A as [N, k, r] and scale·B as [N, r, d], zero where an update has no such rank or row."""
    dtype = present[0].up.dtype
    for delta in present:
        dtype = torch.promote_types(dtype, torch.promote_types(delta.up.dtype, delta.down.dtype))
    rank = max(delta.rank for delta in present)
    d, k = present[0].shape
    device = present[0].up.device
    down = torch.zeros(len(deltas), k, rank, dtype=dtype, device=device)
    up = torch.zeros(len(deltas), rank, d, dtype=dtype, device=device)
    for row, update in enumerate(deltas):
        if update is not None:
            down[row, :, : update.rank] = update.down.detach().mT
            up[row, : update.rank] = update.scale * update.up.detach().mT
    return down, up
