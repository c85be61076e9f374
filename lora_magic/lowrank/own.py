"""W's own spectrum: all of its singular values, or the largest by a randomised decomposition.

Knows matrices; knows no update, no model and no adapter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .factors import precise

#: Up to this smaller side every singular value is computed: 0.4 s of one core at 1024.
EXACT = 1024

#: How many of the largest are computed beyond that, with so many more to be exact in them.
FIRST, BEYOND = 64, 32

#: Power iterations of the randomised decomposition.
_ITERATIONS = 6


@dataclass(frozen=True, eq=False)
class OwnSpectrum:
    """W's singular values, the largest first, float64 on the CPU, and ‖W‖_F.

    `exact` if `sigma` are all of them by a dense decomposition; else the first 64 by a randomised
    one.
    """

    sigma: Tensor
    norm: float
    exact: bool


def own_spectrum(weight: Tensor) -> OwnSpectrum:
    """The spectrum of W [d, k].

    Beyond a smaller side of 1024: Halko, Martinsson and Tropp 2011, "Finding structure with
    randomness", algorithm 4.4, on a random subspace of dimension 96, always the same one.
    """
    wide = precise(weight)
    norm = float(torch.linalg.matrix_norm(wide))
    if min(wide.shape) <= EXACT:
        return OwnSpectrum(torch.linalg.svdvals(wide), norm, exact=True)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(wide.shape[1], FIRST + BEYOND, generator=generator, dtype=wide.dtype)
    basis = torch.linalg.qr(wide @ start).Q
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(wide @ torch.linalg.qr(wide.mT @ basis).Q).Q
    return OwnSpectrum(torch.linalg.svdvals(basis.mT @ wide)[:FIRST], norm, exact=False)
