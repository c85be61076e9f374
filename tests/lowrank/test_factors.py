from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lora_magic.lowrank.factors import LowRank, singular_values


def update(d: int = 13, k: int = 9, r: int = 4, scale: float = 2.0, seed: int = 0) -> LowRank:
    generator = torch.Generator().manual_seed(seed)
    return LowRank(
        down=torch.randn(r, k, generator=generator),
        up=torch.randn(d, r, generator=generator),
        scale=scale,
    )


def product(delta: LowRank) -> Tensor:
    """ΔW in float64, by another road than the class: a sum of outer products."""
    up, down = delta.up.double(), delta.down.double()
    return delta.scale * torch.einsum("dr,rk->dk", up, down)


@pytest.mark.parametrize(
    ("d", "k", "r"), [(13, 9, 4), (9, 13, 4), (6, 6, 6), (5, 20, 8), (7, 3, 1)]
)
@pytest.mark.parametrize("scale", [2.0, -0.5])
def test_singular_values_are_those_of_the_dense_product(
    d: int, k: int, r: int, scale: float
) -> None:
    delta = update(d, k, r, scale)
    sigma = delta.singular_values()
    dense = torch.linalg.svdvals(product(delta))
    assert sigma.dtype == torch.float64
    assert sigma.shape == (min(r, d, k),)
    torch.testing.assert_close(sigma, dense[: len(sigma)], rtol=1e-12, atol=1e-12)
    assert float(dense[len(sigma) :].sum()) < 1e-12


def test_the_singular_values_of_several_updates_are_those_of_each_dense_product() -> None:
    shapes = [(13, 9, 4), (9, 13, 4), (13, 9, 4), (5, 20, 8), (13, 9, 2)]
    scales = [2.0, 1.0, -0.5, 0.25, 1.0]
    updates = [update(*shape, scales[at], seed=at) for at, shape in enumerate(shapes)]
    for one, sigma in zip(updates, singular_values(updates), strict=True):
        dense = torch.linalg.svdvals(product(one))
        assert sigma.dtype == torch.float64
        assert sigma.shape == one.singular_values().shape
        torch.testing.assert_close(sigma, dense[: len(sigma)], rtol=1e-12, atol=1e-12)
    assert singular_values([]) == []


def test_small_singular_values_survive_a_condition_of_a_million() -> None:
    generator = torch.Generator().manual_seed(1)
    left = torch.linalg.qr(torch.randn(40, 5, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(30, 5, generator=generator, dtype=torch.float64)).Q
    expected = torch.logspace(0, -6, 5, dtype=torch.float64)
    sigma = LowRank(down=right.mT, up=left * expected, scale=1.0).singular_values()
    torch.testing.assert_close(sigma, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("scale", [1.5, -1.5, 0.0])
@pytest.mark.parametrize(("d", "k", "r"), [(13, 9, 4), (5, 20, 8)])
def test_the_decomposition_rebuilds_the_update_from_orthonormal_sides(
    d: int, k: int, r: int, scale: float
) -> None:
    delta = update(d, k, r, scale)
    u, sigma, vh = delta.svd()
    m = min(d, k, r)
    assert (u.shape, sigma.shape, vh.shape) == ((d, m), (m,), (m, k))
    torch.testing.assert_close(u * sigma @ vh, product(delta), rtol=1e-12, atol=1e-12)
    eye = torch.eye(m, dtype=torch.float64)
    torch.testing.assert_close(u.mT @ u, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(vh @ vh.mT, eye, rtol=0, atol=1e-12)
    assert bool((sigma >= 0).all())


def test_transposition_keeps_the_spectrum_and_scale_multiplies_it() -> None:
    delta = update()
    flipped = LowRank(down=delta.up.mT, up=delta.down.mT, scale=delta.scale)
    louder = LowRank(down=delta.down, up=delta.up, scale=-3 * delta.scale)
    sigma = delta.singular_values()
    torch.testing.assert_close(flipped.singular_values(), sigma, rtol=1e-12, atol=0)
    torch.testing.assert_close(louder.singular_values(), 3 * sigma, rtol=1e-12, atol=0)


def test_norm_is_frobenius_and_dense_is_the_product() -> None:
    delta = update()
    assert delta.norm() == pytest.approx(float(product(delta).norm()), rel=1e-12)
    torch.testing.assert_close(delta.dense(torch.float64), product(delta), rtol=1e-12, atol=1e-12)
    assert delta.dense().dtype == torch.float32
    assert (delta.shape, delta.rank) == ((13, 9), 4)


def test_an_untrained_update_has_no_spectrum_and_no_norm() -> None:
    delta = LowRank(down=torch.randn(4, 9), up=torch.zeros(13, 4), scale=2.0)
    assert delta.singular_values().tolist() == [0.0] * 4
    assert delta.norm() == 0.0


def test_parameters_in_half_precision_give_a_plain_float64_result() -> None:
    delta = LowRank(
        down=torch.nn.Parameter(torch.randn(4, 9, dtype=torch.bfloat16)),
        up=torch.nn.Parameter(torch.randn(13, 4, dtype=torch.bfloat16)),
        scale=2.0,
    )
    dense = torch.linalg.svdvals(product(LowRank(delta.down.data, delta.up.data, 2.0)))
    sigma = delta.singular_values()
    assert not sigma.requires_grad
    torch.testing.assert_close(sigma, dense[:4], rtol=1e-12, atol=0)


def test_a_large_update_is_measured_without_ever_being_built() -> None:
    # Dense, this ΔW would take 10^12 entries.
    side = 1_000_000
    delta = LowRank(down=torch.ones(1, side), up=torch.ones(side, 1), scale=1.0)
    assert delta.singular_values().tolist() == pytest.approx([float(side)])


def test_factors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(13, 4\) and \(5, 9\)"):
        LowRank(down=torch.zeros(5, 9), up=torch.zeros(13, 4), scale=1.0)
