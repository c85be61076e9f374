"""The driver process of a Ray job: connects to the cluster, and does what the kernel asks.

Started by `engine`; the kernel's end ends it, and Ray then ends what it has started. Knows the
kernel's requests by their names.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module

from lora_magic.scale.child import serve
from lora_magic.scale.work import Workers

from . import cluster
from .pool import Pool

Tell = Callable[[object], None]

#: It imports torch, which takes seconds: they pass while the nodes start their processes.
_GROUP = "lora_magic.scale.ray.group"


def main() -> None:
    """The driver process."""
    driver = Driver()
    serve(lambda request, stop, tell: getattr(driver, request[0])(*request[1:], stop, tell))


class Driver:
    """Requests, each with the event that asks to stop and the function that tells the kernel."""

    _workers: Workers
    _pool: Pool

    def connect(
        self, workers: Workers, address: str, stop: threading.Event, tell: Tell
    ) -> tuple[str, bool]:
        """Connect, and wait for free processors.

        Returns the cluster's address, and whether the workers compute on GPUs.
        """
        found = cluster.connect(address)
        self._workers = workers = cluster.on_gpus(workers)
        self._pool = Pool(workers)
        cluster.wait_for(workers)
        return found, workers.cuda

    def reach(self, shared: str, stop: threading.Event, tell: Tell) -> None:
        """Start a process on each node, and see that all share a folder."""
        if shared:  # a group comes next
            threading.Thread(target=import_module, args=(_GROUP,), daemon=True).start()
        cluster.reach(shared)

    def group(self, work: bytes, storage: str, stop: threading.Event, tell: Tell) -> bytes:
        """Worker 0's result, as a frame."""
        from .group import run_group

        self._pool.close()
        return run_group(work, self._workers, storage, stop, tell)

    def each(self, works: list[bytes], stop: threading.Event, tell: Tell) -> list[bytes]:
        """The results, as frames."""
        return self._pool.do(works, stop, tell)

    def leave(self, stop: threading.Event, tell: Tell) -> None:
        """End the actors, and the connection."""
        self._pool.close()
        cluster.leave(self._workers)
