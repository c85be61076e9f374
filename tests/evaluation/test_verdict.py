"""What an evaluation says: in which direction a difference goes, and when none can be real."""

from __future__ import annotations

import random

import pytest

from lora_magic.evaluation.evaluation import Evaluation
from tests.views.samples import evaluated


def apart(adapters: int, rows: int) -> Evaluation:
    """Each adapter is lower than the one before by about 1 on every row."""
    draw = random.Random(0)
    names = ["base", *(f"a{at:02}" for at in range(adapters))]
    return evaluated(
        {
            name: [100 - at + draw.random() / 10 for _ in range(rows)]
            for at, name in enumerate(names)
        }
    )


@pytest.mark.parametrize(("name", "best_first"), [("aa", True), ("zz", False)])
def test_a_larger_loss_is_higher_and_a_smaller_score_lower(name: str, best_first: bool) -> None:
    base = [3.0, 3.5, 2.5, 3.0, 3.5, 2.5, 4.0, 3.0]
    own = [loss - 1 - 0.1 * at for at, loss in enumerate(base)]
    middle = [loss - 0.5 for loss in base]
    found = evaluated({"base": base, name: own, "mm": middle}, metrics=("kind",))
    pair = found.pair("loss", name, "mm")
    assert pair is not None
    assert (pair.first == name) is best_first
    low, high = sorted((abs(pair.low), abs(pair.high)))
    # Means over the rows: 3.125, 1.775 and 2.625.
    assert found.verdict("loss").startswith(f"{name} has the lowest loss on 8 rows, 1.775.")
    said = f"mm: 2.625, higher by 0.850 (95 % interval {low:.3f} to {high:.3f}), more than noise."
    assert said in found.verdict("loss")
    assert "base: 3.125, higher by 1.350 (95 % interval 1." in found.verdict("loss")
    # Of a person's metric more is better.
    assert "mm: 2.62, lower by 0.500 (95 % interval 0.500 to 0.500)" in found.verdict("kind")


def test_an_interval_around_nothing_has_a_minus() -> None:
    base = [3.0 + at / 10 for at in range(10)]
    own = [loss + (0.5 if at % 2 else -0.6) for at, loss in enumerate(base)]
    said = evaluated({"base": base, "one": own}).verdict("loss")
    assert "base: 3.450, higher by 0.050 (95 % interval −0." in said
    assert said.endswith(", perhaps only noise.")


@pytest.mark.parametrize(("adapters", "needed"), [(1, 6), (2, 7), (8, 11)])
def test_too_few_rows_for_so_many_adapters_are_told(adapters: int, needed: int) -> None:
    few, enough = apart(adapters, needed - 1), apart(adapters, needed)
    assert not any(pair.real for pair in few.pairs if pair.metric == "loss")
    assert f"Fewer than {needed} rows cannot separate anything from noise" in few.line
    assert all(pair.real for pair in enough.pairs if pair.metric == "loss")
    assert "Fewer than" not in enough.line


def test_too_many_adapters_for_the_resamples_are_told() -> None:
    many = apart(23, 40)
    assert not any(pair.real for pair in many.pairs)
    assert "10,000 resamples cannot separate anything from noise when 24 are compared" in many.line
    fewer = apart(21, 40)
    assert all(pair.real for pair in fewer.pairs if pair.metric == "loss")
    assert "resamples" not in fewer.line
