"""Intruder dimensions: large singular vectors of W + ΔW that W does not have.

Shuttleworth et al. 2024, "LoRA vs Full Fine-tuning: An Illusion of Equivalence", arXiv 2410.21228,
algorithm 1. Found and removed with the same defaults as PEFT's `reduce_intruder_dimension`, which
is for linear layers: of a Conv1D it takes W as [k, d], and its factors do not fit there. The count
follows ‖ΔW‖/‖W‖, so two adapters are comparable only at about equal loss.

Knows matrices and updates; knows no model and no adapter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .approximation import truncated
from .combine import weighted_sum
from .dense import Update
from .factors import LowRank, precise

#: How many of the largest singular vectors are examined, and the |cosine| below which one is new.
FIRST, NEW = 10, 0.5


@dataclass(frozen=True, eq=False)
class Intruders:
    """The singular vectors of W + ΔW among its `FIRST` that W does not have.

    `places` are their indices from 0 in the spectrum of W + ΔW, and `cosines` the largest |cosine|
    of each of the examined left singular vectors with one of W's. `part` is Σ σᵢ·uᵢ·vᵢᵀ over the
    intruders [d, k], None without any.
    """

    places: tuple[int, ...]
    cosines: tuple[float, ...]
    part: LowRank | None


def intruders(weight: Tensor, update: Update, first: int = FIRST, new: float = NEW) -> Intruders:
    """The intruder dimensions of W [d, k] + ΔW, by left singular vectors, in float64.

    Two dense decompositions: O(d·k·min(d, k)). Raises `ValueError` for shapes that differ, `first`
    below 1 and `new` outside (0, 1].
    """
    if weight.shape != update.shape or first < 1 or not 0 < new <= 1:
        raise ValueError(
            f"W {tuple(weight.shape)}, ΔW {update.shape}, first {first}, new {new}: expected one "
            "shape, at least 1 vector, and a cosine above 0, at most 1."
        )
    wide = precise(weight)
    u, _, _ = torch.linalg.svd(wide, full_matrices=False)
    total = wide + update.dense(torch.float64).cpu()
    left, sigma, right = torch.linalg.svd(total, full_matrices=False)
    cosines = (left[:, :first].mT @ u).abs().amax(dim=1)
    places = (cosines < new).nonzero().flatten()
    part = None
    if len(places):
        part = LowRank(down=right[places], up=left[:, places] * sigma[places], scale=1.0)
    return Intruders(tuple(places.tolist()), tuple(cosines.tolist()), part)


def without(update: LowRank, found: Intruders, share: float) -> LowRank:
    """ΔW less `share` of the intruders, cut to its rank: its best approximation there.

    The sum of ΔW and the intruders has rank r + m, so it is decomposed from its factors. The result
    has the factors' number format. Raises `ValueError` for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share}: expected more than 0, at most 1.")
    if found.part is None:
        return update
    part = LowRank(
        down=found.part.down.to(update.down.device),
        up=found.part.up.to(update.up.device),
        scale=1.0,
    )
    less = truncated(weighted_sum([(1.0, update), (-share, part)]), update.rank)
    down, up = less.down.to(update.down.dtype), less.up.to(update.up.dtype)
    return LowRank(down=down, up=up, scale=1.0)
