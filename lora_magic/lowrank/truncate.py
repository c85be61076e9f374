"""A smaller rank for an update: the best one there is, what it loses, and how much rank is enough.

Knows updates; knows no model, no adapter and no file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .dense import Update
from .factors import LowRank
from .spectrum import energy_rank


def truncated(update: Update, rank: int) -> LowRank:
    """The best approximation of ΔW by rank R: [d, R]·[R, k], with scale 1.0.

    ΔW = UΣVᵀ is cut after its R largest singular values: up = U·√Σ, down = √Σ·Vᵀ. No matrix of
    rank R is nearer in the Frobenius norm (Eckart and Young 1936, "The approximation of one matrix
    by another of lower rank"); the distance left is `lost(update, rank)` of ‖ΔW‖_F. √σ on both
    sides, so that neither factor is the larger one when the adapter is trained on.

    Args:
        update: ΔW [d, k]; the cost is that of its `svd`.
        rank: R, at least 1. The result is min(R, r, d, k) wide: there is nothing beyond that.

    Factors of an update that has factors keep their dtype; of a dense one they are fp32, or finer
    if ΔW is. They lie on the device of the update. Raises `ValueError` for a rank below 1.
    """
    if rank < 1:
        raise ValueError(f"rank {rank}: expected 1 or more.")
    if isinstance(update, LowRank):
        dtype, device = torch.promote_types(update.up.dtype, update.down.dtype), update.up.device
    else:
        dtype = torch.promote_types(update.delta.dtype, torch.float32)
        device = update.delta.device
    u, sigma, vh = update.svd()
    root = sigma[:rank].sqrt()
    up, down = u[:, :rank] * root, root[:, None] * vh[:rank]
    return LowRank(down=down.to(device, dtype), up=up.to(device, dtype), scale=1.0)


def rank_for(update: Update, energy: float) -> int:
    """The smallest R whose R largest singular values hold `energy` of Σσ²; 0 for ΔW = 0.

    `energy` is a share above 0, at most 1; a share short by 1e-12 counts as reached, so that 1.0
    leaves out what is below a millionth of ‖ΔW‖_F. Raises `ValueError` for another share.
    """
    if not 0 < energy <= 1:
        raise ValueError(f"energy {energy}: expected a share above 0, at most 1.")
    return energy_rank(update.singular_values().tolist(), energy)


def lost(update: Update, rank: int) -> float:
    """‖ΔW − ΔW_R‖_F / ‖ΔW‖_F, what the best approximation of rank R leaves out: from 0 to 1.

    √(Σ_{i>R} σ² / Σσ²); 1 for R = 0, and 0 for ΔW = 0. The energy lost is its square.
    Raises `ValueError` for a rank below 0. For many ranks at once: `lost_after`.
    """
    return lost_after(update.singular_values().tolist(), rank)


def lost_after(sigma: Sequence[float], rank: int) -> float:
    """`lost` from singular values already at hand, largest first."""
    if rank < 0:
        raise ValueError(f"rank {rank}: expected 0 or more.")
    # hypot, since squares of small values underflow.
    whole = math.hypot(*sigma)
    return math.hypot(*sigma[rank:]) / whole if whole else 0.0
