"""Overlap, amplification and angle: their laws, on dense float64 matrices."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lora_magic.lowrank.dense import DenseUpdate
from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.subspace import amplification, chance, cosine, directions, overlap

D, K = 40, 24


def a_low_rank(rank: int, seed: int, scale: float = 0.5) -> LowRank:
    drawn = torch.Generator().manual_seed(seed)
    down, up = torch.randn(rank, K, generator=drawn), torch.randn(D, rank, generator=drawn)
    return LowRank(down, up, scale)


def orthonormal(dim: int, count: int, seed: int) -> Tensor:
    drawn = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(dim, count, generator=drawn, dtype=torch.float64)).Q


def test_the_directions_rebuild_the_update_and_are_orthonormal() -> None:
    update = a_low_rank(5, seed=0)
    found = directions(update)
    rebuilt = found.outputs @ torch.diag(found.sigma) @ found.inputs.mT
    torch.testing.assert_close(rebuilt, update.dense(torch.float64), rtol=1e-10, atol=1e-12)
    for side in (found.outputs, found.inputs):
        eye = torch.eye(5, dtype=torch.float64)
        torch.testing.assert_close(side.mT @ side, eye, rtol=0, atol=1e-12)


def test_directions_that_only_rounding_gave_are_left_out() -> None:
    two = a_low_rank(2, seed=1)
    wide = LowRank(torch.cat([two.down, two.down]), torch.cat([two.up, two.up], 1), 1.0)
    assert directions(wide).count == 2
    assert directions(LowRank(two.down, torch.zeros(D, 2), 1.0)).count == 0


def test_a_subspace_overlaps_itself_fully_and_a_part_of_it_too() -> None:
    u = orthonormal(K, 6, seed=2)
    torch.testing.assert_close(
        overlap(u, u), torch.ones(6, 6, dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_orthogonal_subspaces_do_not_overlap() -> None:
    u = orthonormal(K, 8, seed=3)
    assert float(overlap(u[:, :4], u[:, 4:]).max()) < 1e-20


def test_the_overlap_is_the_formula_and_does_not_change_under_rotation() -> None:
    one, other, turn = orthonormal(K, 4, 4), orthonormal(K, 6, 5), orthonormal(K, K, 6)
    found = overlap(one, other)
    for i, j in ((1, 1), (2, 5), (4, 3), (4, 6)):
        inner = one[:, :i].mT @ other[:, :j]
        expected = float(torch.linalg.matrix_norm(inner) ** 2) / min(i, j)
        assert float(found[i - 1, j - 1]) == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(overlap(turn @ one, turn @ other), found, rtol=0, atol=1e-12)
    # A rotation inside a subspace changes which direction is first, not the whole subspace.
    inside = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    assert float(overlap(one @ inside, other)[-1, -1]) == pytest.approx(float(found[-1, -1]))


def test_random_subspaces_overlap_as_chance_says() -> None:
    draws = [overlap(orthonormal(K, 3, 2 * s), orthonormal(K, 7, 2 * s + 1)) for s in range(400)]
    mean = torch.stack(draws).mean(0)
    expected = chance(3, 7, K)
    assert float(expected[2, 6]) == pytest.approx(7 / K)
    assert float(expected[0, 0]) == pytest.approx(1 / K)
    torch.testing.assert_close(mean, expected, rtol=0.15, atol=0.004)


def test_directions_of_two_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="24 and 40"):
        overlap(orthonormal(K, 2, 0), orthonormal(D, 2, 0))


def test_the_cosine_of_updates_is_that_of_their_matrices() -> None:
    one, other = a_low_rank(3, seed=7), a_low_rank(5, seed=8, scale=-2.0)
    a, b = one.dense(torch.float64), other.dense(torch.float64)
    expected = float((a * b).sum() / (a.norm() * b.norm()))
    assert cosine(one, other) == pytest.approx(expected, abs=1e-12)
    assert cosine(one, DenseUpdate(b)) == pytest.approx(expected, abs=1e-12)
    assert cosine(one, one) == pytest.approx(1.0)
    assert cosine(one, LowRank(one.down, one.up, -3.0)) == pytest.approx(-1.0)
    assert cosine(one, LowRank(one.down, torch.zeros_like(one.up), 1.0)) is None


def test_amplification_is_what_the_projections_of_dense_matrices_say() -> None:
    weight = torch.randn(D, K, generator=torch.Generator().manual_seed(9))
    update = a_low_rank(6, seed=10)
    own = torch.linalg.svdvals(weight.double())
    found = amplification(weight, own, directions(update), 4)
    assert found is not None
    u, sigma, vh = torch.linalg.svd(update.dense(torch.float64))
    inside = u[:, :4].mT @ weight.double() @ vh[:4].mT
    assert found.rank == 4
    assert found.in_change == pytest.approx(float(inside.norm()), rel=1e-9)
    assert found.in_own == pytest.approx(float(own[:4].norm()), rel=1e-9)
    assert found.change == pytest.approx(float(sigma.norm()), rel=1e-9)
    assert found.factor == pytest.approx(found.change / found.in_change)


def test_random_directions_hold_what_the_amplification_says() -> None:
    weight = torch.randn(D, K, generator=torch.Generator().manual_seed(11)).double()
    found = amplification(
        weight, torch.linalg.svdvals(weight), directions(a_low_rank(4, seed=12)), 4
    )
    assert found is not None
    drawn = [
        (orthonormal(D, 4, s).mT @ weight @ orthonormal(K, 4, 1000 + s)).norm() ** 2
        for s in range(400)
    ]
    mean = math.sqrt(float(torch.stack(drawn).mean()))
    assert found.in_random == pytest.approx(mean, rel=0.05)


def test_the_random_row_of_table_7_follows_from_its_norm() -> None:
    # Wq of layer 48 of GPT-3 175B: ‖W‖ = 61.95 and 12,288 × 12,288 entries; 0.02 and 0.33 printed.
    for rank, printed in ((4, 0.02), (64, 0.33)):
        assert rank * 61.95 / 12288 == pytest.approx(printed, abs=0.01)


def test_an_update_of_zero_amplifies_nothing() -> None:
    weight = torch.eye(D, K)
    zero = LowRank(torch.randn(2, K), torch.zeros(D, 2), 1.0)
    assert amplification(weight, torch.ones(K), directions(zero), 2) is None


@pytest.mark.parametrize(("rank", "count"), [(0, K), (3, 1)])
def test_an_impossible_amplification_is_refused(rank: int, count: int) -> None:
    with pytest.raises(ValueError, match="expected a rank from 1"):
        amplification(torch.eye(D, K), torch.ones(count), directions(a_low_rank(4, seed=0)), rank)


def test_the_cosine_of_an_update_and_itself_is_within_its_range() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        down, up = (torch.randn(shape, generator=generator) for shape in ((3, 7), (5, 3)))
        one, other = LowRank(down, up, 0.3), LowRank(down, up, -2.0)
        same, opposite = cosine(one, one), cosine(one, other)
        assert same is not None
        assert opposite is not None
        assert same == pytest.approx(1)
        assert same <= 1
        assert opposite == pytest.approx(-1)
        assert opposite >= -1
