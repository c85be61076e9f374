"""Several low-rank updates over one linear layer, each for its own rows of a batch.

Knows torch; knows no model and no adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.modules import module as torch_module

from .factors import LowRank


class StackedLinear(nn.Module):
    """y_n = base(x_n) + s_n·B_n·A_n·x_n: block n of the batch under update n.

    Two batched products serve all updates: A stacked as [M, r, k] and s·B as [M, d, r], smaller
    ranks padded with zeros. The blocks before the first update (a comparison's base) have no part
    in them. A block under `None`, or under an update with B = 0, equals the base's output bit for
    bit, and a NaN in one block reaches no other. Computed in the factors' dtype (fp32 factors over
    a bf16 base give an fp32 sum) and cast back once, as PEFT's `Linear.forward` does for a single
    adapter. `base` may be transposed (`Conv1D`) or quantised: unless it is a plain `nn.Linear`, it
    is called and its weight is not read.

    Args:
        base: the layer under the updates; x [..., k] → [..., d].
        deltas: for each of the N blocks an update of shape (d, k), or None.

    Shapes: x [N·b, ..., k] with b rows of each block, the rows of a block together, or flattened
    to [N·b·T, k] in that order.

    Raises `ValueError` for no `deltas` or shapes that differ; in forward for another batch size.
    The factors are copied: build a new stack after the adapter is trained further.
    """

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
        self.blocks = len(deltas)
        #: How many blocks come before the first update.
        self.before = deltas.index(present[0]) if present else len(deltas)
        # Plain attributes, since the lookup of a buffer takes as long as a small product.
        self.down, self.up = _stacked(deltas[self.before :], present) if present else (None, None)
        self.training = base.training

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Outputs [..., d] in the base's dtype, for inputs x [..., k]."""
        base: Any = self._modules["base"]
        # The output of a call may be kept by a hook, or be the input itself; this one is ours.
        fresh = not args and not kwargs and _is_plain(base)
        y: Tensor = linear(x, base.weight, base.bias) if fresh else base(x, *args, **kwargs)
        down, up = self.down, self.up
        if down is None or up is None:
            return y
        rows = x.shape[0] // self.blocks
        if x.shape[0] != rows * self.blocks:
            raise ValueError(
                f"a batch of shape {tuple(x.shape)} for {self.blocks} updates: expected as many "
                "rows for each."
            )
        start = rows * self.before
        inner = torch.bmm(_in_blocks(x[start:], len(down)).to(down.dtype), down.mT)
        changed = _in_blocks(y[start:], len(up))
        if fresh and y.dtype == up.dtype and y.is_contiguous():
            changed.baddbmm_(inner, up.mT)
            return y
        total = torch.baddbmm(changed.to(up.dtype), inner, up.mT).to(y.dtype).view(y[start:].shape)
        return torch.cat([y[:start], total]) if start else total

    def __getattr__(self, name: str) -> Any:
        # Some models read `weight` or `bias` of a layer that they also call.
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base":
                raise
            return getattr(super().__getattr__("base"), name)


def _in_blocks(rows: Tensor, blocks: int) -> Tensor:
    """Rows [M·b, ..., k] as [M, b·..., k]; a view where one is possible."""
    if rows.dim() == 3 and len(rows) == blocks:
        return rows
    return rows.reshape(blocks, -1, rows.shape[-1])


def _is_plain(base: Any) -> bool:
    """Is it torch's own linear layer over a plain weight, without anyone's hooks?"""
    return (
        type(base) is nn.Linear
        and type(base._parameters["weight"]) is nn.Parameter
        and not (base._forward_hooks or base._forward_pre_hooks)
        and not (base._backward_hooks or base._backward_pre_hooks)
        and "forward" not in base.__dict__
        and not torch_module._has_any_global_hook()  # type: ignore[no-untyped-call]  # torch's
    )


def _stacked(deltas: Sequence[LowRank | None], present: Sequence[LowRank]) -> tuple[Tensor, Tensor]:
    """A as [M, r, k] and scale·B as [M, d, r], zero where an update has no such rank or row."""
    dtype = present[0].up.dtype
    for delta in present:
        dtype = torch.promote_types(dtype, torch.promote_types(delta.up.dtype, delta.down.dtype))
    rank = max(delta.rank for delta in present)
    d, k = present[0].shape
    device = present[0].up.device
    down = torch.zeros(len(deltas), rank, k, dtype=dtype, device=device)
    up = torch.zeros(len(deltas), d, rank, dtype=dtype, device=device)
    for block, update in enumerate(deltas):
        if update is not None:
            down[block, : update.rank] = update.down.detach()
            up[block, :, : update.rank] = update.up.detach()
            up[block] *= update.scale
    return down, up
