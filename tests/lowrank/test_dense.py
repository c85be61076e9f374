"""A dense update must read as the low-rank one of the same ΔW does, and beyond it."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from lora_magic.errors import AdapterError
from lora_magic.lowrank.dense import DenseUpdate
from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.spectrum import spectrum_of


def low_rank(d: int = 13, k: int = 9, r: int = 4, seed: int = 0) -> LowRank:
    generator = torch.Generator().manual_seed(seed)
    return LowRank(
        down=torch.randn(r, k, generator=generator, dtype=torch.float64),
        up=torch.randn(d, r, generator=generator, dtype=torch.float64),
        scale=-1.5,
    )


def matrix(d: int, k: int, seed: int = 0) -> Tensor:
    return torch.randn(d, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("d", "k"), [(13, 9), (9, 13), (6, 6), (1, 5)])
def test_it_reads_as_the_factors_of_the_same_update_do(d: int, k: int) -> None:
    factored = low_rank(d, k, min(d, k))
    dense = DenseUpdate(factored.scale * factored.up @ factored.down)
    assert (dense.shape, dense.rank) == ((d, k), min(d, k)) == (factored.shape, factored.rank)
    torch.testing.assert_close(
        dense.singular_values(), factored.singular_values(), rtol=1e-11, atol=1e-12
    )
    assert dense.norm() == pytest.approx(factored.norm(), rel=1e-12)
    torch.testing.assert_close(dense.dense(), factored.dense(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("d", "k"), [(13, 9), (9, 13)])
def test_the_decomposition_rebuilds_the_update_from_orthonormal_sides(d: int, k: int) -> None:
    delta, m = matrix(d, k), min(d, k)
    u, sigma, vh = DenseUpdate(delta).svd()
    assert (u.shape, sigma.shape, vh.shape) == ((d, m), (m,), (m, k))
    torch.testing.assert_close(u @ torch.diag(sigma) @ vh, delta, rtol=1e-12, atol=1e-12)
    eye = torch.eye(m, dtype=torch.float64)
    torch.testing.assert_close(u.mT @ u, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(vh @ vh.mT, eye, rtol=0, atol=1e-12)
    assert sigma.tolist() == sorted(sigma.tolist(), reverse=True)


def test_a_parameter_in_half_precision_gives_plain_float64_numbers() -> None:
    half = matrix(8, 5).to(torch.bfloat16)
    update = DenseUpdate(nn.Parameter(half))
    exact = torch.tensor([[float(value) for value in row] for row in half], dtype=torch.float64)
    torch.testing.assert_close(
        update.singular_values(), torch.linalg.svdvals(exact), rtol=1e-12, atol=0
    )
    assert update.norm() == pytest.approx(math.hypot(*exact.flatten().tolist()), rel=1e-12)
    assert update.dense().dtype == torch.bfloat16
    assert update.dense(torch.float64).equal(exact)
    tensors = (update.dense(), update.singular_values(), *update.svd())
    assert not any(tensor.requires_grad for tensor in tensors)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_number_anywhere_is_seen(bad: float) -> None:
    good = low_rank()
    assert good.finite
    assert DenseUpdate(good.dense()).finite
    spoiled = matrix(13, 9)
    spoiled[7, 3] = bad
    assert not DenseUpdate(spoiled).finite
    down, up = good.down.clone(), good.up.clone()
    down[2, 3] = up[7, 1] = bad
    assert not LowRank(down, good.up, 1.0).finite
    assert not LowRank(good.down, up, 1.0).finite
    assert not LowRank(good.down, good.up, bad).finite


def test_finite_numbers_whose_sum_is_not_are_finite() -> None:
    large = torch.full((4, 4), 3e38)
    assert large.sum().isinf()
    assert LowRank(large, large, 1.0).finite


def test_a_spectrum_takes_both_kinds_side_by_side() -> None:
    factored = low_rank()
    spectrum = spectrum_of({"lora": {"q": factored}, "full": {"q": DenseUpdate(factored.dense())}})
    sigma = {
        name: [row.sigma for row in spectrum.rows if row.adapter == name]
        for name in ("lora", "full")
    }
    assert sigma["full"][:4] == pytest.approx(sigma["lora"], rel=1e-11)
    assert sigma["full"][4:] == pytest.approx([0.0] * 5, abs=1e-12)
    lora, full = spectrum.summary().to_dict("records")
    assert full["effective_rank"] == pytest.approx(lora["effective_rank"])
    assert (lora["rank"], full["rank"]) == (4, 9)


def test_a_dense_update_that_is_not_finite_has_no_spectrum() -> None:
    broken = DenseUpdate(torch.full((3, 2), math.inf))
    with pytest.raises(AdapterError, match=r"not finite \(bad: q\)"):
        spectrum_of({"bad": {"q": broken}})


def test_only_a_matrix_is_an_update_and_it_stays_the_one_given() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 2, 2\)"):
        DenseUpdate(torch.zeros(3, 2, 2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        DenseUpdate(torch.zeros(2, 2)).delta = torch.ones(2, 2)  # type: ignore[misc]
