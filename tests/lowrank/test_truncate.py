"""Eckart and Young are the judge: no matrix of that rank is nearer, and the distance is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lora_magic.lowrank.approximation import (
    truncated,
    truncated_and_sigma,
    truncation_error,
)
from lora_magic.lowrank.dense import DenseUpdate, Update
from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.spectrum import energy_rank

DOUBLE = torch.float64


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def both_kinds(d: int = 13, k: int = 9, r: int = 6, scale: float = -0.7) -> list[Update]:
    down, up = random(r, k, seed=1), random(d, r, seed=2)
    return [LowRank(down, up, scale), DenseUpdate(random(d, k, seed=3))]


def with_spectrum(sigma: list[float], d: int = 12, k: int = 10) -> list[Update]:
    """Both kinds of an update built from its singular values."""
    left = torch.linalg.qr(random(d, len(sigma), seed=4)).Q
    right = torch.linalg.qr(random(k, len(sigma), seed=5)).Q
    up = left * torch.tensor(sigma, dtype=DOUBLE)
    return [LowRank(right.mT / 2, up, 2.0), DenseUpdate(up @ right.mT)]


def full(update: Update) -> Tensor:
    return update.dense(DOUBLE)


def error(update: Update, rank: int) -> float:
    return truncation_error(update.singular_values().tolist(), rank)


def rank_for(update: Update, energy: float) -> int:
    return energy_rank(update.singular_values().tolist(), energy)


@pytest.mark.parametrize(("d", "k"), [(13, 9), (9, 13), (6, 6)])
@pytest.mark.parametrize("rank", [1, 2, 5])
def test_it_is_the_dense_decomposition_cut_at_that_rank(d: int, k: int, rank: int) -> None:
    for update in both_kinds(d, k):
        cut = truncated(update, rank)
        u, sigma, vh = torch.linalg.svd(full(update), full_matrices=False)
        expected = u[:, :rank] @ torch.diag(sigma[:rank]) @ vh[:rank]
        assert (cut.shape, cut.rank, cut.scale) == ((d, k), rank, 1.0)
        torch.testing.assert_close(full(cut), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3])
def test_no_other_matrix_of_that_rank_is_nearer(rank: int) -> None:
    for update in both_kinds():
        target, cut = full(update), truncated(update, rank)
        distance = float((target - full(cut)).norm())
        for seed in range(100, 150):
            # Far ones, and near ones: the best answer nudged, so that a poor cut would be beaten.
            step = 10.0 ** -(seed % 5)
            up = cut.up + step * random(13, rank, seed=seed)
            down = cut.down + step * random(rank, 9, seed=seed + 50)
            assert float((target - up @ down).norm()) >= distance - 1e-12
            # The best `down` for a random `up` is least squares: harder to beat than chance.
            fitted = torch.linalg.lstsq(up, target).solution
            assert float((target - up @ fitted).norm()) >= distance - 1e-12


@pytest.mark.parametrize("rank", [0, 1, 3, 5])
def test_what_is_lost_is_the_distance_to_the_best_one(rank: int) -> None:
    for update in both_kinds():
        target = full(update)
        best = full(truncated(update, rank)) if rank else torch.zeros_like(target)
        measured = float((target - best).norm() / target.norm())
        assert error(update, rank) == pytest.approx(measured, rel=1e-10)


def test_the_factors_share_each_singular_value_evenly() -> None:
    for update in with_spectrum([9.0, 4.0, 1.0]):
        cut = truncated(update, 2)
        expected = torch.diag(torch.tensor([9.0, 4.0], dtype=DOUBLE))
        torch.testing.assert_close(cut.up.mT @ cut.up, expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(cut.down @ cut.down.mT, expected, rtol=0, atol=1e-12)


def test_a_rank_beyond_the_update_gives_the_update_itself() -> None:
    for update, width in zip(both_kinds(), (6, 9), strict=True):
        cut = truncated(update, 50)
        assert cut.rank == width
        torch.testing.assert_close(full(cut), full(update), rtol=1e-11, atol=1e-12)
        assert error(update, 50) == 0.0


def test_the_singular_values_beside_a_cut_are_those_of_the_dense_matrix() -> None:
    for update in both_kinds():
        for svd in (None, update.svd()):
            _, sigma = truncated_and_sigma(update, 2, svd)
            expected = torch.linalg.svdvals(full(update))[: len(sigma)]
            torch.testing.assert_close(sigma, expected, rtol=1e-11, atol=1e-12)


def test_cutting_twice_is_cutting_once() -> None:
    for update in both_kinds():
        twice, once = truncated(truncated(update, 4), 2), truncated(update, 2)
        torch.testing.assert_close(full(twice), full(once), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "of_factors", "of_dense"),
    [
        (torch.bfloat16, torch.bfloat16, torch.float32),
        (torch.float32, torch.float32, torch.float32),
        (DOUBLE, DOUBLE, DOUBLE),
    ],
)
def test_factors_keep_their_dtype_and_a_dense_update_gets_fp32_at_least(
    given: torch.dtype, of_factors: torch.dtype, of_dense: torch.dtype
) -> None:
    low = LowRank(
        torch.nn.Parameter(random(4, 9, seed=1).to(given)), random(13, 4, seed=2).to(given), 1.0
    )
    for update, dtype in ((low, of_factors), (DenseUpdate(low.dense()), of_dense)):
        cut = truncated(update, 2)
        assert cut.up.dtype == cut.down.dtype == dtype
        assert not cut.down.requires_grad


def test_the_rank_for_a_share_of_the_energy_is_the_smallest_that_holds_it() -> None:
    # Energies 16, 4, 4, 1 of 25: the sums are 64 %, 80 %, 96 % and all.
    for update in with_spectrum([4.0, 2.0, 2.0, 1.0]):
        shares = (0.01, 0.63, 0.65, 0.79, 0.81, 0.95, 0.97, 1.0)
        assert [rank_for(update, share) for share in shares] == [1, 1, 2, 2, 3, 3, 4, 4]
        assert [error(update, rank) for rank in range(5)] == pytest.approx(
            [1.0, 0.6, math.sqrt(0.2), 0.2, 0.0], abs=1e-7
        )


@pytest.mark.parametrize("energy", [0.2, 0.5, 0.9, 0.99])
def test_rank_and_loss_agree(energy: float) -> None:
    for update in both_kinds():
        rank = rank_for(update, energy)
        assert 1 - error(update, rank) ** 2 >= energy - 1e-12
        assert 1 - error(update, rank - 1) ** 2 < energy


def test_values_whose_squares_underflow_still_have_a_loss() -> None:
    assert truncation_error([4e-200, 3e-200], 1) == pytest.approx(0.6)
    assert truncation_error([4e200, 3e200], 1) == pytest.approx(0.6)


def test_an_untrained_update_needs_no_rank_and_loses_nothing() -> None:
    nothing: list[Update] = [
        LowRank(torch.ones(4, 9), torch.zeros(13, 4), 2.0),
        DenseUpdate(torch.zeros(13, 9)),
    ]
    for update in nothing:
        assert rank_for(update, 0.9) == 0
        assert [error(update, rank) for rank in (0, 1)] == [0.0, 0.0]
        cut = truncated(update, 1)
        assert cut.finite
        assert not cut.dense().count_nonzero()


def test_ranks_that_mean_nothing_are_refused() -> None:
    for update in both_kinds():
        for rank in (0, -1):
            with pytest.raises(ValueError, match=f"rank {rank}: expected 1 or more"):
                truncated(update, rank)
        with pytest.raises(ValueError, match="rank -1: expected 0 or more"):
            error(update, -1)
