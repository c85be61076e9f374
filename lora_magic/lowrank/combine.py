"""One update from several: their exact weighted sum, or a sparse combination.

Knows updates; knows no model, no adapter and no training.

`parts` is always [(w₁, ΔW₁), (w₂, ΔW₂), …]: one or more, all of one shape [d, k]. A weight is a
multiplier, not a share: weights need not sum to 1 and may be negative. Results are fp32, or finer
if an update is, on the device of the first. Every function raises `ValueError` for no parts, shapes
that differ, and NaN or infinity in weights or updates; functions with a `density` also for one
outside (0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from .dense import DenseUpdate, Update
from .factors import LowRank

#: (weight, update), one or more.
Parts = Sequence[tuple[float, Update]]


def weighted_sum(parts: Parts) -> Update:
    """Σ wᵢ·ΔWᵢ, of any ranks and scales.

    If all are low rank, the factors are concatenated: up = [w₁s₁B₁ | w₂s₂B₂ | …], down = [A₁; A₂;
    …], of rank Σrᵢ with scale 1.0. This is the exact sum, where a sum of the factors, (ΣwB)(ΣwA),
    is another matrix; ΔW is never built. If any update is dense, so is the result.
    """
    _check(parts)
    low = [(weight, update) for weight, update in parts if isinstance(update, LowRank)]
    if len(low) < len(parts):
        return DenseUpdate(_total(_dense(parts)))
    dtype, device = _home(parts)
    downs = [update.down.detach().to(device, dtype) for _, update in low]
    ups = [weight * update.scale * update.up.detach().to(device, dtype) for weight, update in low]
    return LowRank(down=torch.cat(downs), up=torch.cat(ups, dim=1), scale=1.0)


def ties(parts: Parts, density: float) -> DenseUpdate:
    """TIES: the mean of the large entries that agree on the sign.

    Yadav et al. 2023, arXiv 2306.01708, section 4. Entry by entry, after each ΔWᵢ is trimmed to its
    largest `density` share by magnitude (as in `magnitude`):

        uᵢ = wᵢ · trim(ΔWᵢ)                the weight is applied here only
        γ  = sign(Σ uᵢ)                    the elected sign: by magnitude, not by count
        ΔW = mean of the uᵢ of sign γ      over those only; 0 where γ = 0

    If all weights are λ this is the paper's λ·τ. It is a mean: two equal updates at weights 1 and 1
    give that update, at 0.7 and 0.3 half of it. A part with weight 0 has no effect; a negative
    weight votes for the opposite sign. PEFT's `ties` elects the sign without the weights.
    """
    _check(parts, density)
    dtype, device = _home(parts)
    # One sum for each sign, so that memory does not grow with the number of parts.
    sums, counts = torch.zeros(2, 2, *parts[0][1].shape, dtype=dtype, device=device)
    for weight, delta in _dense(parts):
        vote = weight * _trimmed(delta, density)
        for side, agreeing in enumerate((vote > 0, vote < 0)):
            sums[side] += vote * agreeing
            counts[side] += agreeing
    means = sums / counts.clamp(min=1)
    elected = sums.sum(dim=0).sign()
    return DenseUpdate(means[0] * (elected > 0) + means[1] * (elected < 0))


def dare(parts: Parts, density: float, seed: int) -> DenseUpdate:
    """DARE: drops entries at random and rescales the rest, so that updates interfere less.

    Yu et al. 2023, arXiv 2311.03099, section 3: ΔW = Σ wᵢ·mᵢ⊙ΔWᵢ/p, with each entry of each mask mᵢ
    independently 1 with probability p = `density`, else 0. The mean over seeds is the weighted sum,
    and so is the result at density 1.

    The masks come from a generator of this call, on the CPU: a seed gives the same entries on every
    device, and torch's global generator is not used. Updates of one shape get the same masks from
    the same seed: give each module its own seed.
    """
    _check(parts, density)
    generator = torch.Generator().manual_seed(seed)

    def thinned(delta: Tensor) -> Tensor:
        kept = torch.rand(delta.shape, generator=generator) < density
        return delta * kept.to(delta.device) / density

    return DenseUpdate(_total((weight, thinned(delta)) for weight, delta in _dense(parts)))


def magnitude(parts: Parts, density: float) -> DenseUpdate:
    """Σ wᵢ·trim(ΔWᵢ): each update's largest entries only, not rescaled.

    trim keeps the round(density·d·k) entries (at least one) of largest magnitude, and all entries
    equal to the smallest of these, so that the order in memory does not matter.
    """
    _check(parts, density)
    return DenseUpdate(
        _total((weight, _trimmed(delta, density)) for weight, delta in _dense(parts))
    )


def _trimmed(delta: Tensor, density: float) -> Tensor:
    """`delta` with 0 where it is smaller than its largest `density` share of entries."""
    size, entries = delta.abs(), delta.numel()
    kept = max(1, round(density * entries))
    threshold = size.flatten().kthvalue(entries - kept + 1).values
    return delta * (size >= threshold)


def _total(weighed: Iterable[tuple[float, Tensor]]) -> Tensor:
    """Σ w·ΔW, one at a time: all at once might not fit in memory."""
    remaining = iter(weighed)
    weight, delta = next(remaining)
    total = weight * delta
    for weight, delta in remaining:
        total.add_(delta, alpha=weight)
    return total


def _dense(parts: Parts) -> Iterator[tuple[float, Tensor]]:
    """Each weight and ΔW [d, k], in the dtype and on the device of the result."""
    dtype, device = _home(parts)
    return ((weight, update.dense(dtype).to(device)) for weight, update in parts)


def _home(parts: Parts) -> tuple[torch.dtype, torch.device]:
    """The dtype and device of the result; sums of half-precision numbers need fp32."""
    tensors = [tensor for _, update in parts for tensor in _tensors(update)]
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype, tensors[0].device


def _tensors(update: Update) -> tuple[Tensor, ...]:
    return (update.up, update.down) if isinstance(update, LowRank) else (update.delta,)


def _check(parts: Parts, density: float = 1.0) -> None:
    shapes = sorted({update.shape for _, update in parts})
    if len(shapes) != 1:
        raise ValueError(
            f"{len(parts)} updates of shapes {shapes}: expected one or more, all of one shape."
        )
    weights = [weight for weight, _ in parts]
    # A comparison with NaN is false, so trimming would drop it silently.
    if not all(map(math.isfinite, weights)) or not all(update.finite for _, update in parts):
        raise ValueError(f"weights {weights} or updates with NaN or infinity: expected numbers.")
    if not 0 < density <= 1:
        raise ValueError(f"density {density}: expected a share above 0, at most 1.")
