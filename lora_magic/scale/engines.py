"""Starts an engine for a block: accelerate's workers on this machine, or those of a Ray cluster.

Knows which engine a name means, and what to type if its library is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

from lora_magic.errors import WorkerError

from .work import ACCELERATE, RAY, Engine, Workers

#: The module that starts an engine, and what to type after %pip install if its library is missing.
_ENGINES = {
    ACCELERATE: ("lora_magic.scale.local", "accelerate"),
    RAY: ("lora_magic.scale.ray.engine", '"lora_magic[ray]"'),
}


@contextmanager
def started(workers: Workers) -> Iterator[Engine]:
    """Workers for the block; after it nothing of them is left running.

    Raises `WorkerError` within 30 s for a library that is missing, a cluster that cannot be reached
    or has fewer free processors or GPUs than workers, and a `shared` folder that workers do not
    see.
    """
    module, install = _ENGINES[workers.engine]
    if find_spec(workers.engine) is None:
        raise WorkerError(
            f"--engine {workers.engine} needs the package {workers.engine}, which is not "
            f"installed; type: %pip install {install}"
        )
    with import_module(module).started(workers) as engine:
        yield engine
