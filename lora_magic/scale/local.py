"""Workers on this machine: one process each, joined by accelerate.

Knows processor cores, GPUs and the environment that accelerate reads; `process` has the processes,
`child` what runs in them.
"""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    yield Local(workers, _gpus(workers.count) if workers.cuda else [])


class Local(Engine):
    """Starts its workers for each work, and ends them after it; `gpus` are those they may see."""

    def __init__(self, workers: Workers, gpus: Sequence[str]) -> None:
        self._workers, self._gpus = workers, gpus
        self.line = f"{workers.named} (this machine)"

    def group(self, work: Work, listen: Callable[[object], None], stop: Callable[[], bool]) -> Any:
        """Let all workers do one work together; returns worker 0's result."""
        with _folder() as folder, processes() as team:
            for rank, environment in enumerate(_environments(self._workers.count, self._gpus)):
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


def _environments(count: int, gpus: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """What accelerate and torch read, for each worker.

    With GPUs a worker sees its own alone. The Trainer, which believes that it is alone, would take
    the first of several, and the generators' states in a checkpoint would be those of all.
    """
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
        own = {"CUDA_VISIBLE_DEVICES": gpus[rank]} if gpus else {}
        yield {**common, **own, "RANK": str(rank), "LOCAL_RANK": str(rank)}


def _loopback() -> dict[str, str]:
    """gloo looks this machine's name up, which may lead to nothing, or to another network."""
    if "GLOO_SOCKET_IFNAME" in os.environ:
        return {}
    names = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    return {"GLOO_SOCKET_IFNAME": names[0]} if names else {}


def _gpus(count: int) -> list[str]:
    """One GPU for each worker, by the names that CUDA_VISIBLE_DEVICES takes.

    Those on which this process has least come first: its base stays where it is, and a worker
    there needs room for a second one. Raises `WorkerError` for more workers than GPUs.
    """
    import torch  # it is loaded, and has found a GPU

    found, seen = torch.cuda.device_count(), os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",")[:found] if seen else [str(number) for number in range(found)]
    if count > (own := len(names)):
        raise WorkerError(
            f"--workers {count}: this machine has {own} GPU{'s' * (own > 1)}, and each worker "
            f"computes on one of its own; type --workers {own}"
        )
    free = sorted(range(own), key=torch.cuda.memory_reserved)
    return [names[number] for number in free[:count]]
