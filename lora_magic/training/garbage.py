"""The cycles that a run leaves behind, collected without walking through everything else.

Knows the garbage collector; knows no model.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_garbage() -> Iterator[None]:
    """Collect the block's own cycles at its end: a Trainer and its optimizer refer to each other.

    A collection walks through every object of the kernel, half a second with these libraries, and
    accelerate asks for one at each run. What stood before is set aside for the while, except where
    a GPU's memory may hang on it, and where somebody else has frozen objects of their own.
    """
    aside = not torch.cuda.is_available() and gc.get_freeze_count() == 0
    if aside:
        gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        if aside:
            gc.unfreeze()
