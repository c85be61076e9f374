"""What an evaluation says, in plain sentences: the best adapter, by how much, and whether that is
noise.

Knows an evaluation's means and pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_magic.errors import listed

from .evaluation import BASE, FEW, Mean, is_quality, lower_is_better, shown

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
    said += [f"More than noise behind it: {listed(behind)}."] if behind else []
    said += [f"Perhaps only noise behind it: {listed(close)}."] if close else []
    if best.rows < FEW:
        said.append(f"Fewer than {FEW} rows cannot separate anything from noise.")
    return " ".join(said)


def _against(evaluation: Evaluation, best: Mean, other: Mean) -> str:
    """The best one against another: how much better it is, and whether that is noise."""
    metric = best.metric
    pair = evaluation.pair(metric, best.adapter, other.adapter)
    assert pair is not None  # every two are compared
    if best.value == other.value and pair.low == pair.high == 0:
        return f"{other.adapter} has the same."
    low, high = (pair.low, pair.high) if pair.second == best.adapter else (-pair.high, -pair.low)
    difference = shown(metric, best.value - other.value, signed=True)
    interval = f"{shown(metric, low, signed=True)} to {shown(metric, high, signed=True)}"
    noise = "more than noise" if pair.real else "perhaps only noise"
    return (
        f"{other.adapter}: {_value(other)}; the difference of {difference} (95 % interval "
        f"{interval}) is {noise}."
    )


def _real(evaluation: Evaluation, one: Mean, other: Mean) -> bool:
    pair = evaluation.pair(one.metric, one.adapter, other.adapter)
    return pair is not None and pair.real


def _value(mean: Mean) -> str:
    return shown(mean.metric, mean.value)


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"
