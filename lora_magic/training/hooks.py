"""What a method needs from a run besides gradients: a start from the rows, a penalty, a budget.

Knows when it is called; knows no method, no adapter and no Trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from torch import Tensor


class Hooks(Protocol):
    """What a run calls, and when; as it is here, it does nothing."""

    def begin(self, steps: int, batches: Callable[[], Iterable[dict[str, Tensor]]]) -> None:
        """Before the first step: how many there will be, and the batches that they will see."""
        return

    def penalty(self) -> Tensor | None:
        """What is added to the loss of each pass; the reported loss is without it."""
        return None

    def after_update(self, step: int) -> None:
        """After the optimizer's step, counted from 1, while the gradients are still there."""
        return

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What the run's summary shows of the method."""
        return ()


class NoHooks(Hooks):
    """For a method that trains by gradients alone."""
