"""What an evaluation says, in plain sentences: the best adapter, by how much, and whether that is
noise.

Knows an evaluation's means and pairs.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from lora_magic.errors import listed

from .bootstrap import RESAMPLES, smallest_p
from .evaluation import ALPHA, BASE, Mean, is_quality, lower_is_better, shown

if TYPE_CHECKING:
    from .evaluation import Evaluation


def verdict(evaluation: Evaluation, metric: str) -> str:
    """Sentences on one metric; of one for which neither direction is better, the values alone."""
    ranked = evaluation.ranked(metric)
    name = evaluation.named(metric)
    if len(ranked) == 1 or not is_quality(metric):
        values = ", ".join(f"{one.adapter} {shown(metric, one.value)}" for one in ranked)
        return f"{name} on {_rows(ranked[0].rows)}: {values}."
    best, *others = ranked
    if not evaluation.leaders(metric):
        return f"All have the same {name} on {_rows(best.rows)}, {_value(best)}."
    extreme = "lowest" if lower_is_better(metric) else "highest"
    said = [f"{best.adapter} has the {extreme} {name} on {_rows(best.rows)}, {_value(best)}."]
    if best.adapter == BASE:
        said = [
            f"No adapter is better than base: its {name} on {_rows(best.rows)} is {_value(best)}."
        ]
    noted = {BASE, others[0].adapter}
    said += [_against(evaluation, best, one) for one in others if one.adapter in noted]
    rest = [one for one in others if one.adapter not in noted]
    behind = [one.adapter for one in rest if _real(evaluation, best, one)]
    close = [one.adapter for one in rest if one.adapter not in behind]
    said += [f"More than noise behind {best.adapter}: {listed(behind)}."] if behind else []
    said += [f"Perhaps only noise behind {best.adapter}: {listed(close)}."] if close else []
    return " ".join([*said, *_limits(best.rows, len(ranked))])


def _limits(rows: int, compared: int) -> list[str]:
    """Why no difference can be more than noise, if none can: p is multiplied by the pairs."""
    pairs = compared * (compared - 1) // 2
    if pairs * smallest_p() >= ALPHA:
        return [
            f"{RESAMPLES:,} resamples cannot separate anything from noise when {compared} are "
            "compared; name fewer adapters."
        ]
    needed = next(count for count in itertools.count(1) if pairs * smallest_p(count) < ALPHA)
    if rows >= needed:
        return []
    several = f" when {compared} are compared" if compared > 2 else ""
    return [f"Fewer than {needed} rows cannot separate anything from noise{several}."]


def _against(evaluation: Evaluation, best: Mean, other: Mean) -> str:
    """Another one against the best: how much worse it is, and whether that is noise."""
    metric = best.metric
    pair = evaluation.pair(metric, best.adapter, other.adapter)
    assert pair is not None  # every two are compared
    if best.value == other.value and pair.low == pair.high == 0:
        return f"{other.adapter} has the same."
    # Of the loss the other has more, of all others less; the interval counts in that direction.
    outward = (pair.first == best.adapter) == lower_is_better(metric)
    low, high = (pair.low, pair.high) if outward else (-pair.high, -pair.low)
    how = "equal"
    if best.value != other.value:
        word = "higher" if lower_is_better(metric) else "lower"
        how = f"{word} by {shown(metric, abs(best.value - other.value))}"
    noise = "more than noise" if pair.real else "perhaps only noise"
    return (
        f"{other.adapter}: {_value(other)}, {how} (95 % interval {shown(metric, low)} to "
        f"{shown(metric, high)}), {noise}."
    )


def _real(evaluation: Evaluation, one: Mean, other: Mean) -> bool:
    pair = evaluation.pair(one.metric, one.adapter, other.adapter)
    return pair is not None and pair.real


def _value(mean: Mean) -> str:
    return shown(mean.metric, mean.value)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"
