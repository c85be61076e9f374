"""Combinations against float64 sums, a loop entry by entry, and the laws they must obey."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lora_magic.lowrank.combine import dare, magnitude, ties, weighted_sum
from lora_magic.lowrank.dense import DenseUpdate, Update
from lora_magic.lowrank.factors import LowRank

DOUBLE = torch.float64
D, K = 11, 8
WEIGHTS = (0.7, -0.4, 1.3)

Parts = list[tuple[float, Update]]


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def low_rank(rank: int, scale: float, seed: int, dtype: torch.dtype = DOUBLE) -> LowRank:
    down, up = random(rank, K, seed=seed), random(D, rank, seed=seed + 1)
    return LowRank(down.to(dtype), up.to(dtype), scale)


def factored(dtype: torch.dtype = DOUBLE) -> Parts:
    """Three updates of different ranks, scales and weights, one of them negative."""
    ranks, scales = (2, 5, 1), (2.0, 0.3, -1.5)
    return [
        (weight, low_rank(rank, scale, 10 * rank, dtype))
        for weight, rank, scale in zip(WEIGHTS, ranks, scales, strict=True)
    ]


def mixed() -> Parts:
    return [*factored(), (0.9, DenseUpdate(random(D, K, seed=77)))]


def exact(update: Update) -> Tensor:
    """ΔW in float64, by another road than the class: a sum of outer products."""
    if isinstance(update, DenseUpdate):
        return update.delta.double()
    return update.scale * torch.einsum("dr,rk->dk", update.up.double(), update.down.double())


def total(parts: Parts) -> Tensor:
    return torch.stack([weight * exact(update) for weight, update in parts]).sum(dim=0)


def close(found: Tensor, expected: Tensor, share: float = 1e-12) -> None:
    """Near in the norm of the whole, so that entries that cancel ask for nothing unfair."""
    assert float((found.double() - expected).norm()) <= share * float(expected.norm())


def test_the_sum_of_factors_is_the_sum_of_the_updates_and_stays_factored() -> None:
    parts = factored()
    found = weighted_sum(parts)
    assert isinstance(found, LowRank)
    assert (found.rank, found.scale, found.shape) == (2 + 5 + 1, 1.0, (D, K))
    close(found.dense(), total(parts))


def test_a_sum_of_the_factors_would_be_another_matrix() -> None:
    # The trap that `weighted_sum` is there for, and the proof that the test above can see it.
    first, second = low_rank(3, 1.0, 1), low_rank(3, 1.0, 5)
    wrong = (0.5 * first.up + 0.5 * second.up) @ (first.down + second.down)
    right = total([(0.5, first), (0.5, second)])
    assert float((wrong - right).norm()) > 0.1 * float(right.norm())


def test_a_dense_update_makes_the_sum_dense_and_equal() -> None:
    parts = mixed()
    for order in (parts, parts[::-1]):
        found = weighted_sum(order)
        assert isinstance(found, DenseUpdate)
        close(found.delta, total(parts))


def test_sums_are_linear_and_an_update_less_itself_is_nothing() -> None:
    parts = mixed()
    doubled = weighted_sum([(2 * weight, update) for weight, update in parts])
    close(doubled.dense(), 2 * total(parts))
    nested = weighted_sum([(2.0, weighted_sum(parts[:2])), (1.0, weighted_sum(parts[2:]))])
    close(nested.dense(), 2 * total(parts[:2]) + total(parts[2:]))
    for _, update in parts:
        gone = weighted_sum([(0.8, update), (-0.8, update)])
        assert gone.norm() <= 1e-14 * update.norm()


def test_half_precision_is_summed_in_fp32() -> None:
    parts = factored(torch.bfloat16)
    found = weighted_sum(parts)
    assert isinstance(found, LowRank)
    assert found.up.dtype == found.down.dtype == torch.float32
    # bf16 would be off by 2^-9 = 2e-3.
    close(found.dense(DOUBLE), total(parts), 1e-6)
    for sparse in (ties(parts, 0.5), dare(parts, 0.5, 0), magnitude(parts, 0.5)):
        assert sparse.delta.dtype == torch.float32


def kept_by_hand(delta: Tensor, density: float) -> list[list[float]]:
    """The largest share of entries by sorting all, 0 elsewhere; no two are of one magnitude."""
    entries = [(abs(value), i) for i, value in enumerate(delta.flatten().tolist())]
    best = sorted(entries, reverse=True)[: round(density * len(entries))]
    held = {i for _, i in best}
    rows = delta.tolist()
    return [
        [value if row * K + column in held else 0.0 for column, value in enumerate(values)]
        for row, values in enumerate(rows)
    ]


def ties_by_hand(parts: Parts, density: float) -> Tensor:
    """Yadav et al. 2023, entry by entry: trim, elect, average those that agree."""
    trimmed = [(weight, kept_by_hand(exact(update), density)) for weight, update in parts]
    out = torch.zeros(D, K, dtype=DOUBLE)
    for row in range(D):
        for column in range(K):
            votes = [weight * rows[row][column] for weight, rows in trimmed]
            elected = math.fsum(votes)
            agreeing = [vote for vote in votes if vote * elected > 0]
            if agreeing:
                out[row, column] = math.fsum(agreeing) / len(agreeing)
    return out


@pytest.mark.parametrize("density", [0.1, 0.5, 0.75, 1.0])
def test_ties_is_what_a_loop_over_the_entries_gives(density: float) -> None:
    for parts in (factored(), mixed()):
        found = ties(parts, density)
        assert isinstance(found, DenseUpdate)
        expected = ties_by_hand(parts, density)
        assert found.delta.ne(0).equal(expected.ne(0))
        close(found.delta, expected)


@pytest.mark.parametrize("density", [0.25, 0.5])
def test_ties_with_equal_weights_is_pefts(density: float) -> None:
    from peft.utils.merge_utils import ties as by_peft

    deltas = [random(D, K, seed=seed) for seed in (1, 2, 3)]
    for weight in (1.0, 0.6):
        expected = by_peft(deltas, torch.full((3,), weight, dtype=DOUBLE), density)
        close(ties([(weight, DenseUpdate(delta)) for delta in deltas], density).delta, expected)


def test_the_weights_vote_on_the_sign_in_ties() -> None:
    def one(first: float, second: float) -> float:
        parts: Parts = [
            (first, DenseUpdate(torch.tensor([[2.0]]))),
            (second, DenseUpdate(torch.tensor([[-3.0]]))),
        ]
        return float(ties(parts, 1.0).delta)

    assert one(1.0, 1.0) == -3.0
    assert one(2.0, 1.0) == 4.0
    assert one(1.0, -1.0) == 2.5  # both up now: the mean of 2 and 3
    assert one(1.0, 0.0) == 2.0
    assert one(3.0, 2.0) == 0.0  # 6 against 6: nobody is elected


@pytest.mark.parametrize("density", [0.3, 1.0])
def test_the_laws_of_ties(density: float) -> None:
    parts = factored()
    found = ties(parts, density).delta
    close(ties(parts[::-1], density).delta, found)
    close(ties([(-2 * weight, update) for weight, update in parts], density).delta, -2 * found)
    absent: Parts = [*parts, (0.0, DenseUpdate(random(D, K, seed=5)))]
    close(ties(absent, density).delta, found)
    (_, update), *_ = parts
    alone = torch.tensor(kept_by_hand(exact(update), density), dtype=DOUBLE)
    close(ties([(1.0, update), (1.0, update)], density).delta, alone)


@pytest.mark.parametrize("density", [0.01, 0.1, 0.5, 1.0])
def test_magnitude_sums_the_largest_entries_of_each(density: float) -> None:
    for parts in (factored(), mixed()):
        trimmed = [
            weight * torch.tensor(kept_by_hand(exact(update), density), dtype=DOUBLE)
            for weight, update in parts
        ]
        close(magnitude(parts, density).delta, torch.stack(trimmed).sum(dim=0))


def test_at_least_one_entry_stays_and_equal_ones_stay_together() -> None:
    delta = DenseUpdate(random(D, K, seed=1))
    alone = magnitude([(1.0, delta)], 1e-9).delta
    assert alone.count_nonzero() == 1
    assert alone.abs().max() == delta.delta.abs().max()
    signs = DenseUpdate(torch.tensor([[1.0, -1.0], [1.0, 0.5]]))
    assert magnitude([(1.0, signs)], 0.25).delta.tolist() == [[1.0, -1.0], [1.0, 0.0]]


@pytest.mark.parametrize("density", [0.2, 0.5, 0.9])
def test_the_mean_of_dare_over_seeds_approaches_the_sum(density: float) -> None:
    parts, seeds = mixed(), 2000
    drawn = torch.stack([dare(parts, density, seed).delta for seed in range(seeds)])
    off = drawn.mean(dim=0) - total(parts)

    # Each entry is a sum of independent w·ΔW·m/p, each within a range of |w·ΔW|/p. Hoeffding: its
    # mean over S draws is off by more than t with a chance of at most 2·exp(−2·S·t²/Σ ranges²),
    # here one in a million for all entries together.
    squares = torch.stack([(weight * exact(update)) ** 2 for weight, update in parts])
    ranges = squares.sum(dim=0) / density**2
    bound = (ranges * math.log(2 * D * K / 1e-6) / (2 * seeds)).sqrt()
    assert bool((off.abs() <= bound).all())

    # The variance of an entry of one draw is (1 − p)/p · Σ(w·ΔW)². ‖off‖² expects the sum of these
    # over S; over 88 entries its spread is near √(2/88) = 15 % and more where few entries lead.
    expected = (1 - density) / density * float(squares.sum()) / seeds
    assert 0.3 * expected < float(off.square().sum()) < 2 * expected


def test_an_entry_of_dare_is_dropped_or_rescaled() -> None:
    delta = random(200, 100, seed=1)
    found = dare([(-0.5, DenseUpdate(delta))], 0.3, seed=4).delta
    kept = found != 0
    torch.testing.assert_close(found[kept], -0.5 * delta[kept] / 0.3, rtol=1e-12, atol=0)
    # Binomial over 20,000 entries: five standard deviations are 5·√(0.3·0.7/20,000) = 0.016.
    assert float(kept.double().mean()) == pytest.approx(0.3, abs=0.017)


def test_two_updates_are_dropped_independently_in_dare() -> None:
    ones = DenseUpdate(torch.ones(200, 100, dtype=DOUBLE))
    both = dare([(1.0, ones), (1.0, ones)], 0.5, seed=0).delta
    # Entries 0, 2 and 4 for none, one and both kept: 1/4, 1/2, 1/4. One mask for all gives no 2.
    shares = [float((both == value).double().mean()) for value in (0, 2, 4)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.018)  # five deviations of the middle


def test_dare_keeps_all_at_density_one_and_obeys_its_seed_alone() -> None:
    parts = mixed()
    close(dare(parts, 1.0, 3).delta, total(parts))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = dare(parts, 0.5, 3).delta
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(dare(parts, 0.5, 3).delta, first)
    assert not torch.equal(dare(parts, 0.5, 4).delta, first)


SPARSE: dict[str, Callable[[Parts, float], Update]] = {
    "ties": ties,
    "dare": lambda parts, density: dare(parts, density, 0),
    "magnitude": magnitude,
}
EVERY: dict[str, Callable[[Parts, float], Update]] = {
    **SPARSE,
    "weighted_sum": lambda parts, density: weighted_sum(parts),
}


@pytest.mark.parametrize("name", EVERY)
def test_the_updates_given_are_not_written_to(name: str) -> None:
    delta = random(D, K, seed=1)
    before = delta.clone()
    found = EVERY[name]([(1.0, DenseUpdate(delta)), (1.0, DenseUpdate(delta))], 1.0)
    found.dense().zero_()
    assert torch.equal(delta, before)


@pytest.mark.parametrize("name", EVERY)
def test_parameters_give_a_result_without_a_graph(name: str) -> None:
    low = low_rank(2, 1.0, 1)
    trained = LowRank(torch.nn.Parameter(low.down), torch.nn.Parameter(low.up), 1.0)
    full = DenseUpdate(torch.nn.Parameter(random(D, K, seed=2)))
    both: Parts = [(1.0, trained), (1.0, full)]
    for parts in (both[:1], both):
        found = EVERY[name](parts, 0.5)
        kept = (found.up, found.down) if isinstance(found, LowRank) else (found.delta,)
        assert not any(tensor.requires_grad for tensor in kept)


@pytest.mark.parametrize("name", EVERY)
def test_an_untrained_update_gives_zeros_not_nan(name: str) -> None:
    parts: Parts = [(1.0, LowRank(torch.ones(2, K), torch.zeros(D, 2), 1.0))]
    assert EVERY[name](parts, 0.5).dense().eq(0).all()


@pytest.mark.parametrize("name", EVERY)
def test_parts_that_do_not_fit_or_are_no_numbers_are_refused(name: str) -> None:
    combine, good = EVERY[name], low_rank(2, 1.0, 1)
    with pytest.raises(ValueError, match="0 updates"):
        combine([], 0.5)
    with pytest.raises(ValueError, match=r"\(3, 8\), \(11, 8\)"):
        combine([(1.0, good), (1.0, DenseUpdate(torch.zeros(3, K)))], 0.5)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="expected numbers"):
            combine([(bad, good)], 0.5)
        with pytest.raises(ValueError, match="expected numbers"):
            combine([(1.0, good), (1.0, DenseUpdate(torch.full((D, K), bad)))], 0.5)


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("density", [0.0, -0.1, 1.1, math.nan])
def test_densities_that_are_no_share_are_refused(name: str, density: float) -> None:
    with pytest.raises(ValueError, match=f"density {density}: expected a share"):
        SPARSE[name](factored(), density)
