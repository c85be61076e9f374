"""Directions of updates: how far those of two overlap, and how much one amplifies.

Knows updates and matrices; knows no model, no adapter and no training.

An update's directions are its singular vectors, the largest σ first: the left ones, in the space of
the outputs [d], or the right ones, in that of the inputs [k].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .dense import Update
from .factors import LowRank, precise

#: A direction whose σ is below this share of σ1 is rounding: float32 factors have 24 bits.
ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Directions:
    """The directions of ΔW with σ > 0: `outputs` U [d, m], `sigma` [m], `inputs` V [k, m].

    float64 on the CPU; m = 0 for ΔW = 0.
    """

    outputs: Tensor
    sigma: Tensor
    inputs: Tensor

    @property
    def count(self) -> int:
        """m, the numerical rank of ΔW."""
        return len(self.sigma)


def directions(update: Update) -> Directions:
    """ΔW's directions; those with σ ≤ 1e-6·σ1 are rounding and left out.

    The cost is that of the update's `svd`.
    """
    u, sigma, vh = update.svd()
    kept = int((sigma > ROUNDING * sigma[:1].clamp_min(torch.finfo(sigma.dtype).tiny)).sum())
    return Directions(u[:, :kept], sigma[:kept], vh[:kept].mT)


def overlap(one: Tensor, other: Tensor) -> Tensor:
    """φ(i, j) of the first i columns of one and the first j of the other: [m, n], from 0 to 1.

    φ(i, j) = ‖U₁ⁱᵀ·U₂ʲ‖²_F / min(i, j), LoRA, arXiv 2106.09685, section 7.2, equation 4, for
    orthonormal columns [dim, m] and [dim, n]. 1 if the smaller subspace lies in the larger one, 0
    if they are orthogonal. `chance` is what two random subspaces have.

    Raises `ValueError` for columns of different spaces.
    """
    if one.shape[0] != other.shape[0]:
        raise ValueError(f"directions in {one.shape[0]} and {other.shape[0]} dimensions.")
    shared = (precise(one).mT @ precise(other)).square().cumsum(0).cumsum(1)
    return shared / _fewer(*shared.shape)


def chance(one: int, other: int, dim: int) -> Tensor:
    """E φ(i, j) = max(i, j)/dim of independent random subspaces, i to `one` and j to `other`.

    A uniformly random subspace of dimension i keeps the share i/dim of each direction, so that
    E ‖U₁ⁱᵀ·U₂ʲ‖² = i·j/dim.
    """
    i, j = _places(one), _places(other)
    return i[:, None] * j / dim / _fewer(one, other)


def _fewer(one: int, other: int) -> Tensor:
    """min(i, j) for i to `one` and j to `other`."""
    return torch.minimum(_places(one)[:, None], _places(other))


def _places(count: int) -> Tensor:
    return torch.arange(1, count + 1, dtype=torch.float64)


def cosine(one: Update, other: Update) -> float | None:
    """⟨ΔW₁, ΔW₂⟩ / (‖ΔW₁‖·‖ΔW₂‖), from −1 to 1; None if one of them is 0.

    Of two low-rank updates it takes O((d + k)·r²), without their products.
    """
    norms = one.norm() * other.norm()
    # Rounding must not take it beyond 1, of which there is no angle.
    return max(-1.0, min(1.0, _inner(one, other) / norms)) if norms else None


def _inner(one: Update, other: Update) -> float:
    """⟨ΔW₁, ΔW₂⟩ = Σ over all entries, in float64."""
    if isinstance(one, LowRank) and isinstance(other, LowRank):
        ups = precise(one.up).mT @ precise(other.up)
        downs = precise(one.down) @ precise(other.down).mT
        return one.scale * other.scale * float((ups * downs).sum())
    return float((one.dense(torch.float64).cpu() * other.dense(torch.float64).cpu()).sum())


@dataclass(frozen=True)
class Amplification:
    """How much of W lies in the `rank` largest directions of ΔW: table 7 of the LoRA paper.

    Section 7.3, for U, V the first r directions of ΔW: `in_change` is ‖Uᵀ·W·V‖_F; `in_own` the
    same with W's own first r directions, √(Σσᵢ(W)²); `in_random` its root mean square with random
    ones, r·‖W‖/√(d·k). `change` is ‖ΔW‖_F and `weight` ‖W‖_F.
    """

    rank: int
    in_change: float
    in_own: float
    in_random: float
    change: float
    weight: float

    @property
    def factor(self) -> float:
        """‖ΔW‖ / ‖Uᵀ·W·V‖: by how much ΔW amplifies what W has in its directions."""
        return self.change / self.in_change if self.in_change else math.inf


def amplification(
    weight: Tensor, own: Tensor, found: Directions, rank: int
) -> Amplification | None:
    """Amplification of W [d, k] by ΔW at r = `rank` or ΔW's own, if smaller; None for ΔW = 0.

    `own` are W's singular values, the largest first, at least `rank` of them; `found` are ΔW's
    directions. Raises `ValueError` for a rank below 1, too few singular values, or shapes that
    differ.
    """
    used = min(rank, found.count)
    shape = (len(found.outputs), len(found.inputs))
    if rank < 1 or len(own) < used or weight.shape != shape:
        raise ValueError(
            f"rank {rank}, {len(own)} singular values, W {tuple(weight.shape)}, ΔW {shape}: "
            "expected a rank from 1, as many singular values, and one shape."
        )
    if not used:
        return None
    wide = precise(weight)
    inside = found.outputs[:, :used].mT @ wide @ found.inputs[:, :used]
    norm = float(torch.linalg.matrix_norm(wide))
    return Amplification(
        rank=used,
        in_change=float(torch.linalg.matrix_norm(inside)),
        in_own=float(torch.linalg.vector_norm(own[:used].double())),
        in_random=used * norm / math.sqrt(wide.numel()),
        change=float(torch.linalg.vector_norm(found.sigma)),
        weight=norm,
    )
