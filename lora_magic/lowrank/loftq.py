"""LoftQ: an adapter that begins with the best part of what quantising took off a weight.

Knows tensors, and a function that quantises; knows no library that does so, no model and no file.
Li et al. 2023, "LoftQ: LoRA-Fine-Tuning-Aware Quantization", arXiv 2310.08659, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .factors import LowRank


def loftq(
    weight: Tensor, quantise: Callable[[Tensor], Tensor], rank: int, steps: int = 1
) -> tuple[Tensor, LowRank]:
    """Q and ΔW of rank r whose sum is near W [d, k].

    From ΔW = 0, `steps` times: Q = q(W − ΔW), then ΔW = the best rank-r approximation of W − Q.
    So ‖W − Q − ΔW‖² = Σ_{i>r} σᵢ²(W − Q) in the Frobenius norm. After one step Q is q(W), the
    weight of the quantised base as it is; more steps want a base of their own.

    Args:
        weight: W.
        quantise: q, from a tensor [d, k] to the quantised one, dense.
        rank: r, at least 1.
        steps: T, at least 1.

    Returns Q as `quantise` gave it, and ΔW with √σ on both sides and scale 1.0. Raises
    `ValueError` for a rank or number of steps below 1.
    """
    if steps < 1:
        raise ValueError(f"steps {steps}: expected 1 or more.")
    near = weight
    for _ in range(steps):
        quantised = quantise(near)
        down, up = residual_factors(weight, quantised, rank, 1.0)
        update = LowRank(down, up, 1.0)
        near = weight - update.dense(weight.dtype)
    return quantised, update


def residual_factors(
    weight: Tensor, quantised: Tensor, rank: int, scale: float
) -> tuple[Tensor, Tensor]:
    """A [r, k] and B [d, r] with scale·B·A = the best rank-r approximation of W − Q.

    `scale` is the adapter's own, α/r or α/√r: each factor is divided by its root, so that what the
    adapter adds is the same for every α. Beyond min(d, k) the factors hold zeros.

    Worked out on Q's device from the smaller Gram matrix, O(d·k·min(d, k)), in float64 on the CPU
    and float32 elsewhere, since some accelerators have nothing wider; returned in float32, or
    float64 if W is. Raises `ValueError` for shapes that differ, a rank below 1, a scale not above
    0.
    """
    if weight.shape != quantised.shape or weight.dim() != 2:
        raise ValueError(
            f"W {tuple(weight.shape)} and Q {tuple(quantised.shape)}: expected both [d, k]."
        )
    if rank < 1 or not scale > 0:
        raise ValueError(f"rank {rank}, scale {scale}: expected at least 1, and above 0.")
    wide = torch.float64 if quantised.device.type == "cpu" else torch.float32
    left = quantised.detach().to(wide)
    left = weight.detach().to(left.device, wide) - left
    flat = left.shape[0] <= left.shape[1]
    side = left if flat else left.mT
    # Directions of the shorter side, the largest first; projecting on them is exact, where a
    # division by small σ would not be.
    basis = torch.linalg.eigh(side @ side.mT).eigenvectors.flip(1)[:, :rank]
    rest = basis.mT @ side
    root = torch.linalg.vector_norm(rest, dim=1).sqrt()
    rest = torch.where(root[:, None] > 0, rest / root[:, None], 0.0) / scale**0.5
    basis = basis * root / scale**0.5
    down, up = (rest, basis) if flat else (basis.mT, rest.mT)
    dtype = torch.promote_types(weight.dtype, torch.float32)
    lack = rank - down.shape[0]
    down = torch.nn.functional.pad(down, (0, 0, 0, lack)).to(dtype)
    return down.contiguous(), torch.nn.functional.pad(up, (0, lack)).to(dtype).contiguous()
