"""The plan of a run: which number wins, and which flags are refused."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from lora_magic.base.recipe import LARGE, SMALL, Recipe
from lora_magic.errors import CommandError
from lora_magic.training.spec import RISING, SCHEDULES, TrainSpec, plan

DEMO = Recipe(4e-3, 8, 16.0, "q,v", batch_size=8, accumulation=1, max_length=256, steps=60)


def test_without_flags_the_recipe_decides() -> None:
    spec = plan(DEMO, 80, eval=0)
    assert (spec.steps, spec.learning_rate, spec.batch_size, spec.accumulation) == (60, 4e-3, 8, 1)
    assert (spec.max_length, spec.seed, spec.warmup, spec.schedule) == (256, 0, 0.05, "linear")
    assert (spec.minutes, spec.decisive) == (None, False)
    assert spec.epochs == 60 * 8 / 80


def test_a_flag_beats_the_recipe() -> None:
    spec = plan(DEMO, 80, steps=7, lr=1e-3, batch_size=4, max_length=64, seed=3, eval=5)
    wanted = (7, 1e-3, 4, 64, 3, 5)
    assert wanted == (
        spec.steps,
        spec.learning_rate,
        spec.batch_size,
        spec.max_length,
        spec.seed,
        spec.eval,
    )


@pytest.mark.parametrize(
    ("rows", "steps"),
    # 10 epochs of what is not held out, in batches of 16; not below 60.
    [(50, 60), (106, 60), (110, 62), (500, 282), (1000, 563)],
)
def test_with_held_out_rows_the_ceiling_is_60_steps_or_10_epochs(rows: int, steps: int) -> None:
    spec = plan(SMALL, rows)
    assert (spec.steps, spec.patience, spec.decisive) == (steps, 3, True)
    assert plan(DEMO, 500).steps == math.ceil(10 * 450 / 8)


@pytest.mark.parametrize("rows", [1, 49, 400, 5000])
def test_without_held_out_rows_there_are_60_steps(rows: int) -> None:
    for recipe in (DEMO, SMALL, LARGE):
        spec = plan(recipe, rows, eval=0)
        assert (spec.steps, spec.decisive) == (60, False)
        assert "60 steps" in spec.line
        assert "since no rows are held out" in spec.line


def test_a_large_base_makes_one_pass_at_most() -> None:
    assert plan(LARGE, 5000).steps == math.ceil(4500 / 16)


def test_with_a_length_the_held_out_loss_decides_only_if_asked_to() -> None:
    for length in ({"steps": 70}, {"epochs": 2.0}):
        assert not plan(SMALL, 500, **length).decisive
        spec = plan(SMALL, 500, patience=2, **length)
        assert (spec.decisive, spec.patience) == (True, 2)
        assert spec.steps == plan(SMALL, 500, **length).steps
    assert plan(SMALL, 500, patience=5).patience == 5
    assert plan(SMALL, 30, held_out=4).decisive
    assert plan(SMALL, 30, held_out=4).batch_size == 16


def test_patience_without_held_out_rows_is_refused() -> None:
    for flags in ({}, {"eval": 0}):
        with pytest.raises(CommandError, match=r"--patience 2: no rows.*--eval 0\.1"):
            plan(SMALL, 20, patience=2, **flags)


def test_epochs_asked_for_are_taken_exactly() -> None:
    spec = plan(SMALL, 10, epochs=3)
    assert (spec.steps, spec.epochs, spec.seen(10)) == (3, 3, 30)
    spec = plan(SMALL, 100, epochs=0.5, eval=0)
    assert (spec.steps, spec.seen(100)) == (4, 50)


def test_steps_and_epochs_together_are_refused() -> None:
    with pytest.raises(CommandError, match=r"--steps 5 and --epochs 2 both"):
        plan(SMALL, 10, steps=5, epochs=2)


def test_a_batch_is_cut_to_the_rows_there_are() -> None:
    spec = plan(SMALL, 13)
    assert (spec.batch_size, spec.accumulation, spec.pass_size) == (13, 2, 7)
    assert plan(SMALL, 3, batch_size=32).batch_size == 3


def test_no_pass_is_larger_than_the_recipes() -> None:
    assert (plan(LARGE, 1000).batch_size, plan(LARGE, 1000).accumulation) == (16, 8)
    spec = plan(SMALL, 1000, batch_size=32)
    assert (spec.batch_size, spec.accumulation, spec.pass_size) == (32, 4, 8)


@pytest.mark.parametrize(
    ("rows", "eval", "held"),
    [
        (49, None, 0),
        (50, None, 5),
        (999, None, 99),
        (20_000, None, 500),
        (100, 0, 0),
        (100, 0.25, 25),
        (10, 0.01, 1),
        (10, 3, 3),
        (1000, 999, 999),
    ],
)
def test_about_how_many_rows_are_held_out(rows: int, eval: float | None, held: int) -> None:
    spec = plan(SMALL, rows, eval=eval)
    assert spec.held_out == held
    assert spec.fitted(rows - 2, 2).held_out == 2


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"lr": 0.0}, "--lr 0"),
        ({"lr": -1.0}, "--lr -1"),
        ({"lr": 400.0}, "--lr 400: expected a number above 0 and at most 10"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"steps": 0}, "--steps 0"),
        ({"epochs": 0.0}, "--epochs 0"),
        ({"epochs": float("inf")}, "--epochs inf"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"max_length": 7}, "--max-length 7: expected a whole number from 8"),
        (
            {"max_length": 300, "context": 256},
            "--max-length 300: expected a whole number from 8 to 256 (the base's context)",
        ),
        ({"seed": -1}, "--seed -1"),
        ({"eval": -0.5}, "--eval -0.5"),
        ({"eval": 1.5}, "--eval 1.5"),
        ({"eval": 10}, "--eval 10: expected a share below 1 or a number of rows, with"),
        ({"eval": float("nan")}, "--eval nan"),
        ({"patience": 0}, "--patience 0: expected a whole number from 1"),
        ({"minutes": 0}, "--minutes 0: expected a number above 0"),
        ({"minutes": float("inf")}, "--minutes inf"),
        ({"warmup": 1}, "--warmup 1: expected a share of the steps, below 1"),
        ({"warmup": -0.1}, "--warmup -0.1"),
        ({"schedule": "cosin"}, "--schedule cosin: expected one of linear, cosine, constant"),
    ],
)
def test_a_flag_that_cannot_be_is_named(flags: dict[str, Any], told: str) -> None:
    with pytest.raises(CommandError) as caught:
        plan(SMALL, 10, **flags)
    assert told in str(caught.value)


def test_every_flag_at_fault_is_named_at_once() -> None:
    with pytest.raises(CommandError, match=r"--steps 0.*--lr -1.*--max-length 2"):
        plan(SMALL, 10, steps=0, lr=-1.0, max_length=2)


def test_the_recipes_length_is_cut_to_the_context() -> None:
    assert plan(SMALL, 10, context=128).max_length == 128


def test_the_rate_rises_over_a_twentieth_and_falls_and_never_is_zero() -> None:
    spec = plan(DEMO, 80, steps=60)
    rates = [spec.rate(step) for step in range(60)]
    assert rates[:4] == [1 / 4, 2 / 4, 3 / 4, 1.0]
    assert rates[3:] == [(60 - step) / 57 for step in range(3, 60)]
    assert min(rates) > 0
    assert plan(DEMO, 80, steps=1).rate(0) == 1.0


@pytest.mark.parametrize("warmup", [0, 0.05, 0.5])
def test_a_schedule_falls_from_1_and_is_never_zero(warmup: float) -> None:
    specs = {name: plan(DEMO, 30, steps=40, schedule=name, warmup=warmup) for name in SCHEDULES}
    rates = {name: [spec.rate(step) for step in range(40)] for name, spec in specs.items()}
    warm = int(40 * warmup)
    for name in SCHEDULES:
        assert rates[name][:warm] == rates["linear"][:warm]
        assert rates[name][warm] == 1.0
        assert min(rates[name]) > 0
        assert rates[name][warm:] == sorted(rates[name][warm:], reverse=True)
    share = torch.arange(40 - warm) / (40 - warm)
    wanted = (1 + torch.cos(torch.pi * share.double())) / 2
    assert rates["cosine"][warm:] == pytest.approx(wanted.tolist(), abs=1e-7)
    assert set(rates["constant"][warm:]) == {1.0}


def test_a_search_raises_the_rate_by_the_same_factor_at_each_step() -> None:
    spec = replace(plan(DEMO, 30, steps=60), schedule=RISING, warmup=0.0)
    rates = [spec.rate(step) for step in range(60)]
    factors = [after / before for before, after in pairwise(rates)]
    assert rates[-1] == 1.0
    assert rates[0] == pytest.approx(1e-4)
    assert factors == pytest.approx([factors[0]] * 59)


def test_a_plan_fits_itself_to_what_the_rows_came_to() -> None:
    # 3 epochs over 400 rows are 75 steps; over 800 examples 150; over 5 one batch is 5.
    spec = plan(SMALL, 400, epochs=3, eval=0)
    assert (spec.steps, spec.fitted(800).steps) == (75, 150)
    # Without held-out examples an open length is 60 steps.
    assert (plan(SMALL, 400).fitted(400, 0).steps, plan(SMALL, 400).fitted(400, 9).steps) == (
        60,
        250,
    )
    assert (spec.fitted(5).batch_size, spec.fitted(5).accumulation) == (5, 1)
    asked = plan(SMALL, 400, steps=9, eval=0)
    assert asked.fitted(800).steps == 9
    assert plan(SMALL, 10, epochs=2).fitted(6).seen(6) == 12
    assert isinstance(replace(spec, seed=1), TrainSpec)


def test_the_line_tells_the_choices() -> None:
    line = plan(DEMO, 80, seed=7).line
    most = "at most 90 steps (10 epochs) or until 3 measurements without improvement"
    for part in (most, "lr 0.004", "batch 8", "256 tokens", "8 held out", "seed 7"):
        assert part in line
    assert "\n" not in line
    assert plan(SMALL, 10, epochs=1).line.startswith("1 step (1 epoch), lr")
    both = plan(SMALL, 60, minutes=1.5, schedule="cosine", warmup=0.1).line
    assert "3 measurements without improvement or 1.5 min, lr" in both
    assert ", cosine, warm-up 0.1, seed" in both


def test_an_unknown_tracker_is_refused_with_the_near_miss() -> None:
    with pytest.raises(CommandError, match=r"trakio: expected one of .* Did you mean 'trackio'"):
        plan(DEMO, 10, report_to="trakio")


def test_a_tracker_that_is_not_installed_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lora_magic.training.spec.find_spec", lambda name: None)
    with pytest.raises(CommandError) as seen:
        plan(DEMO, 10, report_to="wandb")
    assert str(seen.value) == ("--report-to wandb: it is not installed; type: %pip install wandb.")


def test_a_run_that_is_reported_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_magic.training.spec.find_spec", lambda name: object())
    assert plan(DEMO, 10, report_to="mlflow").line.count("reported to mlflow") == 1
    assert "reported" not in plan(DEMO, 10).line
