"""Base and adapters measured on the same rows: a frozen record that displays itself.

Knows names, texts and numbers; knows no model and no session.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lora_magic import numbers
from lora_magic.frames import frame
from lora_magic.printable import one_line

if TYPE_CHECKING:
    from pandas import DataFrame

    from .bootstrap import Estimates

BASE = "base"

LOSS, PERPLEXITY, ACCURACY = "loss", "perplexity", "accuracy"
EXACT, ROUGE, LENGTH, REPETITION = "exact_match", "rouge_l", "length", "repetition"

#: A difference is more than noise if its p, adjusted by Holm over a metric's pairs, is below this.
ALPHA = 0.05

#: Metrics of which a lower value is better, of which neither is, and which are shares.
_LOWER, _NEITHER = (LOSS, PERPLEXITY), (LENGTH, REPETITION)
_SHARES = (EXACT, ACCURACY, REPETITION)

_NAMES = {EXACT: "exact match", ROUGE: "ROUGE-L"}

COLUMNS = ("adapter", "row", "prompt", "answer", "reference", "metric", "value")


@dataclass(frozen=True)
class EvaluatedRow:
    """One row: its number, what it says, and for each adapter its answer and values.

    `values` are by metric, each with a value for every adapter. `tokens` are those that the loss
    covers, by adapter: prompt forms may differ in their end tokens.
    """

    number: int
    key: str
    prompt: str
    reference: str | None
    answers: tuple[str | None, ...]
    values: Mapping[str, tuple[float, ...]]
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Mean:
    """A metric's mean over the rows that have it, with its 95 % interval.

    The loss is the sum over all rows' tokens, divided by their number; the perplexity is its
    exponential.
    """

    adapter: str
    metric: str
    value: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True)
class Pair:
    """Two adapters (or the base) on the same rows: `difference` is second − first.

    `low` and `high` are its 95 % interval, `p` the two-sided probability of such a difference by
    chance, and `holm` that p adjusted over all pairs of the metric.
    """

    metric: str
    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    holm: float

    @property
    def real(self) -> bool:
        """Is the difference more than noise?"""
        return self.holm < ALPHA


@dataclass(frozen=True)
class Evaluation:
    """Base and adapters on the same rows; `adapters` has the base first.

    `labels` are a classifier's. `data_hash` identifies the rows. `stopped` says that the user ended
    it: the rows that were measured are here, and nothing was recorded on the adapters. `left_out`
    are attached adapters that were not named and not trained; `notes` say what a reader should
    know. `seconds` is wall time.
    """

    adapters: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[EvaluatedRow, ...]
    means: tuple[Mean, ...]
    pairs: tuple[Pair, ...]
    data_hash: str
    seconds: float
    labels: tuple[str, ...] = ()
    stopped: bool = False
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, adapters: Sequence[str], rows: Sequence[EvaluatedRow], **more: Any) -> Evaluation:
        """With the means, intervals and pairs of these rows' values.

        They depend neither on the order of the rows, nor on that of the adapters.
        """
        metrics = tuple(dict.fromkeys(metric for row in rows for metric in row.values))
        means, pairs = _estimated(adapters, metrics, rows)
        return cls(tuple(adapters), metrics, tuple(rows), tuple(means), tuple(pairs), **more)

    @property
    def primary(self) -> str:
        """The metric that orders adapters and rows: accuracy, the loss, or a person's own."""
        own = (metric for metric in self.metrics if is_quality(metric))
        found = (one for one in (ACCURACY, LOSS, *own) if one in self.metrics)
        return next(found, self.metrics[0])

    def mean(self, adapter: str, metric: str) -> Mean | None:
        """One adapter's mean, or None if no row has that metric."""
        found = (one for one in self.means if (one.adapter, one.metric) == (adapter, metric))
        return next(found, None)

    def pair(self, metric: str, one: str, other: str) -> Pair | None:
        """The comparison of two adapters, in either order."""
        found = (
            p for p in self.pairs if p.metric == metric and {one, other} == {p.first, p.second}
        )
        return next(found, None)

    def ranked(self, metric: str) -> list[Mean]:
        """The means of a metric, the best first; equal ones by name."""
        sign = 1 if lower_is_better(metric) else -1
        means = [one for one in self.means if one.metric == metric]
        return sorted(means, key=lambda one: (sign * one.value, one.adapter))

    def leaders(self, metric: str) -> tuple[str, ...]:
        """Who has the best value of a metric: several if it is equal, none if all have it, or if no
        value is better than another."""
        ranked = self.ranked(metric)
        if not is_quality(metric) or ranked[0].value == ranked[-1].value:
            return ()
        return tuple(mean.adapter for mean in ranked if mean.value == ranked[0].value)

    @property
    def best(self) -> str | None:
        """The best adapter (or base) by the primary metric; None if all are equal."""
        return next(iter(self.leaders(self.primary)), None)

    def verdict(self, metric: str | None = None) -> str:
        """In plain sentences: which one is best, by how much, and whether that is noise."""
        from .verdict import verdict

        return verdict(self, metric or self.primary)

    @property
    def line(self) -> str:
        """The verdict on the primary metric."""
        return ("stopped by you · " if self.stopped else "") + self.verdict()

    def worst(self) -> list[EvaluatedRow]:
        """The rows, those with the worst mean of the primary metric over the adapters first."""
        own = [at for at, name in enumerate(self.adapters) if name != BASE] or [0]
        sign = -1 if lower_is_better(self.primary) else 1

        def how(row: EvaluatedRow) -> tuple[float, float, int]:
            values = row.values.get(self.primary)
            mean = sign * sum(values[at] for at in own) if values else math.inf
            losses = row.values.get(LOSS)
            # Of equal ones, such as wrong labels, the one with the larger loss.
            loss = sum(losses[at] for at in own) if losses else 0.0
            return mean, -loss, row.number

        return sorted(self.rows, key=how)

    def to_frame(self) -> DataFrame:
        """Columns adapter, row, prompt, answer, reference, metric, value, a row for each value."""
        return frame(self._cells(), COLUMNS)

    def _cells(self) -> Iterator[tuple[object, ...]]:
        for row in self.rows:
            for at, adapter in enumerate(self.adapters):
                said = (adapter, row.number, row.prompt, row.answers[at], row.reference)
                for metric, values in row.values.items():
                    yield (*said, metric, values[at])

    def summary(self) -> DataFrame:
        """Columns adapter, metric, mean, low, high (its 95 % interval), rows."""
        columns = ("adapter", "metric", "mean", "low", "high", "rows")
        rows = [(m.adapter, m.metric, m.value, m.low, m.high, m.rows) for m in self.means]
        return frame(rows, columns)

    def differences(self) -> DataFrame:
        """Columns metric, first, second, difference (second − first), low, high, p, holm,
        more_than_noise."""
        columns = ("metric", "first", "second", "difference", "low", "high", "p", "holm")
        rows = [(*(getattr(pair, name) for name in columns), pair.real) for pair in self.pairs]
        return frame(rows, (*columns, "more_than_noise"))

    def confusion(self) -> DataFrame:
        """For a classifier: columns adapter, label, predicted, rows, of all pairs of labels."""
        rows = [
            (adapter, label, given, count)
            for adapter in self.adapters
            for label, counts in self.counts(adapter).items()
            for given, count in counts.items()
        ]
        return frame(rows, ("adapter", "label", "predicted", "rows"))

    def counts(self, adapter: str) -> dict[str, dict[str, int]]:
        """For a classifier: by true label, how many rows were given each label."""
        found = {label: dict.fromkeys(self.labels, 0) for label in self.labels}
        at = self.adapters.index(adapter)
        for row in self.rows:
            given = row.answers[at]
            if row.reference is not None and given is not None:
                found[row.reference][given] += 1
        return found

    def shown(self, metric: str, value: float, *, signed: bool = False) -> str:
        """A metric's value as text, with its sign if it is a difference."""
        return shown(metric, value, signed=signed)

    def named(self, metric: str) -> str:
        """A metric's name in a sentence; a person's own as it is."""
        return _NAMES.get(metric, metric)

    def __repr__(self) -> str:
        return one_line(self.line)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import evaluation as view

        return view.bundle(self)


def lower_is_better(metric: str) -> bool:
    """Is a lower value better?"""
    return metric in _LOWER


def is_quality(metric: str) -> bool:
    """Is one value better than another? A length is neither good nor bad."""
    return metric not in _NEITHER


def shown(metric: str, value: float, *, signed: bool = False) -> str:
    """A value as text, with its sign if it is a difference."""
    if not math.isfinite(value):
        return "not finite"
    if metric in _SHARES:
        text = f"{100 * abs(value):.1f}%"
    elif metric in (LOSS, ROUGE):
        text = f"{abs(value):.3f}"
    else:
        text = numbers.figures(abs(value))
    zero = not any(digit in text for digit in "123456789")
    minus = "−" if value < 0 and not zero else "+" if signed and not zero else ""
    return minus + text


def _estimated(
    adapters: Sequence[str], metrics: Sequence[str], rows: Sequence[EvaluatedRow]
) -> tuple[list[Mean], list[Pair]]:
    """Means and pairs of every metric.

    The rows are drawn in the order of their hashes, and pairs are in the order of the names, so
    neither order matters. Metrics that the same rows have share their draws.
    """
    ordered = sorted(rows, key=lambda row: row.key)
    having: dict[tuple[int, ...], list[str]] = {}
    for metric in metrics:
        able = (at for at, row in enumerate(ordered) if metric in row.values)
        having.setdefault(tuple(able), []).append(metric)
    means: dict[str, list[Mean]] = {}
    pairs: dict[str, list[Pair]] = {}
    for places, several in having.items():
        found = _drawn(several, [ordered[at] for at in places])
        for metric, one in zip(several, found, strict=True):
            means[metric] = _means(adapters, metric, one)
            pairs[metric] = _pairs(adapters, metric, one)
    if LOSS in means and ACCURACY not in means:
        means[PERPLEXITY] = [
            replace(m, metric=PERPLEXITY, value=_exp(m.value), low=_exp(m.low), high=_exp(m.high))
            for m in means[LOSS]
        ]
    order = [one for metric in metrics for one in (metric, *[PERPLEXITY] * (metric == LOSS))]
    return (
        [mean for metric in order for mean in means.get(metric, ())],
        [pair for metric in metrics for pair in pairs[metric]],
    )


def _drawn(metrics: Sequence[str], rows: Sequence[EvaluatedRow]) -> list[Estimates]:
    """Each metric's estimates, all from the same resamples."""
    import numpy as np

    from .bootstrap import estimates

    values = np.array([[row.values[metric] for metric in metrics] for row in rows], dtype=float)
    weights = np.ones_like(values)
    for at, metric in enumerate(metrics):
        if metric == LOSS:
            weights[:, at] = [row.tokens for row in rows]
    return estimates(values * weights, weights)


def _means(adapters: Sequence[str], metric: str, found: Estimates) -> list[Mean]:
    rows = len(found.rows)
    return [
        Mean(name, metric, float(found.values[at]), *found.interval(at), rows)
        for at, name in enumerate(adapters)
    ]


def _pairs(adapters: Sequence[str], metric: str, found: Estimates) -> list[Pair]:
    from .bootstrap import holm

    names = sorted(adapters, key=lambda name: (name != BASE, name))
    compared = [
        (first, second, found.difference(adapters.index(first), adapters.index(second)))
        for place, first in enumerate(names)
        for second in names[place + 1 :]
    ]
    adjusted = holm([difference.p for *_, difference in compared])
    return [
        Pair(metric, first, second, d.value, d.low, d.high, d.p, own)
        for (first, second, d), own in zip(compared, adjusted, strict=True)
    ]


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
