"""An update that is not low rank: ΔW itself, with the interface of `LowRank`.

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
    """ΔW as a dense matrix, `delta` [d, k]: the update of DoRA, IA3 and full fine-tuning.

    The singular values and the decomposition cost O(d·k·min(d, k)), where factors of rank r cost
    O((d + k)·r²). Raises `ValueError` if `delta` is not a matrix.
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
        """min(d, k), an upper bound of ΔW's rank."""
        return min(self.shape)

    @property
    def finite(self) -> bool:
        """Whether ΔW has no NaN and no infinity."""
        return bool(self.delta.isfinite().all())

    def singular_values(self) -> Tensor:
        """The singular values of ΔW, largest first: float64 [min(d, k)]."""
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
        """ΔW [d, k] in `dtype` (default: its own), detached; not a copy."""
        return self.delta.detach().to(dtype or self.delta.dtype)


#: The change of one weight matrix, in either representation.
Update: TypeAlias = LowRank | DenseUpdate
