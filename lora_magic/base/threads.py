"""How many threads a model is worth.

Knows torch's threads and a model's size. Below some ten million parameters a second thread wins
little on an idle CPU, and where another process has that core, or a container counts more cores
than it may use, the threads wait for each other. Measured on two cores with the embedded model
(tests/benchmarks/threads_speed.py): on two threads training takes 0.73 of the time on one when the
machine is idle, and 2.2 times as long, comparing 4.3 times, when one core is busy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

#: Models with fewer parameters than this run on one thread.
SMALL = 10_000_000


@contextmanager
def fitting_threads(model: nn.Module) -> Iterator[None]:
    """One thread for a small model on the CPU for the length of a block, then as many as before."""
    before = torch.get_num_threads()
    first = next(model.parameters(), None)
    small = first is not None and first.device.type == "cpu" and _size(model) < SMALL
    if not small or before == 1:
        yield
        return
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
