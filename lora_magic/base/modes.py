"""Evaluation mode for the length of a block; afterwards every module is in the mode it was in.

Knows a model's modules; knows no adapter and no session.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from lora_magic.interrupts import undisturbed

from .device import fitting_threads


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no more threads than the model is worth; after it all is as found."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with fitting_threads(model):
            yield
    finally:
        with undisturbed():
            for module, training in modes:
                module.training = training
