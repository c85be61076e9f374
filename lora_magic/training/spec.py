"""The settings of a run: length, rate, batch and limits, from flags and the base's recipe.

Knows only numbers; knows no model and no tokenizer, and of the rows only their number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from lora_magic.base.recipe import Recipe
from lora_magic.checks import is_number, is_whole
from lora_magic.errors import CommandError, near

#: With fewer rows, none are held out.
HOLD_OUT_FROM = 50

HOLD_OUT_SHARE = 0.1
HOLD_OUT_MOST = 500
#: Measurements without improvement that end a run whose length was not given.
PATIENCE = 3
#: How the learning rate goes on after the warm-up, the default first.
SCHEDULES = ("linear", "cosine", "constant")
WARMUP = 0.05
#: The schedule of a search for a rate: it rises by this factor, the same at each step.
RISING = "rising"
_RISE = 1e4
_SHORTEST = 8
_MOST = 1_000_000  # Steps: the row order of all steps is drawn before the run begins.
#: The optimizers, the default one first.
OPTIMIZERS = ("adamw", "paged-adamw", "paged-adamw-8bit")
#: Experiment trackers that a run can be reported to, each by the name of its package.
TRACKERS = ("trackio", "tensorboard", "mlflow", "wandb")

#: β of the loss over preferences, as in most of the paper's experiments (arXiv 2305.18290).
BETA = 0.1
_HIGHEST_BETA = 100.0

_MOST_REPLAY = 0.99  # A run by epochs takes a hundred times its steps then.
_HIGHEST_RATE = 10.0  # AdamW moves a weight by about this much per step: more is a typo.


@dataclass(frozen=True)
class TrainSpec:
    """The settings of one run.

    `batch_size` examples make one optimizer step, taken in `accumulation` passes of about equal
    size. The learning rate rises linearly over the first `warmup` share of the steps, then falls to
    0 as `schedule` says: "linear", "cosine", or "constant", which does not fall; no step has
    rate 0. `epochs` is the number of passes over the training examples in `steps` steps.

    `eval` is what was asked to be held out: a share below 1, a number of rows, or None for the
    default (`batches.held_out_below`); `held_out` examples are. With them a run that has a
    `patience` is measured ten times, ends after that many measurements in a row without a lower
    held-out loss, and keeps the weights of the best one. It also ends after the step that passes
    `minutes`, measurements included.

    `optimizer` is one of `OPTIMIZERS`; with `lora_plus` B learns at that many times A's rate.
    `checkpointing` recomputes activations in the backward pass instead of storing them; that is
    only possible if the model and the adapter `can_checkpoint`. `beta` is that of the loss over
    preferences, None for any other loss. The run is reported to `report_to`, one of `TRACKERS`.
    With `plain_step` every pass is the model's own padded forward and loss (`way`).

    `target_epochs` is set if the length follows from the data: that many passes, but at least
    `min_steps` steps. If the length is `open`, because nobody gave it, that holds with held-out
    examples only; without, there are `min_steps` steps. `replay` is the share of the examples read
    that are guard rows; a run whose length follows from the data takes more steps with it, so that
    its passes stay whole.
    """

    steps: int
    epochs: float
    learning_rate: float
    batch_size: int
    accumulation: int
    max_length: int
    seed: int
    eval: float | None
    held_out: int = 0
    warmup: float = WARMUP
    schedule: str = SCHEDULES[0]
    patience: int | None = None
    minutes: float | None = None
    target_epochs: float | None = None
    min_steps: int = 1
    open: bool = False
    optimizer: str = OPTIMIZERS[0]
    lora_plus: float | None = None
    checkpointing: bool = False
    can_checkpoint: bool = True
    beta: float | None = None
    report_to: str | None = None
    replay: float = 0.0
    plain_step: bool = False

    def fitted(self, examples: int, held_out: int = 0) -> TrainSpec:
        """This spec for the numbers of examples, to train on and held out, that the rows gave."""
        batch = min(self.batch_size, examples)
        accumulation = math.ceil(batch / self.pass_size)
        each = batch * (1 - self.replay) / examples  # passes in one step
        steps = self.min_steps if self.open else self.steps
        epochs = steps * each
        if self.target_epochs is not None and (held_out or not self.open):
            whole = math.ceil(self._with_replay(_seen(self.target_epochs, examples)) / batch)
            steps = max(self.min_steps, whole)
            epochs = self.target_epochs if steps == whole else steps * each
        return replace(
            self,
            steps=steps,
            epochs=epochs,
            batch_size=batch,
            accumulation=accumulation,
            held_out=held_out,
        )

    @property
    def smaller(self) -> TrainSpec | None:
        """The same steps in less memory: passes of half the size, then gradient checkpointing.

        None if there is nothing left to reduce.
        """
        size = self.pass_size
        if size > 1:
            return replace(self, accumulation=math.ceil(self.batch_size / math.ceil(size / 2)))
        if self.can_checkpoint and not self.checkpointing:
            return replace(self, checkpointing=True)
        return None

    def less_than(self, before: TrainSpec) -> str:
        """How this spec takes the same steps in less memory, as a clause."""
        if self.checkpointing and not before.checkpointing:
            return "gradient checkpointing from here on"
        size = self.pass_size
        return f"{size} row{'s' * (size != 1)} per pass instead of {before.pass_size}"

    @property
    def pass_size(self) -> int:
        """The largest number of examples in one pass."""
        return math.ceil(self.batch_size / self.accumulation)

    def seen(self, examples: int) -> int:
        """Examples read in the whole run, those of the guard too: whole batches, or exactly
        `target_epochs`."""
        if self._exact:
            return self._with_replay(_seen(self.epochs, examples))
        return self.steps * self.batch_size

    def replayed(self, examples: int) -> int:
        """How many of the examples read in the whole run are guard rows."""
        if self._exact:
            return self.seen(examples) - _seen(self.epochs, examples)
        return round(self.replay * self.seen(examples))

    @property
    def _exact(self) -> bool:
        return self.target_epochs is not None and self.epochs == self.target_epochs

    def _with_replay(self, own: int) -> int:
        """The examples read if `own` of them are the run's own rows."""
        return round(own / (1 - self.replay))

    @property
    def decisive(self) -> bool:
        """Whether the held-out loss decides which weights are kept, and when the run ends."""
        return self.patience is not None and self.held_out > 0

    @property
    def line(self) -> str:
        """The settings in one line, for the start of a run."""
        split = f" ({self.accumulation} passes)" if self.accumulation > 1 else ""
        held_out = f", {self.held_out} held out" if self.held_out else ""
        plus = f" (B {self.lora_plus:g} times that)" if self.lora_plus is not None else ""
        plus += f", β {self.beta:g}" if self.beta is not None else ""
        rising = self.schedule == RISING
        how = f", {self.schedule}" if self.schedule not in {SCHEDULES[0], RISING} else ""
        how += f", warm-up {self.warmup:g}" if self.warmup != WARMUP and not rising else ""
        how += f", {self.optimizer}" if self.optimizer != OPTIMIZERS[0] else ""
        how += ", gradient checkpointing" if self.checkpointing else ""
        how += ", plain steps" if self.plain_step else ""
        how += f", reported to {self.report_to}" if self.report_to else ""
        return (
            f"{self._length}, "
            f"lr {'rising to ' * rising}{self.learning_rate:g}{plus}, "
            f"batch {self.batch_size}{split}, "
            f"rows ≤ {self.max_length} tokens{held_out}{how}, seed {self.seed}"
        )

    @property
    def _length(self) -> str:
        """How many steps, and what ends the run sooner."""
        passes = (
            f"{self.epochs:.1f}".removesuffix(".0") if self.epochs >= 1 else f"{self.epochs:.2g}"
        )
        ends = []
        if self.decisive:
            ends.append(
                f"{self.patience} measurement{'s' * (self.patience != 1)} without improvement"
            )
        if self.minutes is not None:
            ends.append(f"{self.minutes:g} min")
        most = "at most " if ends else ""
        what = f" or until {' or '.join(ends)}" if ends else ""
        what += ", since no rows are held out" if self.open and not self.held_out else ""
        return (
            f"{most}{self.steps} step{'s' * (self.steps != 1)} "
            f"({passes} epoch{'s' * (passes != '1')}){what}"
        )

    def rate(self, step: int) -> float:
        """The learning rate's factor in (0, 1] at a step counted from 0.

        Rises as (step + 1)/(w + 1) over the w warm-up steps, then with t = (step − w)/(steps − w)
        falls as 1 − t ("linear") or (1 + cos πt)/2 ("cosine"), or stays 1 ("constant"). While a
        rate is searched for, it rises exponentially to 1.
        """
        if self.schedule == RISING:
            return float(_RISE ** (step / max(self.steps - 1, 1) - 1))
        warm = int(self.warmup * self.steps)
        if step < warm:
            return (step + 1) / (warm + 1)
        left = max(self.steps - step, 0) / (self.steps - warm)
        if self.schedule == "cosine":
            return (1 - math.cos(math.pi * left)) / 2
        return 1.0 if self.schedule == "constant" else left


def plan(
    recipe: Recipe,
    rows: int,
    *,
    steps: int | None = None,
    epochs: float | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    max_length: int | None = None,
    seed: int | None = None,
    eval: float | None = None,
    patience: int | None = None,
    minutes: float | None = None,
    schedule: str | None = None,
    warmup: float | None = None,
    optimizer: str | None = None,
    lora_plus: float | None = None,
    beta: float | None = None,
    prefers: bool = False,
    report_to: str | None = None,
    replay: float | None = None,
    plain_step: bool | None = None,
    checkpointing: bool | None = None,
    context: int | None = None,
    held_out: int | None = None,
) -> TrainSpec:
    """The settings of a run over `rows` rows: each value from its flag, else from the recipe.

    `steps` steps or `epochs` passes are made exactly. Without either: with held-out rows at most
    the recipe's epochs, and at least its steps; without held-out rows its steps. `batch_size` is
    the number of examples per optimizer step, at most all of them. `eval` is a share in (0, 1), a
    count from 1, or 0 for none; by default none below 50 rows, then 10 %, at most 500. If another
    set of rows is measured, `held_out` is their number. `patience` is 3 by default if neither
    `steps` nor `epochs` is given, otherwise the run is never ended early. `schedule` is one of
    `SCHEDULES`, `warmup` a share in [0, 1), 0.05 by default. `optimizer`
    is one of `OPTIMIZERS`, `lora_plus` LoRA+'s ratio λ ≥ 1 (arXiv 2402.12354; 16 is usual, with a
    lower rate than without), `report_to` one of `TRACKERS`, which must be installed. `replay` is a
    share in (0, 0.99], by default none. `checkpointing` adds gradient checkpointing to a recipe
    without it. `context` is the base's context length in tokens: no row may be longer.

    Raises `CommandError` naming every invalid flag.
    """
    rate = recipe.learning_rate if lr is None else lr
    numbers = {
        "--steps": steps,
        "--epochs": epochs,
        "--lr": lr,
        "--batch-size": batch_size,
        "--max-length": max_length,
        "--eval": eval,
        "--patience": patience,
        "--minutes": minutes,
        "--warmup": warmup,
        "--seed": seed,
        "--beta": beta,
        "--replay": replay,
    }
    checked = (_error(f, v, rows, context) for f, v in numbers.items() if v is not None)
    errors = [error for error in checked if error]
    errors += _optimizer_errors(optimizer, lora_plus, rate if is_number(rate) else 0.0)
    errors += _tracker_errors(report_to)
    if schedule is not None and schedule not in SCHEDULES:
        errors.append(_unknown("--schedule", schedule, SCHEDULES))
    if steps is not None and epochs is not None:
        errors.append(f"--steps {steps} and --epochs {epochs} both set the length: give one")
    if beta is not None and not prefers:
        errors.append(
            f"--beta {beta} is for preferences: give rows with prompt, chosen and rejected"
        )
    expected = 0
    if not errors:
        expected = _expected(rows, eval) if held_out is None else held_out
        if patience is not None and not expected:
            errors.append(f"--patience {patience}: no rows are held out; add --eval 0.1")
    if errors:
        raise CommandError(f"{'; '.join(errors)}.")
    batch = recipe.batch_size * recipe.accumulation if batch_size is None else batch_size
    length = recipe.max_length if max_length is None else max_length
    given = steps is not None or epochs is not None
    return TrainSpec(
        steps=steps or recipe.steps,
        epochs=1.0,
        learning_rate=rate,
        batch_size=batch,
        accumulation=math.ceil(batch / recipe.batch_size),
        max_length=length if context is None else min(length, context),
        seed=0 if seed is None else seed,
        eval=eval,
        warmup=WARMUP if warmup is None else warmup,
        schedule=schedule or SCHEDULES[0],
        patience=PATIENCE if patience is None and not given else patience,
        minutes=minutes,
        target_epochs=None if steps is not None else epochs or recipe.epochs,
        min_steps=1 if given else recipe.steps,
        open=not given,
        optimizer=recipe.optimizer if optimizer is None else optimizer,
        lora_plus=lora_plus,
        checkpointing=bool(checkpointing) or recipe.checkpointing,
        beta=(BETA if beta is None else float(beta)) if prefers else None,
        report_to=report_to,
        replay=replay or 0.0,
        plain_step=bool(plain_step),
    ).fitted(max(rows - (expected if held_out is None else 0), 1), expected)


def _seen(epochs: float, examples: int) -> int:
    return max(1, round(epochs * examples))


def _expected(rows: int, eval: float | None) -> int:
    """About how many rows are held out; with a share it depends on what they ask."""
    if eval is None:
        share = int(HOLD_OUT_SHARE * rows)
        return min(share, HOLD_OUT_MOST) if rows >= HOLD_OUT_FROM else 0
    return min(max(1, round(eval * rows)), rows - 1) if 0 < eval < 1 else int(eval)


def _error(flag: str, value: Any, rows: int, context: int | None) -> str | None:
    """The value seen and the value expected; None for a valid value."""
    if not is_number(value):
        return f"{flag} {value!r}: expected a number"
    wholes = {
        "--steps": (1, _MOST),
        "--batch-size": (1, _MOST),
        "--patience": (1, _MOST),
        "--max-length": (_SHORTEST, context or 2**32),
        "--seed": (0, 2**32 - 1),
    }
    if flag in wholes:
        low, high = wholes[flag]
        valid = is_whole(value) and low <= value <= high
        expected = f"a whole number from {low} to {high:,}"
        if flag == "--max-length" and context is not None:
            expected += " (the base's context)"
    elif flag == "--replay":
        valid = 0 < value <= _MOST_REPLAY
        expected = f"a share above 0 and at most {_MOST_REPLAY:g}; 0.1 is usual"
    elif flag == "--eval":
        whole = math.isfinite(value) and value == int(value)
        valid = (
            value >= 0
            and (value < 1 or whole)
            and (value == 0 or 0 < _expected(rows, value) < rows)
        )
        expected = (
            f"a share below 1 or a number of rows, with at least one of {rows} left to train on"
        )
    elif flag == "--warmup":
        valid, expected = 0 <= value < 1, "a share of the steps, below 1"
    else:
        highest = {"--lr": _HIGHEST_RATE, "--beta": _HIGHEST_BETA, "--minutes": _MOST}
        most = highest.get(flag, _MOST // max(rows, 1))
        valid = 0 < value <= most
        expected = f"a number above 0 and at most {most:,g}"
    shown = value if is_whole(value) else f"{value:g}"
    return None if valid else f"{flag} {shown}: expected {expected}"


def _tracker_errors(tracker: object) -> Iterator[str]:
    if tracker is None:
        return
    if tracker not in TRACKERS:
        yield _unknown("--report-to", tracker, TRACKERS)
    elif find_spec(str(tracker)) is None:
        yield f"--report-to {tracker}: it is not installed; type: %pip install {tracker}"


def _unknown(flag: str, value: object, names: tuple[str, ...]) -> str:
    hint = near(str(value), names).rstrip("?")
    return f"{flag} {value}: expected one of {', '.join(names)}{hint}"


def _optimizer_errors(optimizer: object, ratio: Any, rate: float) -> Iterator[str]:
    if optimizer is not None and optimizer not in OPTIMIZERS:
        yield _unknown("--optimizer", optimizer, OPTIMIZERS)
    if ratio is None:
        return
    if not is_number(ratio):
        yield f"--lora-plus {ratio!r}: expected a number"
    elif not (math.isfinite(ratio) and ratio >= 1):
        yield f"--lora-plus {ratio:g}: expected a number of at least 1; 16 is usual"
    elif ratio * rate > _HIGHEST_RATE:
        yield (
            f"--lora-plus {ratio:g} with --lr {rate:g}: B would learn at {ratio * rate:g}, "
            f"expected at most {_HIGHEST_RATE:g}"
        )
