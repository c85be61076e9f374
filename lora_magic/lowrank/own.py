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

#: How many of the largest are computed beyond that, from blocks of so many columns.
FIRST, BLOCK = 64, 32

#: The blocks end when no value grew by more than this share of the largest with the last one.
_SETTLED = 1e-7
_NOTHING = 1e-12


@dataclass(frozen=True, eq=False)
class OwnSpectrum:
    """W's singular values, the largest first, float64 on the CPU, and ‖W‖_F.

    `exact` if `sigma` are all of them by a dense decomposition; else the first 64 by a randomised
    one, which is within 1e-6·σ1 of them, also for a flat spectrum.
    """

    sigma: Tensor
    norm: float
    exact: bool


def own_spectrum(weight: Tensor) -> OwnSpectrum:
    """The spectrum of W [d, k].

    Beyond a smaller side of 1024 by randomised block Lanczos: Musco and Musco 2015, "Randomized
    block Krylov methods for stronger and faster approximate singular value decomposition",
    algorithm 2, always with the same random block. O(d·k·m) with m from 100 for a spectrum that
    falls quickly to 800 for a flat one.
    """
    wide = precise(weight)
    norm = float(torch.linalg.matrix_norm(wide))
    if min(wide.shape) <= EXACT:
        return OwnSpectrum(torch.linalg.svdvals(wide), norm, exact=True)
    return OwnSpectrum(_largest(wide if wide.shape[0] < wide.shape[1] else wide.mT), norm, False)


def _largest(wide: Tensor) -> Tensor:
    """The first singular values of W [d, k], d ≤ k, from W's restriction to a growing subspace.

    Power iterations alone are 2 % off for a random matrix, whose largest values lie close together.
    """
    generator = torch.Generator().manual_seed(0)

    def random(size: int) -> Tensor:
        return torch.randn(size, BLOCK, generator=generator, dtype=wide.dtype)

    basis = torch.linalg.qr(wide @ random(wide.shape[1])).Q
    image = wide.mT @ basis
    found = torch.zeros(0, dtype=wide.dtype)
    while basis.shape[1] + BLOCK <= wide.shape[0]:
        before, found = found, _gram_values(image)
        if len(before) == FIRST and (found - before).abs().max() <= _SETTLED * found[0]:
            break
        block = wide @ image[:, -BLOCK:]
        block -= basis @ (basis.mT @ block)
        # Where nothing is left, as after the rank of W, QR would turn rounding into directions that
        # are in the subspace already: random ones take their place.
        block += _NOTHING * float(found[0]) ** 2 * random(wide.shape[0])
        # Again, or rounding would let found directions come back.
        for _ in range(2):
            block = torch.linalg.qr(block - basis @ (basis.mT @ block)).Q
        basis = torch.cat([basis, block], dim=1)
        image = torch.cat([image, wide.mT @ block], dim=1)
    values: Tensor = torch.linalg.svdvals(image)[:FIRST]
    return values


def _gram_values(image: Tensor) -> Tensor:
    """The largest singular values of a tall matrix, rough below 1e-8 of the largest."""
    values: Tensor = torch.linalg.eigvalsh(image.mT @ image).flip(0).clamp_min(0).sqrt()[:FIRST]
    return values
