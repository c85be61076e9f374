"""A low-rank update as its two factors, and what follows from them without their product.

Knows torch; knows no model, no adapter and no file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LowRank:
    """ΔW = scale · up @ down, with `up` (B) [d, r] and `down` (A) [r, k].

    LoRA, arXiv 2106.09685, section 4.1: h = W0·x + scale·B·A·x with scale = α/r. All but `dense`
    costs O((d + k)·r²) and no more memory than the factors: ΔW is never built.
    Raises `ValueError` if the shapes of the factors do not match.
    """

    down: Tensor
    up: Tensor
    scale: float

    def __post_init__(self) -> None:
        if self.down.dim() != 2 or self.up.dim() != 2 or self.up.shape[1] != self.down.shape[0]:
            raise ValueError(
                f"factors {tuple(self.up.shape)} and {tuple(self.down.shape)}: "
                "expected up [d, r] and down [r, k]."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(d, k), the shape of ΔW: outputs by inputs."""
        return self.up.shape[0], self.down.shape[1]

    @property
    def rank(self) -> int:
        """r, an upper bound of ΔW's rank."""
        return self.down.shape[0]

    @property
    def finite(self) -> bool:
        """Whether factors and scale have no NaN and no infinity."""
        return is_finite(self.up) and is_finite(self.down) and math.isfinite(self.scale)

    def singular_values(self) -> Tensor:
        """The singular values of ΔW that may not be 0, largest first: float64 [min(r, d, k)]."""
        sigma: Tensor = torch.linalg.svdvals(self._core())
        return sigma

    def svd(self) -> tuple[Tensor, Tensor, Tensor]:
        """U [d, m], σ [m], Vᵀ [m, k] with m = min(r, d, k), float64: ΔW = U · diag(σ) · Vᵀ."""
        left, u, sigma, vh, right = self._factored()
        return left @ u, sigma, vh @ right.mT

    def cut(self, rank: int) -> tuple[Tensor, Tensor, Tensor]:
        """U·√Σ, all singular values and √Σ·Vᵀ, float64; U and V of the `rank` largest ones."""
        left, u, sigma, vh, right = self._factored()
        root = sigma[:rank].sqrt()
        return left @ (u[:, :rank] * root), sigma, (root[:, None] * vh[:rank]) @ right.mT

    def _factored(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Q₁, U, σ, Vᵀ, Q₂ with ΔW = Q₁·U·diag(σ)·Vᵀ·Q₂ᵀ: two QR and the SVD of a small matrix."""
        left, right = torch.linalg.qr(precise(self.up)), torch.linalg.qr(precise(self.down).mT)
        u, sigma, vh = torch.linalg.svd(self.scale * left.R @ right.R.mT, full_matrices=False)
        return left.Q, u, sigma, vh, right.Q

    def norm(self) -> float:
        """‖ΔW‖_F."""
        return float(torch.linalg.matrix_norm(self._core()))

    def dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """ΔW [d, k], multiplied in `dtype` (default: that of the factors)."""
        dtype = dtype or torch.promote_types(self.up.dtype, self.down.dtype)
        return self.scale * (self.up.detach().to(dtype) @ self.down.detach().to(dtype))

    def _core(self) -> Tensor:
        """The small matrix [min(d, r), min(r, k)] with ΔW's singular values and norm.

        With up = Q₁R₁ and downᵀ = Q₂R₂ it is scale·R₁R₂ᵀ, since the Q are orthonormal.
        """
        left = torch.linalg.qr(precise(self.up), mode="r").R
        right = torch.linalg.qr(precise(self.down).mT, mode="r").R
        core: Tensor = self.scale * left @ right.mT
        return core


def singular_values(updates: Sequence[LowRank]) -> list[Tensor]:
    """The singular values of each update, as its own `singular_values`.

    Updates with factors of one shape share their calls: of small factors those cost most.
    """
    shapes: dict[tuple[int, int, int], list[int]] = {}
    for at, update in enumerate(updates):
        shapes.setdefault((*update.shape, update.rank), []).append(at)
    found: dict[int, Tensor] = {}
    for places in shapes.values():
        some = [updates[at] for at in places]
        up = precise(torch.stack([one.up for one in some]))
        down = precise(torch.stack([one.down for one in some]))
        left, right = (torch.linalg.qr(m, mode="r").R for m in (up, down.mT))
        scale = up.new_tensor([abs(one.scale) for one in some])[:, None]
        sigma = scale * torch.linalg.svdvals(left @ right.mT)
        found.update(zip(places, sigma, strict=True))
    return [found[at] for at in range(len(updates))]


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor has no NaN and no infinity."""
    # One of these makes the sum one, which costs a tenth; a sum of finite entries can overflow.
    return math.isfinite(float(tensor.detach().sum())) or bool(tensor.isfinite().all())


def precise(factor: Tensor) -> Tensor:
    """A factor, or ΔW, in float64, since fp32 loses the small singular values.

    On the CPU, because some accelerators have no float64.
    """
    return factor.detach().to("cpu", torch.float64)
