"""The training benchmark runs at a tiny size, and its figures are of the same tokens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lora_magic.training.reporter import StepPoint
from tests.benchmarks import training
from tests.benchmarks.steps import Clock, Load, Machine, Sides, in_turn, ratio

TOP = Path(__file__).parents[2]


def printed(*flags: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.training", *flags],
        cwd=TOP,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr[-2000:]
    return done.stdout if status == 0 else done.stderr


def test_the_command_prints_both_sides_the_limit_and_what_is_to_be_reached() -> None:
    found = printed("--rows", "step-16m-2k", "--size", "tiny", "--pairs", "1", "--steps", "3")
    for word in ("PEFT + Trainer", "ours /", "of the limit", "padded/real", "peak", "to reach"):
        assert word in found


def test_an_unknown_row_is_told_with_the_known_ones() -> None:
    assert "expected names among step-16m-32k" in printed("--rows", "stepp", status=1)


TIME = [0.0]


class Steady(Machine):
    """A clock that a test moves."""

    def now(self) -> float:
        return TIME[0]


def test_a_clock_counts_the_steps_but_the_first_of_runs_in_turn_and_together() -> None:
    machine = Steady()

    def counted(*ends: tuple[int, float]) -> float:
        clock = Clock(machine, 3)
        for step, at in ends:
            TIME[0] = at
            clock.step(StepPoint(step, 3, 1.0, 0.0, 0.0, 0.0))
        return clock.seconds

    assert counted((1, 5.0), (2, 6.0), (3, 8.0)) == 3.0
    assert counted((1, 5.0), (2, 6.0), (3, 8.0), (1, 20.0), (2, 21.0), (3, 22.0)) == 5.0
    assert counted((1, 5.0), (1, 5.0), (2, 6.0), (2, 6.0), (3, 8.0), (3, 8.0)) == 3.0


def test_pairs_alternate_and_their_ratio_is_the_median() -> None:
    order: list[str] = []

    def way(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = in_turn({name: lambda name=name: way(name) for name in "ab"}, 3)  # type: ignore[misc]
    assert "".join(order) == "baabba"
    assert found == {"a": [2.0, 3.0, 6.0], "b": [1.0, 4.0, 5.0]}
    assert ratio(found["a"], found["b"]) == (1.2, 0.75, 2.0)


def test_the_rows_have_the_lengths_and_shares_that_the_table_says() -> None:
    made = Sides(Load("tiny", rows=40, longest=300), 4, Machine())
    lengths = [len(example.tokens) for step in made.batches for example in step]
    assert min(lengths) >= 8
    assert max(lengths) <= 310
    assert 0.35 <= made.trained / made.real <= 0.45
    assert made.padded / made.real > 1.5
    made.close()


@pytest.mark.skipif(not training.can_train_together(), reason="no common run yet")
def test_four_adapters_are_measured_alone_and_together() -> None:
    found = training.measured(Load("tiny", 2, 30, ranks=(2, 4)), 1, 3, Machine())
    assert set(found.ways) == {training.PEER, training.ALONE, training.TOGETHER}
    assert all(way.micro > 0 and way.peak > 0 for way in found.ways.values())
