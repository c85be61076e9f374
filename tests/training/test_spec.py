"""The plan of a run: which number wins, and which flags are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lora_magic.base.recipe import LARGE, SMALL, Recipe
from lora_magic.errors import CommandError
from lora_magic.training.spec import TrainSpec, plan

DEMO = Recipe(4e-3, 8, 16.0, "q,v", batch_size=8, accumulation=1, max_length=256, steps=60)


def test_without_flags_the_recipe_decides() -> None:
    spec = plan(DEMO, 80, eval=0)
    assert (spec.steps, spec.learning_rate, spec.batch_size, spec.accumulation) == (60, 4e-3, 8, 1)
    assert (spec.max_length, spec.seed, spec.warmup) == (256, 0, 0.05)
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
    [(10, 60), (320, 60), (400, 75), (401, 76), (1000, 188)],
)
def test_a_recipes_epochs_are_steps_but_at_least_its_fewest(rows: int, steps: int) -> None:
    # 3 epochs in batches of 16: ceil(3 · rows / 16), not below 60.
    assert plan(SMALL, rows, eval=0).steps == steps


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
def test_what_is_held_out(rows: int, eval: float | None, held: int) -> None:
    assert plan(SMALL, rows, eval=eval).eval == held


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
    spec = plan(DEMO, 80)
    rates = [spec.rate(step) for step in range(60)]
    assert rates[:4] == [1 / 4, 2 / 4, 3 / 4, 1.0]
    assert rates[3:] == [(60 - step) / 57 for step in range(3, 60)]
    assert min(rates) > 0
    assert plan(DEMO, 80, steps=1).rate(0) == 1.0


def test_a_plan_fits_itself_to_what_the_rows_came_to() -> None:
    # 3 epochs over 400 rows are 75 steps; over 800 examples 150; over 5 one batch is 5.
    spec = plan(SMALL, 400, eval=0)
    assert spec.fitted(800).steps == 150
    assert (spec.fitted(5).batch_size, spec.fitted(5).accumulation) == (5, 1)
    asked = plan(SMALL, 400, steps=9, eval=0)
    assert asked.fitted(800).steps == 9
    assert plan(SMALL, 10, epochs=2).fitted(6).seen(6) == 12
    assert isinstance(replace(spec, seed=1), TrainSpec)


def test_the_line_tells_the_choices() -> None:
    line = plan(DEMO, 80, seed=7).line
    for part in ("60 steps", "lr 0.004", "batch 8", "256 tokens", "8 held out", "seed 7"):
        assert part in line
    assert "\n" not in line
    assert plan(SMALL, 10, epochs=1).line.startswith("1 step (1 epoch)")


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
    assert "reported to mlflow" in plan(DEMO, 10, report_to="mlflow").line
    assert "reported" not in plan(DEMO, 10).line
