"""Which differences are more than noise: paired bootstrap over rows, and Holm's correction.

Knows arrays of numbers; knows no adapter, no row and no metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Resamples, the seed, and the share outside of an interval.
RESAMPLES, SEED, OUTSIDE = 10_000, 0, 0.05

#: Counts of rows that exist at once: 32 MiB.
_CHUNK = 2**22


@dataclass(frozen=True, eq=False)
class Estimates:
    """Values of several variants, one of their resamples in each row.

    `values` [variants] are Σ numerators / Σ denominators over the rows, `resampled`
    [resamples, variants] the same over rows drawn with replacement, and `rows`
    [rows, variants] the ratio of each row.
    """

    values: Array
    resampled: Array
    rows: Array

    def interval(self, variant: int) -> tuple[float, float]:
        """The percentile interval of one variant's value."""
        return _percentiles(self.resampled[:, variant])

    def difference(self, first: int, second: int) -> Difference:
        """second − first."""
        drawn = self.resampled[:, second] - self.resampled[:, first]
        differ = int((self.rows[:, second] != self.rows[:, first]).sum())
        return Difference(
            float(self.values[second] - self.values[first]),
            *_percentiles(drawn),
            _p(drawn, differ),
        )


@dataclass(frozen=True)
class Difference:
    """A difference of two values, its 95 % interval, and the two-sided p that it is 0."""

    value: float
    low: float
    high: float
    p: float


def estimates(
    numerators: Array, denominators: Array, resamples: int = RESAMPLES, seed: int = SEED
) -> list[Estimates]:
    """Paired bootstrap (Efron 1979): every metric and variant is given the same drawn rows.

    Args:
        numerators: [rows, metrics, variants], a row's part of the sum: its loss over its tokens.
        denominators: likewise, its weight: its tokens, or 1 for a mean over rows.

    The draw, of as many rows with replacement, depends on their number and the seed alone; the
    caller sorts them. Returns the estimates of each metric.
    """
    rows, metrics, variants = numerators.shape
    both = np.concatenate([numerators, denominators], axis=1).reshape(rows, -1)
    generator = np.random.default_rng(seed)
    parts = []
    step = max(1, _CHUNK // rows)
    for start in range(0, resamples, step):
        draws = min(step, resamples - start)
        drawn = generator.integers(rows, size=(draws, rows))
        drawn += np.arange(draws)[:, None] * rows
        counts = np.bincount(drawn.reshape(-1), minlength=draws * rows).reshape(draws, rows)
        parts.append(counts.astype(np.float64) @ both)
    shape = (-1, 2, metrics, variants)
    sums, whole = np.concatenate(parts).reshape(shape), both.sum(axis=0).reshape(shape)
    values, resampled = whole[0, 0] / whole[0, 1], sums[:, 0] / sums[:, 1]
    ratios = numerators / denominators
    return [Estimates(values[m], resampled[:, m], ratios[:, m]) for m in range(metrics)]


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979): max over the smaller ones of min(1, (m − i + 1)·pᵢ).

    With the threshold α they make at least one false claim with a probability of at most α.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(ps)), key=lambda at: ps[at])
    adjusted, most = [0.0] * len(ps), 0.0
    for done, at in enumerate(order):
        most = max(most, min(1.0, (len(ps) - done) * ps[at]))
        adjusted[at] = most
    return adjusted


def _percentiles(drawn: Array) -> tuple[float, float]:
    low, high = np.quantile(drawn, [OUTSIDE / 2, 1 - OUTSIDE / 2])
    return float(low), float(high)


def smallest_p(differ: int | None = None, resamples: int = RESAMPLES) -> float:
    """The smallest p that a difference can have if `differ` rows differ, None for any number.

    With few rows the resamples are too much alike: no sign test on `differ` rows has a p below
    2^(1 − differ), so none has here.
    """
    least = 2 / (resamples + 1)
    return least if differ is None else min(1.0, max(least, 2.0 ** (1 - differ)))


def _p(drawn: Array, differ: int) -> float:
    """Twice the smaller share of resamples on one side of 0, those at 0 being on both.

    That is the smallest α whose percentile interval excludes 0, but at least `smallest_p`.
    """
    sides = [int((drawn <= 0).sum()), int((drawn >= 0).sum())]
    p = 2 * (min(sides) + 1) / (len(drawn) + 1)
    return min(1.0, max(p, smallest_p(differ, len(drawn))))
