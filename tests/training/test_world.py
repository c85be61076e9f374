"""Several processes take the steps of one: the same weights, measurements, ends and errors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.training.world import Alone, World, gathered, share
from tests.training.worlds import CASES, SNAPSHOT, THREE, Found, continued, everything

ROOT = Path(__file__).parents[2]

#: How far apart runs may be, as a share of the change. The sums are in another order: measured are
#: at most 4e-7, for weights that a gradient moves.
FAR = 1e-5

#: Cases without dropout, whose masks differ between workers, and without an error.
EXACT = [name for name in CASES if name not in ("dropout", "halves with dropout", "poisoned")]

Runs = list[dict[str, Found]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Runs]:
    """What one process, two and three found, by their number."""
    folder = tmp_path_factory.mktemp("worlds")
    torch.save(CASES["halves"](Alone())["snapshot"], folder / SNAPSHOT)
    together = subprocess.Popen(
        [sys.executable, "-m", "tests.training.worlds", str(folder)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        alone = everything(Alone(), folder)
        said, _ = together.communicate(timeout=900)
    finally:
        together.kill()
    assert together.returncode == 0, said
    made = [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(3)]
    return {1: [alone], 2: [one[2] for one in made[:2]], 3: [one[3] for one in made]}


def far(one: Found, other: Found) -> float:
    """The distance of two results, as a share of the change."""
    return float((one["end"] - other["end"]).norm() / (other["end"] - other["start"]).norm())


@pytest.mark.parametrize("size", [2, 3])
def test_all_workers_end_with_the_same_bits(runs: dict[int, Runs], size: int) -> None:
    first, *others = runs[size]
    assert len(others) == size - 1
    for name in first.keys() - {"believed"}:
        for other in others:
            assert torch.equal(first[name]["end"], other[name]["end"]), name
            told = ("losses", "held_out_losses", "ended", "best_step", "accuracy", "preferred")
            for key in first[name].keys() & set(told):
                assert first[name][key] == other[name][key], (name, key)


@pytest.mark.parametrize(
    ("size", "name"), [(2, name) for name in EXACT] + [(3, name) for name in THREE]
)
def test_workers_end_where_one_process_does(runs: dict[int, Runs], size: int, name: str) -> None:
    one, several = runs[1][0][name], runs[size][0][name]
    assert float((one["end"] - one["start"]).norm()) > 0
    assert far(several, one) < FAR
    assert several["losses"] == pytest.approx(one["losses"], rel=1e-4)
    for ours, theirs in zip(several["held_out_losses"], one["held_out_losses"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    for key in ("ended", "best_step", "steps", "accuracy", "preferred", "step"):
        assert several[key] == one[key], key


def test_the_cases_are_what_they_are_named_after(runs: dict[int, Runs]) -> None:
    alone = runs[1][0]
    assert "LoRA in one function" in alone["fused"]["step"]
    assert "rows packed" in alone["fused"]["step"]
    ends = {name: (alone[name]["ended"], alone[name]["steps"]) for name in ("stopped", "minutes")}
    assert ends == {"stopped": ("stopped", 3), "minutes": ("minutes", 1)}
    assert alone["full"]["ended"] == "held-out"
    assert sum(alone["classifier"]["accuracy"].total) == 3
    assert far(alone["penalised"], alone["plain"]) > 0.01
    # Memory ran out in training and in measuring, and each went on.
    assert runs[2][1]["memory"]["failed"][True] > 3
    assert runs[2][1]["memory"]["failed"][False] > 2


def test_only_worker_0_keeps_a_snapshot(runs: dict[int, Runs]) -> None:
    assert [worker["stopped"]["kept"] for worker in runs[2]] == [True, False]


def test_a_row_that_one_worker_cannot_read_is_the_same_error_on_all(runs: dict[int, Runs]) -> None:
    wanted = runs[1][0]["poisoned"]["error"]
    assert "not finite for row" in wanted
    assert [worker["poisoned"]["error"] for worker in runs[2]] == [wanted, wanted]
    assert all(torch.equal(w["poisoned"]["end"], w["poisoned"]["start"]) for w in runs[2])


@pytest.mark.parametrize(
    ("resumed", "whole"), [("halves", "whole"), ("halves with dropout", "dropout")]
)
def test_a_resumed_run_ends_with_the_bits_of_one_that_never_stopped(
    runs: dict[int, Runs], resumed: str, whole: str
) -> None:
    for worker in runs[2]:
        assert torch.equal(worker[resumed]["end"], worker[whole]["end"])
        assert worker[resumed]["losses"] == worker[whole]["losses"]


def test_a_run_goes_on_with_another_number_of_workers(runs: dict[int, Runs]) -> None:
    whole = runs[1][0]["whole"]
    assert far(runs[2][0]["from one"], whole) < FAR
    back = continued(Alone(), runs[2][0]["halves"]["snapshot"])
    assert far(back, whole) < FAR


def test_workers_drop_different_activations(runs: dict[int, Runs]) -> None:
    seeds = [seed for worker in runs[2] for seed in worker["dropout"]["seeds"]]
    assert len(set(seeds)) == len(seeds) == 2 * len(runs[1][0]["dropout"]["losses"])


def test_the_trainer_is_alone_and_what_a_launcher_said_is_restored(
    runs: dict[int, Runs],
) -> None:
    for worker in runs[3]:
        believed = worker["believed"]
        assert believed["inside"] == {(1, "NO")}
        assert believed["same"]
        assert believed["outside"][0] == 3


class Seat(World):
    """One of several workers without the others: its sums are its own."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def add(self, tensors: Sequence[Any]) -> None:
        raise AssertionError

    def sums(self, values: Sequence[float]) -> list[float]:
        return list(values)

    def first(self, values: Sequence[float]) -> list[float]:
        return list(values)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_shares_are_parts_in_order_of_about_equal_size(count: int, size: int) -> None:
    seats = [Seat(rank, size) for rank in range(size)]
    parts = [list(share(range(count), seat)) for seat in seats]
    assert [item for part in parts for item in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert len(parts[0]) == max(map(len, parts))
    rows = [gathered(part, count, seat) for part, seat in zip(parts, seats, strict=True)]
    assert [sum(column) for column in zip(*rows, strict=True)] == list(range(count))
