"""Which rank the evidence supports: the quantiles of the bootstrap, and each verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lora_magic.adapters.combine import Compression
from lora_magic.adapters.combine.changes import ModuleLoss
from lora_magic.evaluation.ranks import Measured, RankEvidence, RankLoss

#: Nats per row of base, whole adapter and three truncations: 1 % of the gain is 0.01.
BASE, ADAPTER = 2.0, 1.0


def measured(excesses: list[Any], rows: int = 40, base: float = BASE) -> Measured:
    """Rows of one token each; an excess is a number, or (mean, deviation) over the rows."""
    generator = np.random.default_rng(3)
    noise = generator.standard_normal(rows)
    noise -= noise.mean()
    columns = [np.full(rows, base), np.full(rows, ADAPTER)]
    for excess in excesses:
        mean, deviation = excess if isinstance(excess, tuple) else (excess, 0.0)
        columns.append(ADAPTER + mean + deviation * noise)
    nats = np.stack(columns, axis=1)
    answers = [["a", *("a" if at % 2 else "b" for _ in excesses)] for at in range(rows)]
    return Measured(nats, np.ones_like(nats), answers, rows)


def evidence(made: Measured, ranks: int, **more: Any) -> RankEvidence:
    sigma = tuple(2.0**-at for at in range(ranks))
    module = ModuleLoss("q", ranks, ranks, float(np.linalg.norm(sigma)), 0.0, sigma, 10)
    report = Compression("calm", None, (module,))
    lost = {rank: overall for rank, overall, _, _ in report.ranked()}
    losses = tuple(made.rank(at, at + 1, 10 * (at + 1), lost[at + 1]) for at in range(ranks))
    usual: dict[str, Any] = {"rows": len(made.nats), "different": made.different, "seconds": 1.0}
    both = (made.loss(0), made.loss(1), made.gain_low())
    return RankEvidence("calm", *both, losses, report, **{**usual, **more})


def test_the_bound_is_the_95_percent_quantile_of_the_paired_bootstrap() -> None:
    generator = np.random.default_rng(1)
    nats = generator.uniform(1, 30, (30, 3))
    tokens = generator.integers(1, 9, (30, 1)) * np.ones((1, 3))
    found = Measured(nats, tokens, [], 30).rank(0, 1, 10, 0.5)
    drawn = []
    for _ in range(4000):
        at = generator.integers(30, size=30)
        drawn.append((nats[at, 2].sum() - nats[at, 1].sum()) / tokens[at, 1].sum())
    wide = np.quantile(drawn, 0.95) - np.quantile(drawn, 0.05)
    assert found.high == pytest.approx(np.quantile(drawn, 0.95), abs=0.05 * wide)
    assert found.low == pytest.approx(np.quantile(drawn, 0.05), abs=0.05 * wide)
    assert found.excess == pytest.approx((nats[:, 2] - nats[:, 1]).sum() / tokens[:, 1].sum())


def test_the_smallest_rank_whose_bound_is_within_one_percent_is_named() -> None:
    found = evidence(measured([0.5, 0.0101, 0.0099, 0.0]), 4)
    assert found.rank == 3
    assert found.command == "%lora compress calm --rank 3"
    assert "rank 3 of 4 is enough for calm: it loses at most 0.990% of the gain" in found.verdict


def test_a_rank_that_may_be_enough_but_is_not_sure_needs_more_rows() -> None:
    found = evidence(measured([0.5, (0.004, 0.1), 0.0]), 3)
    assert found.rank is None
    assert found.too_few_rows
    assert "too few rows: on 40 rows no rank below 3 is sure" in found.verdict
    # The bound's distance, about 1.64·0.1/√n, must fall to 0.006: n = 751.
    assert found.rows_needed is not None
    assert 500 < found.rows_needed < 1200
    more = evidence(measured([0.5, (0.004, 0.1), 0.0], found.rows_needed), 3)
    assert more.rank == 2


def test_an_adapter_that_needs_its_rank_is_not_told_to_bring_rows() -> None:
    found = evidence(measured([0.5, (0.2, 0.01), 0.0]), 3)
    assert found.rank is None
    assert not found.too_few_rows
    assert "calm needs its rank 3: the next best, rank 2, loses 20.0% of the gain" in found.verdict


@pytest.mark.parametrize("base", [1.0, 0.5])
def test_an_adapter_that_gains_nothing_says_so(base: float) -> None:
    found = evidence(measured([0.0, 0.0], base=base), 2)
    assert found.rank is None
    assert not found.too_few_rows
    assert "calm gains nothing on these 40 rows" in found.verdict
    assert found.to_frame().share_of_gain.isna().all()


@pytest.mark.parametrize("different", [1, 4])
def test_fewer_than_five_rows_support_no_rank_however_equal_they_are(different: int) -> None:
    found = evidence(measured([0.0, 0.0], rows=different), 2)
    assert found.rank is None
    assert "too few rows" in found.verdict
    assert evidence(measured([0.0, 0.0], rows=5), 2).rank == 1


def test_repeated_rows_are_no_evidence() -> None:
    assert evidence(measured([0.0, 0.0]), 2, different=4).rank is None


def test_a_gain_that_may_be_noise_supports_no_rank() -> None:
    made = measured([0.0, 0.0], rows=8)
    made.nats[:, 0] = ADAPTER + np.array([3.0, -1, -1, -1, 1.0, -1, 1.0, 1.0])
    found = evidence(made, 2)
    assert found.gain > 0
    assert found.rank is None
    assert "the gain of calm on 8 rows may be noise" in found.verdict


def test_agreement_is_the_share_of_rows_with_the_same_answer() -> None:
    assert [one.same for one in evidence(measured([0.1, 0.0]), 2).losses] == [0.5, 0.5]
    made = measured([0.1])
    unanswered = Measured(made.nats, made.tokens, [], 40)
    assert unanswered.rank(0, 1, 10, 0.5).same is None


def test_the_full_rank_alone_is_told() -> None:
    found = evidence(measured([0.0]), 1)
    assert "calm has rank 1: there is no smaller one" in found.verdict
    assert isinstance(found.losses[0], RankLoss)
