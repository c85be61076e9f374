"""An update that is not low rank, kept as ΔW itself and read as a low-rank one is.

Knows torch; knows no model, no adapter and no file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from .factors import LowRank, precise


@dataclass(frozen=True, eq=False)
class DenseUpdate:
    """ΔW as it is, `delta` [d, k]: what DoRA, IA3 and full fine-tuning leave, of any rank.

    Reads as `LowRank` does, at the price of a dense matrix: O(d·k·min(d, k)) for the singular
    values and the decomposition, where factors of rank r cost O((d + k)·r²). Raises `ValueError`
    when `delta` is not a matrix.
    """

    delta: Tensor

    def __post_init__(self) -> None:
        if self.delta.dim() != 2:
            raise ValueError(f"ΔW of shape {tuple(self.delta.shape)}: expected a matrix [d, k].")

    @property
    def shape(self) -> tuple[int, int]:
        """(d, k), the shape of ΔW: outputs by inputs."""
        return self.delta.shape[0], self.delta.shape[1]

    @property
    def rank(self) -> int:
        """min(d, k): an upper bound of ΔW's rank, as `LowRank.rank` is."""
        return min(self.shape)

    @property
    def finite(self) -> bool:
        """Whether ΔW holds numbers only: no NaN, no infinity."""
        return bool(self.delta.isfinite().all())

    def scaled(self, weight: float) -> DenseUpdate:
        """weight · ΔW, a new matrix in ΔW's own dtype."""
        return DenseUpdate(self.delta.detach() * weight)

    def singular_values(self) -> Tensor:
        """The singular values of ΔW, falling: float64 [min(d, k)]."""
        sigma: Tensor = torch.linalg.svdvals(precise(self.delta))
        return sigma

    def svd(self) -> tuple[Tensor, Tensor, Tensor]:
        """U [d, m], σ [m], Vᵀ [m, k] with m = min(d, k), float64: ΔW = U · diag(σ) · Vᵀ."""
        u, sigma, vh = torch.linalg.svd(precise(self.delta), full_matrices=False)
        return u, sigma, vh

    def norm(self) -> float:
        """‖ΔW‖_F."""
        return float(torch.linalg.matrix_norm(precise(self.delta)))

    def dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """ΔW itself [d, k] in `dtype` (default: its own), without its graph; not a copy."""
        return self.delta.detach().to(dtype or self.delta.dtype)


#: What a method did to one weight matrix, whichever way it is kept.
Update: TypeAlias = LowRank | DenseUpdate
