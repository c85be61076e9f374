"""Intervals are those of scipy within what resampling varies; Holm's values are published ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lora_magic.evaluation.bootstrap import RESAMPLES, estimates, holm


def drawn(rows: int, seed: int = 0) -> tuple[Any, Any]:
    """Losses [rows, 1, 3] summed over tokens, and the tokens; the third is worse."""
    generator = np.random.default_rng(seed)
    tokens = generator.integers(3, 40, size=(rows, 1, 1)) * np.ones((1, 1, 3))
    mean = generator.gamma(4, 0.5, size=(rows, 1, 1)) + generator.normal(0, 0.3, size=(rows, 1, 3))
    return (mean + np.array([0, 0.03, 0.5])) * tokens, tokens


def by_scipy(sums: Any, tokens: Any, first: int, second: int) -> Any:
    def difference(a: Any, b: Any, m: Any, n: Any, axis: int) -> Any:
        return b.sum(axis) / n.sum(axis) - a.sum(axis) / m.sum(axis)

    data = (sums[:, 0, first], sums[:, 0, second], tokens[:, 0, first], tokens[:, 0, second])
    return stats.bootstrap(
        data,
        difference,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(1),
    )


@pytest.mark.parametrize("rows", [8, 60, 400])
def test_intervals_are_those_of_scipy(rows: int) -> None:
    sums, tokens = drawn(rows)
    (found,) = estimates(sums, tokens)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        expected = by_scipy(sums, tokens, first, second)
        own = found.difference(first, second)
        # The standard error of a 2.5 % quantile of 10,000 draws is below 0.04 of their deviation;
        # two such sets of draws differ by √2 of that, and five times that never happens.
        near = 0.04 * math.sqrt(2) * 5 * expected.standard_error
        assert own.low == pytest.approx(expected.confidence_interval.low, abs=near)
        assert own.high == pytest.approx(expected.confidence_interval.high, abs=near)
        assert own.low < own.value < own.high


def test_a_loss_is_weighted_by_tokens() -> None:
    sums, tokens = np.array([[[2.0]], [[30.0]]]), np.array([[[1.0]], [[10.0]]])
    (found,) = estimates(sums, tokens)
    assert found.values[0] == pytest.approx(32 / 11)
    # Of the four draws of two rows, one in four is a row twice.
    assert set(np.round(found.resampled[:, 0], 9)) == {2.0, round(32 / 11, 9), 3.0}
    assert found.interval(0) == (2.0, 3.0)


def test_the_interval_of_a_normal_mean_is_the_known_one() -> None:
    values = np.random.default_rng(3).normal(size=(2000, 1, 1))
    (found,) = estimates(values, np.ones_like(values))
    low, high = found.interval(0)
    half = 1.96 * values.std() / math.sqrt(2000)
    assert (low, high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.1 * half
    )


def test_p_is_below_alpha_where_the_interval_excludes_0() -> None:
    for seed in range(12):
        generator = np.random.default_rng(seed)
        values = generator.normal(0.25, 1, size=(60, 1, 2)) * np.array([0, 1])
        own = estimates(values, np.ones_like(values))[0].difference(0, 1)
        outside = own.low > 0 or own.high < 0
        # Within what the quantile and the count round differently.
        assert outside == (own.p < 0.05) or abs(own.p - 0.05) < 0.002


def test_p_is_that_of_the_normal_test_for_many_rows() -> None:
    values = np.random.default_rng(5).normal(0.05, 1, size=(1500, 1, 2)) * np.array([0, 1])
    own = estimates(values, np.ones_like(values))[0].difference(0, 1)
    expected = stats.ttest_1samp(values[:, 0, 1], 0).pvalue
    assert own.p == pytest.approx(expected, abs=0.01)


def test_equal_variants_do_not_differ() -> None:
    values = np.random.default_rng(0).normal(size=(30, 1, 1)) * np.ones((1, 1, 2))
    own = estimates(values, np.ones_like(values))[0].difference(0, 1)
    assert (own.value, own.low, own.high, own.p) == (0, 0, 0, 1)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5])
def test_fewer_than_six_rows_show_nothing(rows: int) -> None:
    values = np.ones((rows, 1, 2)) * np.array([0.0, 5.0]) + np.arange(rows)[:, None, None] * [
        0,
        0.1,
    ]
    assert estimates(values, np.ones_like(values))[0].difference(0, 1).p >= 0.05


def test_rows_that_do_not_differ_do_not_count_as_many() -> None:
    values = np.zeros((1000, 1, 2))
    values[:4, 0, 1] = 1  # all in one direction, and yet only four
    assert estimates(values, np.ones_like(values))[0].difference(0, 1).p >= 0.05


def test_the_other_direction_is_the_mirror_image() -> None:
    sums, tokens = drawn(50)
    (found,) = estimates(sums, tokens)
    one, other = found.difference(0, 2), found.difference(2, 0)
    assert (one.value, one.p) == (-other.value, other.p)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_a_seed_decides_the_draw_and_more_variants_do_not_change_it() -> None:
    sums, tokens = drawn(40)
    (whole,), (part,) = estimates(sums, tokens), estimates(sums[..., :2], tokens[..., :2])
    assert whole.difference(0, 1).low == pytest.approx(part.difference(0, 1).low, abs=1e-12)
    (again,), (other,) = estimates(sums, tokens), estimates(sums, tokens, seed=1)
    assert (again.resampled == whole.resampled).all()
    assert not (other.resampled == whole.resampled).all()


def test_metrics_share_their_draws() -> None:
    sums, tokens = drawn(40)
    both = estimates(np.concatenate([sums, sums], 1), np.concatenate([tokens, tokens], 1))
    assert len(both) == 2
    assert both[0].difference(0, 2) == both[1].difference(0, 2)


@pytest.mark.parametrize(
    ("ps", "adjusted"),
    [
        # By hand:
        # 4·0.005, 3·0.01, then max(0.03, 2·0.03), max(0.06, 1·0.04).
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        # By hand: 5·0.0002, 4·0.0004, 3·0.2, then at most 1.
        ([0.0002, 0.0004, 0.2, 0.6, 0.9], [0.001, 0.0016, 0.6, 1.0, 1.0]),
        ([0.5], [0.5]),
        ([], []),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.9, 0.8], [1.0, 1.0]),
    ],
)
def test_holm_steps_down(ps: list[float], adjusted: list[float]) -> None:
    assert holm(ps) == pytest.approx(adjusted)


def test_holm_keeps_the_order_and_is_never_below_its_p() -> None:
    ps = np.random.default_rng(0).uniform(size=30) ** 3
    found = holm(list(ps))
    order = np.argsort(ps)
    assert (np.diff(np.array(found)[order]) >= 0).all()
    assert all(own >= p for own, p in zip(found, ps, strict=True))
    assert max(found) <= 1
