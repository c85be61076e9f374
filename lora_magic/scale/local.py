"""Workers on this machine: one process each, joined by accelerate.

Knows processor cores, GPUs and the environment that accelerate reads; `process` has the processes,
`child` what runs in them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lora_magic.errors import WorkerError

from .process import processes
from .work import Engine, Work, Workers


@contextmanager
def started(workers: Workers) -> Iterator[Engine]:
    """The engine for the block. Raises `WorkerError` for more workers than GPUs."""
    if workers.cuda:
        _refuse_shared_gpus(workers.count)
    yield Local(workers)


class Local(Engine):
    """Starts its workers for each work, and ends them after it."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.line = f"{workers.named} (this machine)"

    def group(self, work: Work, listen: Callable[[object], None], stop: Callable[[], bool]) -> Any:
        """Let all workers do one work together; returns worker 0's result."""
        with processes() as team:
            for rank, environment in enumerate(_environments(self._workers.count)):
                team.start(f"worker {rank}", "lora_magic.scale.child", environment)
            return team.ask((work, self._workers.cuda), listen, stop)

    def each(self, *_: Any, **__: Any) -> list[Any]:
        """Raises `WorkerError`: only Ray's workers take works one by one."""
        raise WorkerError("--engine accelerate does one work at a time; type --engine ray")


def _environments(count: int) -> Iterator[Mapping[str, str]]:
    """What accelerate and torch read, for each worker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": str(max(1, (cores or 1) // count)),
        **_loopback(),
    }
    for rank in range(count):
        yield {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}


def _loopback() -> dict[str, str]:
    """gloo looks this machine's name up, which may lead to nothing, or to another network."""
    if "GLOO_SOCKET_IFNAME" in os.environ:
        return {}
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    return {"GLOO_SOCKET_IFNAME": names[0]} if names else {}


def _refuse_shared_gpus(count: int) -> None:
    import torch  # it is loaded: the base is on a GPU, so there is one

    found = torch.cuda.device_count()
    if count > found:
        raise WorkerError(
            f"--workers {count}: this machine has {found} GPU{'s' * (found > 1)}, and each worker "
            f"computes on one of its own; type --workers {found}"
        )
