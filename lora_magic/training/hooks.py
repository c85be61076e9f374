"""What a method adds to a run: an initial state from the rows, a penalty, a rank budget.

Knows when each hook is called; knows no method, no adapter and no Trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from torch import Tensor


class Hooks(Protocol):
    """What a run calls, and when; by default each hook does nothing."""

    def begin(self, steps: int, batches: Callable[[], Iterable[dict[str, Tensor]]]) -> None:
        """Before the first step: the number of steps, and the batches that they will see."""
        return

    def penalty(self) -> Tensor | None:
        """A term added to the loss of each pass; the reported loss excludes it."""
        return None

    def after_update(self, step: int) -> None:
        """After the optimizer's step, counted from 1, before the gradients are cleared."""
        return

    def settled(self, step: int) -> bool:
        """Whether the weights after this step, counted from 1, may be the result of the run."""
        return True

    def state(self) -> dict[str, Any]:
        """What continues the method's own work after the last finished step; {} for nothing."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a `state`, after `begin`; raises `ValueError` for one of another run."""
        return

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Names and values that the method adds to the run's summary."""
        return ()


class NoHooks(Hooks):
    """For a method that needs only gradients."""
