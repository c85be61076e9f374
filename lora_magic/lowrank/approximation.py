"""The best low-rank approximations: of an update, and of what quantisation removed from a weight.

Knows tensors and updates; knows no model, no adapter, no file and no quantisation library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .dense import Update
from .factors import LowRank


def truncated(
    update: Update, rank: int, svd: tuple[Tensor, Tensor, Tensor] | None = None
) -> LowRank:
    """The best approximation of ΔW by rank R: [d, R]·[R, k], with scale 1.0.

    ΔW = UΣVᵀ is truncated after its R largest singular values: up = U·√Σ, down = √Σ·Vᵀ. No matrix
    of rank R is nearer in the Frobenius norm (Eckart and Young 1936, "The approximation of one
    matrix by another of lower rank"); `truncation_error` gives the distance that is left. √σ goes
    to both sides, so that neither factor is the larger one when the adapter is trained further.

    Args:
        update: ΔW [d, k]; the cost is that of its `svd`.
        rank: R, at least 1. The result has rank min(R, r, d, k).
        svd: the update's `svd()`, if it is known.

    The factors of a low-rank update keep their dtype; those of a dense one are fp32, or finer if ΔW
    is. They are on the update's device. Raises `ValueError` for a rank below 1.
    """
    return truncated_and_sigma(update, rank, svd)[0]


def truncated_and_sigma(
    update: Update, rank: int, svd: tuple[Tensor, Tensor, Tensor] | None = None
) -> tuple[LowRank, Tensor]:
    """`truncated`, and all singular values of ΔW, largest first, in float64."""
    if rank < 1:
        raise ValueError(f"rank {rank}: expected 1 or more.")
    if isinstance(update, LowRank):
        dtype, device = torch.promote_types(update.up.dtype, update.down.dtype), update.up.device
    else:
        dtype = torch.promote_types(update.delta.dtype, torch.float32)
        device = update.delta.device
    if svd is None and isinstance(update, LowRank):
        up, sigma, down = update.cut(rank)
    else:
        u, sigma, vh = update.svd() if svd is None else svd
        root = sigma[:rank].sqrt()
        up, down = u[:, :rank] * root, root[:, None] * vh[:rank]
    return LowRank(down=down.to(device, dtype), up=up.to(device, dtype), scale=1.0), sigma


def truncation_error(sigma: Sequence[float], rank: int) -> float:
    """‖ΔW − ΔW_R‖_F / ‖ΔW‖_F = √(Σ_{i>R} σ² / Σσ²), from 0 to 1, for the best ΔW_R of rank R.

    `sigma` are the singular values of ΔW, largest first. 1 for R = 0, and 0 for ΔW = 0. The lost
    share of the energy is the square. Raises `ValueError` for a rank below 0.
    """
    if rank < 0:
        raise ValueError(f"rank {rank}: expected 0 or more.")
    # hypot, since squares of small values underflow.
    whole = math.hypot(*sigma)
    return math.hypot(*sigma[rank:]) / whole if whole else 0.0


def residual_factors(
    weight: Tensor, quantised: Tensor, rank: int, scale: float
) -> tuple[Tensor, Tensor]:
    """A [r, k] and B [d, r] with scale·B·A = the best rank-r approximation of W − Q.

    The first step of LoftQ (Li et al. 2023, "LoftQ: LoRA-Fine-Tuning-Aware Quantization", arXiv
    2310.08659, algorithm 1), where Q is the weight of the quantised base:
    ‖W − Q − scale·B·A‖² = Σ_{i>r} σᵢ²(W − Q) in the Frobenius norm. `scale` is the adapter's own,
    α/r or α/√r: each factor is divided by its root, so that ΔW is the same for every α. Beyond
    min(d, k) the factors are zero.

    Computed on Q's device from the smaller Gram matrix, O(d·k·min(d, k)), in float64 on the CPU and
    float32 elsewhere, since some accelerators have no float64; returned in float32, or float64 if W
    is. Raises `ValueError` for shapes that differ, a rank below 1, or a scale of 0 or less.
    """
    if weight.shape != quantised.shape or weight.dim() != 2:
        raise ValueError(
            f"W {tuple(weight.shape)} and Q {tuple(quantised.shape)}: expected both [d, k]."
        )
    if rank < 1 or not scale > 0:
        raise ValueError(f"rank {rank}, scale {scale}: expected a rank from 1 and a scale above 0.")
    wide = torch.float64 if quantised.device.type == "cpu" else torch.float32
    residual = quantised.detach().to(wide)
    residual = weight.detach().to(residual.device, wide) - residual
    is_wide = residual.shape[0] <= residual.shape[1]
    side = residual if is_wide else residual.mT
    # Directions of the shorter side, the largest first; projecting on them is exact, where a
    # division by small σ would not be.
    basis = torch.linalg.eigh(side @ side.mT).eigenvectors.flip(1)[:, :rank]
    projected = basis.mT @ side
    root = torch.linalg.vector_norm(projected, dim=1).sqrt()
    projected = torch.where(root[:, None] > 0, projected / root[:, None], 0.0) / scale**0.5
    basis = basis * root / scale**0.5
    down, up = (projected, basis) if is_wide else (basis.mT, projected.mT)
    dtype = torch.promote_types(weight.dtype, torch.float32)
    missing = rank - down.shape[0]
    down = torch.nn.functional.pad(down, (0, 0, 0, missing)).to(dtype)
    return down.contiguous(), torch.nn.functional.pad(up, (0, missing)).to(dtype).contiguous()
