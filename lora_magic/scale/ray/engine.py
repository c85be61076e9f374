"""The kernel's side of Ray: a driver process for a block, and what it is asked.

Knows what the driver is sent and what comes back. Does not import ray, which ends a process whose
cluster is lost: that must never be the kernel.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from lora_magic.errors import WorkerError, sentence
from lora_magic.scale.process import WORK, Processes, packed, processes
from lora_magic.scale.work import Engine, Note, Work, Workers

from .address import answers, chosen
from .storage import Storage, storage

#: Seconds for the cluster to accept the driver, and for a first function on each node, to which Ray
#: copies this package.
_CONNECT, _REACH = 25.0, 60.0

#: Seconds for Ray to end its processes after the work; it ends them without the driver, too.
_LEAVE = 10.0

#: What Ray reads in the driver and passes on to its own processes. It looks at the workers often,
#: since a run ends only after such a look. Where there is no place for the workers it gives up
#: after seconds, not hours. Of a node that is about to be taken away it does not warn, for which it
#: would start one more process: the workers go on from a checkpoint as after any other loss.
_ENVIRONMENT: Mapping[str, str] = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "25",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # The driver's own choice of an address is in its request.
    "RAY_ADDRESS": "",
}


@contextmanager
def started(workers: Workers) -> Iterator[Engine]:
    """The engine for the block; no actor of it is left after it.

    Raises `WorkerError`, within 30 s for a cluster that cannot be reached or has fewer processors
    or GPUs free than workers, and for a `shared` folder that a node does not share.
    """
    address = chosen(workers.address)
    with storage(workers.shared) as folder, processes() as driver:
        driver.start("the Ray driver", "lora_magic.scale.ray.driver", _ENVIRONMENT)
        engine = Cluster(driver, workers, address, folder)
        engine.connect()
        yield engine
        engine.leave()


class Cluster(Engine):
    """Workers of a cluster. An exception in a call ends them all; later calls then fail."""

    def __init__(self, driver: Processes, workers: Workers, address: str, folder: Storage) -> None:
        self._driver, self._workers, self._folder = driver, workers, folder
        self._address = address
        self.line = ""

    def connect(self) -> None:
        """Reach the cluster, and look at what it has."""
        name = f"the Ray cluster {self._address}"
        refused = _Until(
            _CONNECT,
            f"{name} did not answer within {_CONNECT:.0f} s: another program has that port, or "
            "this machine is no node of the cluster; make it one, in a terminal: "
            f"ray start --address={self._address} --num-cpus=0",
        )
        request = ("connect", self._workers, self._address)
        self._address, cuda = self._asked(request, _ignore, refused)
        gpus = ", on GPUs" if cuda else ""
        self.line = f"{self._workers.named} (Ray, {self._address}{gpus})"
        slow = f"the nodes of {name} did not start a process within {_REACH:.0f} s; try: ray status"
        self._asked(("reach", self._workers.shared), _ignore, _Until(_REACH, slow))

    def leave(self) -> None:
        """Let Ray end its processes."""
        with suppress(WorkerError):
            self._driver.ask(("leave",), _ignore, _Until(_LEAVE, "late"))

    def group(self, work: Work, listen: Callable[[object], None], stop: Callable[[], bool]) -> Any:
        """Let all workers do one work together; returns worker 0's result.

        When a worker is lost, Ray starts all of them again, at most three times; their `seat.lost`
        says how often.
        """
        request = ("group", packed(work, WORK), str(self._folder.path))
        self._folder.hold()
        return _read(self._asked(request, lambda event: listen(_read(event)), stop))

    def each(
        self,
        works: Sequence[Work],
        listen: Callable[[int, object], None],
        stop: Callable[[], bool],
    ) -> list[Any]:
        """Let each worker do the next work that nobody does yet; returns their results in order.

        A work whose worker was lost is done again, at most three times. After `stop()`, works that
        nobody has begun are still called, with `seat.stop` set.
        """
        request = ("each", [packed(work, WORK) for work in works])
        results: list[bytes] = self._asked(
            request, lambda event: listen(event[0], _read(event[1])), stop
        )
        return [_read(result) for result in results]

    def _asked(self, request: Any, listen: Callable[[Any], None], stop: Callable[[], bool]) -> Any:
        try:
            return self._driver.ask(request, listen, stop)
        except BaseException as error:
            # Ray ends what a driver that is gone has started.
            self._driver.close()
            known = ":" in self._address
            # A driver whose cluster is gone may end without a word.
            if isinstance(error, WorkerError) and known and not answers(self._address):
                raise WorkerError(f"the Ray cluster at {self._address} was lost") from error
            raise


class _Until:
    """A `stop` that raises when the time is over."""

    def __init__(self, seconds: float, error: str) -> None:
        self._end, self._error = time.monotonic() + seconds, error

    def __call__(self) -> bool:
        if time.monotonic() > self._end:
            raise WorkerError(self._error)
        return False


def _read(said: bytes | Note) -> Any:
    """A worker's event or result, or a note of the driver."""
    if isinstance(said, Note):
        return said
    try:
        return pickle.loads(said)
    except Exception as error:  # noqa: BLE001  # any object's own error
        raise WorkerError(f"what a worker sent cannot be read: {sentence(error)}") from None


def _ignore(event: object) -> None:
    """Nothing is said yet."""
