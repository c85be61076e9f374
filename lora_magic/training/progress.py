"""How far a run has come, and a snapshot of all that it needs to go on from there.

Knows numbers, tensors and generators; knows no model, no file and no Trainer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lora_magic.base.restore import Generators

from .held_out import Measurement
from .inside import Reading


@dataclass(frozen=True, eq=False)
class Best:
    """The lowest held-out loss so far: after how many steps, and copies of the weights then.

    They are on the CPU, in the order of the trained parameters, and nobody writes to them.
    """

    step: int
    loss: float
    weights: tuple[Tensor, ...]


@dataclass(eq=False)
class Progress:
    """What a run has measured so far.

    `losses` has one number per finished step. `measurements` are (steps taken, measurement), the
    first before the first step. `tokens` were read in `seconds` of training, which exclude the
    measurements; those took `measuring` seconds. `best` is None unless the held-out loss decides
    which weights are kept. `generators` are the states of the random generators after the last
    finished step; None before the first, which the Trainer seeds. If memory ran out, `passes` is
    how many passes a step takes since then, otherwise 0, and `checkpointing` whether activations
    are recomputed; `notes` say so. With preferences `reference` has log π₀(c) − log π₀(r) of every
    pair, those that are trained on first. `inside` has what was read of the adapter's inside.
    `peak` and `largest` are `StepPeak`'s.
    """

    losses: list[float] = field(default_factory=list)
    measurements: list[tuple[int, Measurement]] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    generators: Generators | None = None
    passes: int = 0
    checkpointing: bool = False
    notes: list[str] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)
    measuring: float = 0.0
    best: Best | None = None
    inside: list[Reading] = field(default_factory=list)
    peak: int = 0
    largest: int = 0

    @property
    def steps(self) -> int:
        """Finished optimizer steps."""
        return len(self.losses)

    @property
    def held_out_losses(self) -> tuple[tuple[int, float], ...]:
        """(steps taken, held-out loss)."""
        return tuple((step, found.loss) for step, found in self.measurements)

    def measured(self, step: int) -> Measurement | None:
        """The measurement after so many steps; None if there is none."""
        return dict(self.measurements).get(step)

    def copy(self) -> Progress:
        """The progress so far, which later steps do not change."""
        return Progress(
            list(self.losses),
            list(self.measurements),
            self.tokens,
            self.seconds,
            self.generators,
            self.passes,
            self.checkpointing,
            list(self.notes),
            list(self.reference),
            self.measuring,
            self.best,
            list(self.inside),
            self.peak,
            self.largest,
        )

    @property
    def waited(self) -> int:
        """Measurements in a row, up to now, that were no better than the best one."""
        best = self.steps if self.best is None else self.best.step
        return sum(step > best for step, _ in self.measurements)

    def improve(self, parameters: Sequence[Tensor]) -> None:
        """Keep copies of the parameters if the last measurement is the best."""
        step, found = self.measurements[-1]
        if math.isfinite(found.loss) and (self.best is None or found.loss < self.best.loss):
            weights = tuple(p.detach().to("cpu", copy=True) for p in parameters)
            self.best = Best(step, found.loss, weights)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A run between two steps: continuing from it is as if it had never stopped.

    `total` are the steps of the whole run, `weights` the trained parameters in their order,
    `optimizer`, `schedule`, `scaler` and `hooks` the states of these. The tensors are on the CPU,
    and none is shared with the run.
    """

    progress: Progress
    total: int
    weights: tuple[Tensor, ...]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    scaler: dict[str, Any]
    hooks: dict[str, Any]


def weights_of(parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Copies of the parameters' values, on the CPU."""
    return tuple(map(_copy, parameters))


def set_weights(parameters: Sequence[Tensor], weights: Sequence[Tensor]) -> None:
    """Write values into the parameters, in place."""
    with torch.no_grad():
        for parameter, value in zip(parameters, weights, strict=True):
            parameter.copy_(value)


def own(state: Any) -> Any:
    """A state without tensors of the object that it is from; they are copied to the CPU."""
    if isinstance(state, Tensor):
        return _copy(state)
    if isinstance(state, dict):
        return {key: own(value) for key, value in state.items()}
    if type(state) in (list, tuple):
        return type(state)(map(own, state))
    return copy.deepcopy(state)


def _copy(tensor: Tensor) -> Tensor:
    # A second copy of optimizer and weights could be too much for a GPU.
    return tensor.detach().to("cpu", copy=True)
