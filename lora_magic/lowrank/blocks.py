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


class Blocks:
    """The updates of N blocks of one layer; None for a block without one.

    A is copied into one tensor [N, R, k] and B into [N, d, R], smaller ranks padded with zeros,
    when an optimizer has changed them. Raises `ValueError` for no block at all, and for factors of
    different shapes or number formats.
    """

    def __init__(self, blocks: Sequence[Block | None]) -> None:
        present = [block for block in blocks if block is not None]
        self.downs, self.ups = [one.down for one in present], [one.up for one in present]
        shapes = {(len(one.up), one.down.shape[1]) for one in present}
        formats = {factor.dtype for factor in (*self.downs, *self.ups)}
        if not blocks or len(shapes) > 1 or len(formats) > 1:
            raise ValueError(
                f"{len(blocks)} blocks, updates of shapes {sorted(shapes)}: expected one shape and "
                "one number format."
            )
        self.scales = [None if block is None else block.scale for block in blocks]
        self._versions: list[int] = []
        if present:
            self._allocate(max(len(down) for down in self.downs))

    def _allocate(self, rank: int) -> None:
        count, first, last = len(self.scales), self.downs[0], self.ups[0]
        self._down = first.new_zeros(count, rank, first.shape[1])
        self._up = last.new_zeros(count, len(last), rank)
        self._scale = first.new_tensor([scale or 0.0 for scale in self.scales])[:, None, None]
        places = [at for at, scale in enumerate(self.scales) if scale is not None]
        ranks = list(zip(places, map(len, self.downs), strict=True))
        self._of_downs = [self._down[at, :rank] for at, rank in ranks]
        self._of_ups = [self._up[at, :, :rank] for at, rank in ranks]

    def stacked(self) -> tuple[Tensor, Tensor, Tensor]:
        """A as [N, R, k], B as [N, d, R] and the scales [N, 1, 1]; nobody writes to them."""
        versions = [factor._version for factor in (*self.downs, *self.ups)]
        if versions != self._versions:
            with torch.no_grad():
                torch._foreach_copy_(self._of_downs, self.downs)
                torch._foreach_copy_(self._of_ups, self.ups)
            self._versions = versions
        return self._down, self._up, self._scale


def adapted_blocks(x: Tensor, weight: Tensor, bias: Tensor | None, blocks: Blocks) -> Tensor:
    """Outputs [..., d] in the number format of W, for inputs x [..., k] of N blocks in order.

    A block of None has no update: its output is that of W, bit for bit. Each A and B gets its own
    gradient. The updates are computed in the factors' number format and rounded once, with the sum,
    as in PEFT's layer. There are no second derivatives.

    Raises `ValueError` for a W or b that requires a gradient, which would be missing, for one of
    another shape than the updates, and for inputs that do not divide into N blocks.
    """
    if any(tensor is not None and tensor.requires_grad for tensor in (weight, bias)):
        raise ValueError("a weight or bias requires a gradient: expected frozen ones.")
    if x.shape[:-1].numel() % len(blocks.scales):
        raise ValueError(f"inputs {list(x.shape)}: expected rows for {len(blocks.scales)} blocks.")
    if not blocks.downs:
        return linear(x, weight, bias)
    shape = [len(blocks.ups[0]), blocks.downs[0].shape[1]]
    if shape != list(weight.shape):
        raise ValueError(f"updates of shape {shape}: expected {list(weight.shape)}.")
    found: Tensor = _Blocks.apply(x, weight, bias, blocks, *blocks.downs, *blocks.ups)  # type: ignore[no-untyped-call]  # torch's
    return found


class _Blocks(torch.autograd.Function):
    """x, W, b, the blocks, then all A and all B, which are inputs so that they get gradients."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, blocks: Blocks, *factors: Tensor
    ) -> Tensor:
        down, up, scale = blocks.stacked()
        count, wide = len(down), down.dtype
        rows = x.reshape(count, -1, x.shape[-1]).to(wide)
        inner = torch.bmm(rows, down.mT).mul_(scale)  # [N, T, R]
        y = linear(x, weight, bias)
        total = y.to(wide)
        total.view(count, -1, y.shape[-1]).baddbmm_(inner, up.mT)
        ctx.save_for_backward(x, inner, weight, down, up, scale)
        ctx.blocks = blocks.scales, [len(factor) for factor in blocks.downs]
        return total.to(y.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Any, ...]:
        x, inner, weight, down, up, scale = ctx.saved_tensors
        count, wide = len(down), down.dtype
        dy = outer.reshape(count, -1, outer.shape[-1]).to(wide)
        dinner = torch.bmm(dy, up).mul_(scale)  # [N, T, R]
        dx = None
        if ctx.needs_input_grad[0]:
            total = (outer @ weight).to(wide).contiguous()
            total.view(count, -1, x.shape[-1]).baddbmm_(dinner, down)
            dx = total.to(x.dtype)
        rows = x.reshape(count, -1, x.shape[-1]).to(wide)
        of_down = torch.bmm(dinner.mT, rows)  # [N, R, k]
        of_up = torch.bmm(dy.mT, inner)  # [N, d, R]
        scales, ranks = ctx.blocks
        places = [at for at, one in enumerate(scales) if one is not None]
        own = list(zip(places, ranks, strict=True))
        downs = [of_down[at, :rank] for at, rank in own]
        ups = [of_up[at, :, :rank] for at, rank in own]
        return (dx, None, None, None, *downs, *ups)
