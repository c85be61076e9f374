"""LoRA's forward and backward as one autograd function, for layers that share an input.

    y = x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ        LoRA, arXiv 2106.09685, section 4.1; W and b are frozen
    dA = s·(dy·B)ᵀ·x   dB = s·dyᵀ·(x·Aᵀ)   dx = dy·W + s·(dy·B)·A

For the backward pass it keeps x, in its own number format, and the product x·Aᵀ of r columns: no
copy of x in the factors' format, and no output of B. Layers of one input share x and one product
with all of their A. Knows torch; knows no model and no adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear


class LoraLinear(NamedTuple):
    """A linear layer with a low-rank update: `weight` W [d, k] and `bias` b [d] are frozen.

    `down` A [r, k] and `up` B [d, r] have one number format: that of W, or a wider one.
    """

    weight: Tensor
    bias: Tensor | None
    down: Tensor
    up: Tensor
    scale: float


def adapted(
    x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float
) -> Tensor:
    """y [..., d] in the number format of W, for inputs x [..., k]; see `adapted_together`."""
    (y,) = adapted_together(x, [LoraLinear(weight, bias, down, up, scale)])
    return y


def adapted_together(x: Tensor, layers: Sequence[LoraLinear]) -> tuple[Tensor, ...]:
    """The outputs of layers that share their input x [..., k], each [..., d] of its layer.

    The update is computed in the factors' number format and rounded once, with the sum, as in
    PEFT's layer. Gradients are those of x and of every A and B that requires one; there are no
    second derivatives. Ranks, scales and d may differ.

    Raises `ValueError` for a W or b that requires a gradient, which would be missing, and for
    factors of different number formats.
    """
    if any(t is not None and t.requires_grad for layer in layers for t in layer[:2]):
        raise ValueError("a weight or bias requires a gradient: expected frozen ones.")
    formats = {factor.dtype for layer in layers for factor in layer[2:4]}
    if len(formats) != 1:
        raise ValueError(f"factors in {sorted(map(str, formats))}: expected one number format.")
    tensors = [tensor for layer in layers for tensor in layer[:4]]
    scales = [layer.scale for layer in layers]
    found: tuple[Tensor, ...] = _Together.apply(x, scales, *tensors)  # type: ignore[no-untyped-call]  # torch's
    return found


class _Together(torch.autograd.Function):
    """x, the scales, then W, b, A and B of each layer → one output for each layer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scales: list[float], *tensors: Tensor) -> tuple[Tensor, ...]:
        weights, biases, downs, ups = (tensors[part::4] for part in range(4))
        wide = downs[0].dtype
        rows, ranks = _rows(x), [len(down) for down in downs]
        inner = rows.to(wide) @ _joined(downs, 0).t()
        outputs = []
        for weight, bias, up, scale, own in zip(
            weights, biases, ups, scales, _parted(inner, ranks, 1), strict=True
        ):
            y = linear(rows, weight, bias)
            total = y.to(wide).addmm_(own, up.t(), alpha=scale).to(y.dtype)
            # A view would forbid the model to change the output in place.
            outputs.append(torch.ops.aten._unsafe_view(total, (*x.shape[:-1], len(up))))
        of_x, of_down, of_up = _needed(ctx)
        # What autograd would keep, so that a later change in place raises as for a plain layer.
        ctx.save_for_backward(
            x if of_down else None,
            inner if of_up else None,
            *(weights if of_x else ()),
            *(downs if of_x else ()),
            *(ups if of_x or of_down else ()),
        )
        ctx.scales, ctx.shape, ctx.narrow, ctx.wide = scales, x.shape, x.dtype, wide
        ctx.ranks = ranks
        ctx.set_materialize_grads(False)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor | None) -> tuple[Any, ...]:
        gradients: list[Tensor | None] = [None] * len(ctx.needs_input_grad)
        # An output that the loss does not depend on has no gradient: its A and B get none, either.
        live = [(i, _rows(dy)) for i, dy in enumerate(outer) if dy is not None]
        if not live:
            return tuple(gradients)
        x, inner, *rest = ctx.saved_tensors
        count, (of_x, of_down, of_up) = len(outer), _needed(ctx)
        weights, downs, ups = rest[:count], rest[count : 2 * count], rest[-count:]
        owns = _parted(inner, ctx.ranks, 1) if of_up else ()
        small = []
        for i, dy in live:
            wide = dy.to(ctx.wide)
            if of_up:
                gradients[5 + 4 * i] = (wide.t() @ owns[i]).mul_(ctx.scales[i])
            if of_x or of_down:
                small.append((wide @ ups[i]).mul_(ctx.scales[i]))
        if of_down:
            product = _joined(small, 1).t() @ _rows(x).to(ctx.wide)
            parts = _parted(product, [ctx.ranks[i] for i, _ in live], 0)
            for (i, _), part in zip(live, parts, strict=True):
                gradients[4 + 4 * i] = part
        if of_x:
            dx = _joined(small, 1) @ _joined([downs[i] for i, _ in live], 0)
            for i, dy in live:
                _add_product(dx, dy, weights[i])
            gradients[0] = dx.to(ctx.narrow).view(ctx.shape)
        return tuple(gradients)


def _needed(ctx: Any) -> tuple[bool, bool, bool]:
    """Is the gradient of x needed, of any A, of any B?"""
    needs = ctx.needs_input_grad
    return needs[0], any(needs[4::4]), any(needs[5::4])


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _parted(joined: Tensor, ranks: list[int], dim: int) -> Sequence[Tensor]:
    return (joined,) if len(ranks) == 1 else torch.split(joined, ranks, dim)


def _joined(parts: Sequence[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim)


def _add_product(total: Tensor, dy: Tensor, weight: Tensor) -> None:
    """total += dy·W; the product of narrower numbers is rounded before it is added."""
    if dy.dtype == total.dtype:
        total.addmm_(dy, weight)
    else:
        total.add_(dy @ weight)
