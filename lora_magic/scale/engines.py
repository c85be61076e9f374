"""Starts an engine for a block: accelerate's workers on this machine, or those of a Ray cluster.

Knows which engine a name means, and what to type if its library is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .work import Engine, Workers


@contextmanager
def started(workers: Workers) -> Iterator[Engine]:
    """Workers for the block; after it nothing of them is left running.

    Raises `WorkerError` within 30 s for a library that is missing, a cluster that cannot be reached
    or has fewer free processors or GPUs than workers, and a `shared` folder that workers do not
    see.
    """
    raise NotImplementedError(workers)
    yield
