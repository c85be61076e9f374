"""AdaLoRA's budget of ranks and EVA's initialisation from the rows, as hooks of a training run.

Knows adapters and the bridge to PEFT; knows no Trainer and no session. Both implement the
protocol of `training.hooks`, which this room does not import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lora_magic.errors import AdapterError, CommandError

from . import bridge
from .delta import PEFT_NAME
from .live_adapter import LiveAdapter
from .slots import Slots

#: Shares of a run with all ranks, and with the final ones; between them the ranks shrink.
_WARM_UP, _FIXED = 0.1, 0.3
#: Steps of the shortest run.
SHORTEST = 10

#: The weight of the orthogonality of P and Q in the loss, γ of AdaLoRA's equation 4; PEFT's own.
_ORTHOGONALITY = 0.5

Batches = Callable[[], Iterable[dict[str, Tensor]]]


@dataclass(frozen=True)
class Schedule:
    """AdaLoRA's budget (Zhang et al. 2023, equation 12): b(t) falls by a cubic from b_0 to b_T.

    b_0 until `first`, b_T in the last `last` steps; a change every `every` steps.
    """

    first: int
    last: int
    every: int
    steps: int

    @classmethod
    def of(cls, steps: int) -> Schedule:
        """The schedule of a run; raises `CommandError` for one that is too short."""
        if steps < SHORTEST:
            raise CommandError(
                f"--steps {steps}: AdaLoRA needs at least {SHORTEST} steps; type --steps 60."
            )
        every = max(1, steps // 100)
        return cls(max(1, int(_WARM_UP * steps)), max(1, int(_FIXED * steps)), every, steps)


class AdaLoRA:
    """The rank budget of one run: after each step the least important singular values become 0.

    Importance and allocation are PEFT's. The loss gets γ·(‖PᵀP − I‖ + ‖QQᵀ − I‖), a mean over the
    matrices.
    """

    def __init__(self, model: Any, attached: LiveAdapter) -> None:
        self._model, self._attached = model, attached
        self._allocator: bridge.Allocator | None = None
        self._final = 0

    def begin(self, steps: int, batches: Batches) -> None:
        """Raises `CommandError` for a run that is too short."""
        plan = Schedule.of(steps)
        self._final = steps - plan.last
        self._allocator = bridge.Allocator(
            self._model, self._attached.wrapper, plan.first, plan.last, plan.every, plan.steps
        )

    def penalty(self) -> Tensor | None:
        """γ times the mean distance of P and Q from orthogonality."""
        distances = [
            _from_orthogonal(factor)
            for module in self._attached.replacements.values()
            if hasattr(module, "lora_E")
            for factor in _sides(module)
        ]
        return _ORTHOGONALITY * torch.stack(distances).mean()

    def after_update(self, step: int) -> None:
        """Apply the budget of this step."""
        assert self._allocator is not None  # the run has begun
        self._allocator.allocate(step)

    def settled(self, step: int) -> bool:
        """From the step that sets the final ranks on."""
        return step >= self._final

    def state(self) -> dict[str, Any]:
        """The allocator's."""
        assert self._allocator is not None  # the run has begun
        return self._allocator.state()

    def load(self, state: dict[str, Any]) -> None:
        """Continue the allocation; raises `ValueError` for the state of another run."""
        assert self._allocator is not None  # the run has begun
        self._allocator.load(state)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """The ranks that the budget left, by module."""
        ranks = self._attached.ranks()
        by_module = ", ".join(f"{path} {rank}" for path, rank in ranks.items())
        return (("ranks", f"{sum(ranks.values())} in total: {by_module}"),)


def _sides(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.lora_A[PEFT_NAME], layer.lora_B[PEFT_NAME].mT


def _from_orthogonal(rows: Tensor) -> Tensor:
    """‖M·Mᵀ − I‖_F of r rows."""
    far: Tensor = torch.linalg.matrix_norm(
        rows @ rows.mT - torch.eye(len(rows), device=rows.device)
    )
    return far


class EVA:
    """A's initialisation for a run: the main directions of each target's inputs on the rows.

    Paischer et al. 2024, arXiv 2410.07170, by PEFT, at equal ranks. B stays zero.
    """

    def __init__(self, model: Any, slots: Slots, attached: LiveAdapter) -> None:
        self._model, self._slots, self._attached = model, slots, attached

    def begin(self, steps: int, batches: Batches) -> None:
        """Raises `AdapterError` for rows with fewer directions than the rank."""
        layers = self._attached.replacements
        with self._slots.using({}):
            found = bridge.eva(self._model, self._attached.wrapper, batches)
        missing = [path for path, layer in layers.items() if _is_lora(layer) and path not in found]
        if missing:
            raise AdapterError(
                f"--init eva: the rows have fewer than {self._attached.spec.rank} directions at "
                f"{missing[0]}; use more rows, a smaller --rank, or omit --init."
            )
        with torch.no_grad():
            for path, down in found.items():
                layer: Any = layers[path]
                layer.lora_A[PEFT_NAME].weight.copy_(down)

    def penalty(self) -> Tensor | None:
        """None."""
        return None

    def after_update(self, step: int) -> None:
        """Nothing."""

    def settled(self, step: int) -> bool:
        """Always."""
        return True

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Nothing."""

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Nothing."""
        return ()


def _is_lora(layer: Any) -> bool:
    return PEFT_NAME in getattr(layer, "lora_A", {})


def hooks_of(
    model: Any, slots: Slots, attached: LiveAdapter, *, more: bool
) -> AdaLoRA | EVA | None:
    """The hooks that an adapter needs in a run, decided just before it.

    EVA only initialises an untrained adapter: with `more`, and for one that was opened trained, B
    was trained with the existing A.
    """
    if attached.spec.method == "adalora":
        return AdaLoRA(model, attached)
    if attached.spec.init == "eva" and not more and not attached.has_effect():
        return EVA(model, slots, attached)
    return None
