"""Evaluation mode for the length of a block; then every module's mode is restored.

Knows a model's modules; knows no adapter and no session.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from .device import fitting_threads
from .restore import modes, restoring


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and one thread for a small model; both are restored afterwards."""
    with restoring(modes(model)):
        model.eval()
        with fitting_threads(model):
            yield
