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

    Two batched products serve all updates: A stacked as [M, r, k] and s·B as [M, r, d], smaller
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
        self.factors = _stacked(deltas[self.before :], present) if present else None
        self.training = base.training

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Outputs [..., d] in the base's dtype, for inputs x [..., k]."""
        base: Any = self._modules["base"]
        # The output of a call may be kept by a hook, or be the input itself; this one is ours.
        fresh = not args and not kwargs and _is_plain(base)
        own = base._parameters
        y: Tensor = linear(x, own["weight"], own["bias"]) if fresh else base(x, *args, **kwargs)
        if self.factors is None:
            return y
        batch, start = x.shape[0], 0
        if batch % self.blocks:
            raise ValueError(
                f"a batch of shape {tuple(x.shape)} for {self.blocks} updates: expected as many "
                "rows for each."
            )
        part, changed = x, y
        if self.before:
            start = batch // self.blocks * self.before
            part, changed = x[start:], y[start:]
        down, up = self.factors
        count, dtype = up.shape[0], up.dtype
        if x.dim() != 3 or batch != self.blocks:
            part = part.reshape(count, -1, part.shape[-1])
            changed = changed.reshape(count, -1, changed.shape[-1])
        inner = torch.bmm(part if part.dtype == dtype else part.to(dtype), down)
        if fresh and y.dtype == dtype and y.is_contiguous():
            changed.baddbmm_(inner, up)
            return y
        total = torch.baddbmm(changed.to(dtype), inner, up).to(y.dtype).view(y[start:].shape)
        return torch.cat([y[:start], total]) if start else total

    def __getattr__(self, name: str) -> Any:
        # Some models read `weight` or `bias` of a layer that they also call.
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base":
                raise
            return getattr(super().__getattr__("base"), name)


def _is_plain(base: Any) -> bool:
    """Is it torch's own linear layer over a plain weight, without anyone's hooks?"""
    return (
        type(base) is nn.Linear
        and type(base._parameters.get("weight")) is nn.Parameter  # a pruned one has none
        and not (base._forward_hooks or base._forward_pre_hooks)
        and not (base._backward_hooks or base._backward_pre_hooks)
        and "forward" not in base.__dict__
        and not torch_module._has_any_global_hook()  # type: ignore[no-untyped-call]  # torch's
    )


def _stacked(deltas: Sequence[LowRank | None], present: Sequence[LowRank]) -> tuple[Tensor, Tensor]:
    """Aᵀ as [M, k, r] and scale·Bᵀ as [M, r, d], zero where an update has no such rank or row.

    For one token a row, products are fastest if each reads its factor in rows: A and Bᵀ.
    """
    dtype = present[0].up.dtype
    for delta in present:
        dtype = torch.promote_types(dtype, torch.promote_types(delta.up.dtype, delta.down.dtype))
    rank = max(delta.rank for delta in present)
    d, k = present[0].shape
    device = present[0].up.device
    full = all(update is not None and update.rank == rank for update in deltas)
    new = torch.empty if full else torch.zeros
    down = new(len(deltas), rank, k, dtype=dtype, device=device)
    up = new(len(deltas), rank, d, dtype=dtype, device=device)
    for block, update in enumerate(deltas):
        if update is not None:
            down[block, : update.rank].copy_(update.down.detach())
            torch.mul(update.up.detach().mT, update.scale, out=up[block, : update.rank])
    return down.mT, up
