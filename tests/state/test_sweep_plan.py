"""The plan of a sweep: its grid, the rule of halving against tables by hand, and its statistics."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest

from lora_magic.errors import CommandError
from lora_magic.state import sweep_plan
from lora_magic.state.sweep_plan import Rung


@pytest.mark.parametrize(
    ("settings", "steps", "expected"),
    [
        # ⌊log₃ 12⌋ = 2 halvings: 90/9, 90/3, 90; ⌊12/3⌋ = 4, then 1.
        (12, 90, [(10, 4), (30, 1), (90, 1)]),
        # ⌊log₃ 6⌋ = 1, and two settings run to the end.
        (6, 90, [(30, 2), (90, 1)]),
        # Exact powers: 27 → 9 → 3 → 1.
        (27, 270, [(10, 9), (30, 3), (90, 1), (270, 1)]),
        # A part of a step is a whole one: 100/9 = 11.1 and 100/3 = 33.3.
        (9, 100, [(12, 3), (34, 1), (100, 1)]),
        # With fewer than three settings nothing can be dropped.
        (2, 90, [(90, 1)]),
        (1, 90, [(90, 1)]),
        # 20/9 and 20/3 steps: the first rung has at least 4.
        (9, 20, [(4, 3), (7, 1), (20, 1)]),
        # 9/9 and 9/3 are both 4 then, so they are one rung, which keeps what the second would.
        (9, 9, [(4, 1), (9, 1)]),
        (9, 3, [(3, 1)]),
    ],
)
def test_the_rungs_are_those_of_a_table_by_hand(
    settings: int, steps: int, expected: list[tuple[int, int]]
) -> None:
    assert sweep_plan.rungs(settings, steps) == tuple(Rung(*one) for one in expected)


def test_without_halving_every_setting_is_trained_to_its_end() -> None:
    assert sweep_plan.rungs(12, 90, halving=False) == (Rung(90, 4),)


def test_rungs_end_where_the_run_is_measured_anyway() -> None:
    tenths = [9, 18, 27, 36, 45, 54, 63, 72, 81, 90]
    assert sweep_plan.rungs(12, 90, tenths) == (Rung(9, 4), Rung(27, 1), Rung(90, 1))


def test_a_sweep_of_twelve_takes_less_than_four_times_its_longest_run() -> None:
    plan = sweep_plan.rungs(12, 90)
    # 12·10, then 4·20 more; the last one's 60 only on request.
    assert sweep_plan.cost(plan, 12) == 120 + 80
    assert sweep_plan.cost(plan, 12) + 60 < 4 * 90


def test_settings_are_ordered_by_their_mean_and_an_unstable_one_is_last() -> None:
    losses: dict[int, list[float | None]]
    losses = {1: [2.0, 1.0], 2: [1.4, 1.4], 3: [0.1, None], 4: [1.0, math.nan], 5: [1.4, 1.4]}
    assert sweep_plan.order(losses) == [2, 5, 1, 3, 4]


@pytest.mark.parametrize(
    ("values", "half"),
    [
        # t(1) = 12.706, s = √0.5; t(2) = 4.303, s = 1; t(11) = 2.201.
        ([1.0, 2.0], 12.706 * math.sqrt(0.5) / math.sqrt(2)),
        ([1.0, 2.0, 3.0], 4.303 / math.sqrt(3)),
        ([0.0, 1.0] * 6, 2.201 * math.sqrt(3 / 11) / math.sqrt(12)),
    ],
)
def test_the_interval_is_students(values: list[float], half: float) -> None:
    found = sweep_plan.interval(values)
    assert found is not None
    mean = sum(values) / len(values)
    assert found == pytest.approx((mean - half, mean + half), rel=1e-3)


def test_one_value_has_no_interval() -> None:
    assert sweep_plan.interval([1.0]) is None


def test_the_interval_holds_the_mean_in_95_of_100_draws() -> None:
    draw = random.Random(0)
    hits = 0
    for _ in range(2000):
        low, high = sweep_plan.interval([draw.gauss(5, 2) for _ in range(3)]) or (0, 0)
        hits += low <= 5 <= high
    # Two thousand draws of probability 0.95 deviate by 0.005.
    assert hits / 2000 == pytest.approx(0.95, abs=0.02)


def test_the_front_has_the_points_that_none_beats() -> None:
    points = [(1, 5), (2, 3), (2, 4), (3, 3), (4, 1), (4, 1)]
    assert list(sweep_plan.pareto(points)) == [0, 1, 4, 5]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("attention,all-linear", ["attention", "all-linear"]),
        ("q_proj,v_proj", ["q_proj,v_proj"]),
        ("re:.*(q,v)", ["re:.*(q,v)"]),
        (["q_proj,v_proj", "all-linear"], ["q_proj,v_proj", "all-linear"]),
        ([["q_proj", "v_proj"], "attention"], [["q_proj", "v_proj"], "attention"]),
    ],
)
def test_keywords_are_choices_and_names_with_commas_are_one(given: Any, expected: Any) -> None:
    assert sweep_plan.choices("targets", given) == expected


def test_keywords_and_names_in_one_choice_are_told_apart() -> None:
    with pytest.raises(CommandError, match=r"--targets attention --targets q_proj\.$"):
        sweep_plan.choices("targets", "attention,q_proj")


@pytest.mark.parametrize("empty", [[], (), "", range(0)])
def test_an_empty_list_is_refused(empty: Any) -> None:
    with pytest.raises(CommandError, match="expected at least one value"):
        sweep_plan.choices("method", empty)


def test_the_grid_is_every_combination_of_different_values() -> None:
    found = sweep_plan.grid({"rank": [4, 8, 4], "lr": (1e-3, 3e-3), "dora": True})
    assert found == [
        {"rank": rank, "dora": True, "lr": lr} for rank in (4, 8) for lr in (1e-3, 3e-3)
    ]


def test_a_grid_too_large_to_be_made_is_not_made() -> None:
    assert len(sweep_plan.grid({"rank": range(1, 10**6), "lr": range(1, 10**6)})) == 257
    assert len(sweep_plan.grid({"rank": itertools.count(1)})) == 257


def test_a_budget_alone_is_a_grid_around_the_defaults() -> None:
    given = sweep_plan.usual({"dora": True, "lr": None}, 8, 4e-3, ranked=True)
    assert given == {"dora": True, "rank": [4, 8, 16], "lr": [1.3e-3, 4e-3, 1.2e-2]}
    assert "rank" not in sweep_plan.usual({}, 8, 4e-3, ranked=False)


def test_seeds_are_counted_from_zero_or_given() -> None:
    assert sweep_plan.seeds(3, None) == [0, 1, 2]
    assert sweep_plan.seeds(None, [7, 9]) == [7, 9]
    assert sweep_plan.seeds(None, None) == [None]
    for bad in (0, -1, 2.5, "3", True):
        with pytest.raises(CommandError, match="--seeds"):
            sweep_plan.seeds(bad, None)
    with pytest.raises(CommandError, match="both set the seeds"):
        sweep_plan.seeds(3, 1)


def test_a_setting_is_named_by_what_differs() -> None:
    combinations = [{"rank": 4, "lr": lr, "dora": True} for lr in (0.001, 0.003)]
    assert sweep_plan.varied(combinations) == ["lr"]
    assert sweep_plan.label(combinations[0], ["lr"]) == "lr 0.001"
    assert sweep_plan.label({"dora": False, "targets": ["q", "v"]}, ["dora", "targets"]) == (
        "no dora · targets q,v"
    )


def test_flags_are_typed_as_a_line_reads_them() -> None:
    flags = {"rank": 4, "dora": True, "norms": False, "for_": None, "rank_pattern": {"q": 2}}
    assert sweep_plan.command(flags) == " --rank 4 --dora --rank-pattern q=2"
    assert sweep_plan.command({"system": "Be kind"}) == ' --system "Be kind"'
    assert sweep_plan.command({"map_": len, "data": [(1, 2)]}) == " --map … --data …"
