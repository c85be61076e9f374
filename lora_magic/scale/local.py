"""Workers on this machine: one process each, joined by accelerate.

Knows processor cores, GPUs and the environment that accelerate reads; `process` has the processes,
`child` what runs in them.
"""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lora_magic.errors import WorkerError

from .process import FOLDER, processes
from .work import Engine, Work, Workers

#: What names a worker's folder for temporary files, on any system, and for `child`.
_FOLDERS = ("TMPDIR", "TEMP", "TMP", FOLDER)


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
        with _folder() as folder, processes() as team:
            for rank, environment in enumerate(_environments(self._workers.count)):
                environment = {**environment, **dict.fromkeys(_FOLDERS, folder)}
                team.start(f"worker {rank}", "lora_magic.scale.child", environment)
            return team.ask((work, self._workers.cuda), listen, stop)

    def each(self, *_: Any, **__: Any) -> list[Any]:
        """Raises `WorkerError`: only Ray's workers take works one by one."""
        raise WorkerError("--engine accelerate does one work at a time; type --engine ray")


def cores() -> int:
    """The cores that this process may use: its affinity, and a container's share of time."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota = re.match(r"(\d+) (\d+)", Path("/sys/fs/cgroup/cpu.max").read_text("ascii"))
    except (OSError, UnicodeDecodeError):
        quota = None
    share = math.ceil(int(quota[1]) / int(quota[2])) if quota else allowed
    return max(1, min(allowed or 1, share or 1))


@contextmanager
def _folder() -> Iterator[str]:
    """A temporary folder for what workers leave when they are killed."""
    try:
        folder = TemporaryDirectory(prefix="lora_magic-workers-", ignore_cleanup_errors=True)
    except OSError as error:
        raise WorkerError(
            f"workers need a temporary folder: {error.strerror or error}; free some space, or name "
            "another one in TMPDIR before the kernel starts"
        ) from None
    with folder as name:
        yield name


def _environments(count: int) -> Iterator[Mapping[str, str]]:
    """What accelerate and torch read, for each worker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": str(max(1, cores() // count)),
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
