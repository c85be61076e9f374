"""LoftQ's law, for every scale, rank and shape, against the singular values of the dense rest."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lora_magic.lowrank.approximation import residual_factors


def coarse(weight: Tensor) -> Tensor:
    """A quantiser of the test's own: multiples of a fifth of the largest entry of each row."""
    step = weight.abs().amax(dim=1, keepdim=True) / 5
    return (weight / step).round() * step


def drawn(d: int, k: int, seed: int = 0) -> Tensor:
    return torch.randn(d, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tail(rest: Tensor, rank: int) -> float:
    """Σ_{i>r} σᵢ², from torch's SVD of the dense matrix."""
    return float(torch.linalg.svdvals(rest.double())[rank:].square().sum())


@pytest.mark.parametrize(("d", "k", "rank"), [(24, 40, 4), (40, 24, 1), (16, 16, 16), (9, 31, 8)])
def test_what_is_left_is_the_tail_of_the_singular_values(d: int, k: int, rank: int) -> None:
    weight = drawn(d, k)
    quantised = coarse(weight)
    a, b = residual_factors(weight, quantised, rank, 1.0)
    left = float((weight - quantised - b @ a).square().sum())
    assert left == pytest.approx(tail(weight - quantised, rank), rel=1e-10, abs=1e-20)
    assert a.shape[0] == rank


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.0, 16 / 8**0.5, 64.0])
@pytest.mark.parametrize(("d", "k", "rank"), [(24, 40, 4), (40, 24, 8)])
def test_the_scaled_product_is_the_best_one_whatever_alpha(
    d: int, k: int, rank: int, scale: float
) -> None:
    weight = drawn(d, k)
    quantised = coarse(weight)
    a, b = residual_factors(weight, quantised, rank, scale)
    assert a.shape == (rank, k)
    assert b.shape == (d, rank)
    u, sigma, vh = torch.linalg.svd(weight - quantised, full_matrices=False)
    best = u[:, :rank] * sigma[:rank] @ vh[:rank]
    assert torch.allclose(scale * (b @ a), best, rtol=0, atol=1e-11)
    root = (sigma[:rank] / scale).sqrt()
    assert torch.allclose(a.norm(dim=1), root, rtol=1e-9)
    assert torch.allclose(b.norm(dim=0), root, rtol=1e-9)


def test_without_a_division_by_the_scale_the_law_would_not_hold() -> None:
    weight = drawn(24, 40)
    quantised = coarse(weight)
    a, b = residual_factors(weight, quantised, 4, 1.0)
    wrong = float((weight - quantised - 2.0 * (b @ a)).square().sum())
    assert wrong > 1.01 * tail(weight - quantised, 4)


def test_float32_weights_keep_the_law_to_their_own_rounding() -> None:
    weight = drawn(64, 48).float()
    quantised = coarse(weight)
    a, b = residual_factors(weight, quantised, 8, 0.5)
    assert a.dtype is b.dtype is torch.float32
    left = float((weight - quantised - 0.5 * (b @ a)).double().square().sum())
    # Rounding the factors to 2^-24 moves ΔW by about that much of its norm: its square, and twice
    # the product with a rest that is orthogonal to it, are far below.
    assert left == pytest.approx(tail(weight - quantised, 8), rel=1e-5)


def test_a_rank_beyond_the_matrix_is_filled_with_zeros_and_leaves_nothing() -> None:
    weight = drawn(5, 9)
    a, b = residual_factors(weight, coarse(weight), 7, 2.0)
    assert (a.shape, b.shape) == ((7, 9), (5, 7))
    assert torch.equal(a[5:], torch.zeros_like(a[5:]))
    assert torch.allclose(2.0 * (b @ a), weight - coarse(weight), rtol=0, atol=1e-12)


def test_a_weight_that_lost_nothing_gets_zeros_and_no_nan() -> None:
    weight = drawn(6, 4)
    a, b = residual_factors(weight, weight.clone(), 2, 1.0)
    assert torch.equal(b @ a, torch.zeros_like(weight))


def test_what_cannot_be_is_refused() -> None:
    weight = drawn(6, 4)
    with pytest.raises(ValueError, match="rank 0"):
        residual_factors(weight, weight, 0, 1.0)
    with pytest.raises(ValueError, match=r"scale 0\.0"):
        residual_factors(weight, weight, 2, 0.0)
    with pytest.raises(ValueError, match=r"\(6, 4\) and Q \(4, 6\)"):
        residual_factors(weight, weight.mT, 2, 1.0)
