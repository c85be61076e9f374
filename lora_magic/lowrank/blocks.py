"""LoRA's forward and backward for several updates of one linear layer, each on a block of a batch.

    y_n = x_n·Wᵀ + b + s_n·(x_n·A_nᵀ)·B_nᵀ        LoRA, arXiv 2106.09685, section 4.1, for each n
    dA_n = s_n·(dy_n·B_n)ᵀ·x_n   dB_n = s_n·dy_nᵀ·(x_n·A_nᵀ)   dx_n = dy_n·W + s_n·(dy_n·B_n)·A_n

W and b are frozen and multiplied once for all blocks; two batched products serve all updates. The
blocks do not mix: a NaN in one reaches no other. Knows torch; knows no model and no adapter.
`lowrank.stack` does the same for generation, where nothing is trained.

Shapes: N blocks, T rows of a block, k inputs, d outputs, R the largest rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear


class Block(NamedTuple):
    """The update of one block: `down` A [r, k], `up` B [d, r], of one number format."""

    down: Tensor
    up: Tensor
    scale: float


def adapted_blocks(
    x: Tensor, weight: Tensor, bias: Tensor | None, blocks: Sequence[Block | None]
) -> Tensor:
    """Outputs [..., d] in the number format of W, for inputs x [..., k] of N blocks in order.

    A block of None has no update: its output is that of W, bit for bit. Smaller ranks are padded
    with zeros; each A and B gets its own gradient. The updates are computed in the factors' number
    format and rounded once, with the sum, as in PEFT's layer. There are no second derivatives.

    Raises `ValueError` for no block at all, a W or b that requires a gradient, which would be
    missing, factors of different shapes or number formats, and inputs that do not divide into N
    blocks.
    """
    factors = [factor for block in blocks if block is not None for factor in block[:2]]
    if any(tensor is not None and tensor.requires_grad for tensor in (weight, bias)):
        raise ValueError("a weight or bias requires a gradient: expected frozen ones.")
    if not blocks or x.shape[:-1].numel() % len(blocks):
        raise ValueError(f"inputs {list(x.shape)}: expected rows for {len(blocks)} blocks.")
    if not factors:
        return linear(x, weight, bias)
    shapes = {
        (up.shape[0], down.shape[1]) for down, up in zip(factors[::2], factors[1::2], strict=True)
    }
    if shapes != {tuple(weight.shape)} or len({factor.dtype for factor in factors}) > 1:
        raise ValueError(
            f"updates of shapes {sorted(shapes)}: expected {list(weight.shape)}, in one format."
        )
    scales = [None if block is None else block.scale for block in blocks]
    found: Tensor = _Blocks.apply(x, weight, bias, scales, *factors)  # type: ignore[no-untyped-call]  # torch's
    return found


class _Blocks(torch.autograd.Function):
    """x, W, b, the N scales (None without an update), then A and B of each block with one."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        scales: list[float | None],
        *factors: Tensor,
    ) -> Tensor:
        wide = factors[0].dtype
        down, up = _stacked(scales, factors[::2], factors[1::2])
        rows = x.reshape(len(scales), -1, x.shape[-1]).to(wide)
        inner = torch.bmm(rows, down.mT)  # [N, T, R]
        y = linear(x, weight, bias)
        total = y.to(wide)
        total.view(len(scales), -1, y.shape[-1]).baddbmm_(inner, up)
        ctx.save_for_backward(x, inner, weight, down, up)
        ctx.scales, ctx.ranks = scales, [len(down) for down in factors[::2]]
        return total.to(y.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Any, ...]:
        x, inner, weight, down, up = ctx.saved_tensors
        wide, count = down.dtype, len(ctx.scales)
        dy = outer.reshape(count, -1, outer.shape[-1]).to(wide)
        dinner = torch.bmm(dy, up.mT)  # [N, T, R]
        dx = None
        if ctx.needs_input_grad[0]:
            total = (outer @ weight).to(wide).contiguous()
            total.view(count, -1, x.shape[-1]).baddbmm_(dinner, down)
            dx = total.to(x.dtype)
        rows = x.reshape(count, -1, x.shape[-1]).to(wide)
        of_down = torch.bmm(dinner.mT, rows)  # [N, R, k]
        of_up = torch.bmm(dy.mT, inner)  # [N, d, R]
        gradients: list[Tensor] = []
        ranks = iter(ctx.ranks)
        for at, scale in enumerate(ctx.scales):
            if scale is not None:
                rank = next(ranks)
                gradients += [of_down[at, :rank], of_up[at, :, :rank] * scale]
        return (dx, None, None, None, *gradients)


def _stacked(
    scales: Sequence[float | None], downs: Sequence[Tensor], ups: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """A as [N, R, k] and s·Bᵀ as [N, R, d], with zeros where a block has no such rank or update."""
    present = [scale for scale in scales if scale is not None]
    rank = max(len(down) for down in downs)
    if len(present) == len(scales) and all(len(down) == rank for down in downs):
        down = torch.stack(list(downs))
        up = torch.stack([up.mT * scale for up, scale in zip(ups, present, strict=True)])
        return down, up
    down = downs[0].new_zeros(len(scales), rank, downs[0].shape[1])
    up = downs[0].new_zeros(len(scales), rank, ups[0].shape[0])
    own = iter(zip(downs, ups, strict=True))
    for at, scale in enumerate(scales):
        if scale is not None:
            one, other = next(own)
            down[at, : len(one)] = one
            up[at, : len(one)] = other.mT * scale
    return down, up
