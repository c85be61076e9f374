"""Between Ray's workers and the driver: what workers say, and whether the person asks to stop.

Knows frames and a flag; does not know what is said. Imports no torch.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any

import ray
from ray.exceptions import RayError

from lora_magic.errors import WorkerError, sentence
from lora_magic.scale.child import told
from lora_magic.scale.process import ERROR, EVENT, RESULT, PeerLostError, packed
from lora_magic.scale.work import Seat

from .cluster import Heartbeat, here

#: What a worker says: its number, or that of its work; a kind, and a frame.
Said = tuple[int, str, Any]

#: Seconds between two messages of a worker, and two of the driver.
PAUSE = 0.2

#: The controller of a group says which workers were lost.
LOST = "lost"


class Board:
    """The actor between them; it needs no processor."""

    def __init__(self) -> None:
        self._said: list[Said] = []
        self._halted = False
        self._lost = 0

    def say(self, said: list[Said]) -> bool:
        """Keep what a worker says; returns whether to stop."""
        self._said += said
        return self._halted

    def heard(self) -> list[Said]:
        """What was said since the last call."""
        said, self._said = self._said, []
        return said

    def halt(self) -> None:
        """From now on `say` returns True."""
        self._halted = True

    def lose(self, ranks: list[int]) -> None:
        """A group was lost because of these workers."""
        self._lost += 1
        self._said.append((-1, LOST, ranks))

    def losses(self) -> int:
        """How often a group was lost."""
        return self._lost


class Receiver:
    """The driver's end: what is on the board, `stop` passed on, and a cluster that is lost."""

    def __init__(self, stop: threading.Event) -> None:
        self.board = ray.remote(num_cpus=0)(Board).options(scheduling_strategy=here()).remote()
        self._stop, self._halted, self._heartbeat = stop, False, Heartbeat()
        self._asked = self.board.heard.remote()

    def heard(self) -> list[Said]:
        """What was said since the last call, after a pause. Raises `WorkerError`."""
        self._heartbeat.beat()
        if self._stop.is_set() and not self._halted:
            self._halted = True
            self.board.halt.remote()
        time.sleep(PAUSE)
        # No limit: on a busy machine the board itself may take long to start.
        if not ray.wait([self._asked], timeout=PAUSE)[0]:
            return []
        return self._received()

    def rest(self) -> list[Said]:
        """What was said since the last call, once all is; ends the board."""
        last = [*self._received(), *self._received()]
        ray.kill(self.board)
        return last

    def _received(self) -> list[Said]:
        try:
            said: list[Said] = ray.get(self._asked)
        except RayError as error:
            raise WorkerError(f"the Ray cluster was lost: {sentence(error)}") from None
        self._asked = self.board.heard.remote()
        return said


class Sender:
    """A worker's connection for one work: `tell` is heard in order, and `stop` is set in time."""

    def __init__(self, board: Any, number: int) -> None:
        self.stop = threading.Event()
        self._board, self._number = board, number
        self._queue: SimpleQueue[Said] = SimpleQueue()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def __enter__(self) -> Sender:
        self._send()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        self._thread.join()
        self._send()

    def say(self, kind: str, frame: bytes) -> None:
        """Say it at the next message."""
        self._queue.put((self._number, kind, frame))

    def tell(self, event: object) -> None:
        """Say an event; raises `WorkerError` for one that cannot be sent."""
        self.say(EVENT, packed(event, "the event of the work"))

    def _talk(self) -> None:
        # Without its board this worker is about to be ended.
        with suppress(RayError):
            while not self._closed.wait(PAUSE):
                self._send()

    def _send(self) -> None:
        said: list[Said] = []
        with suppress(Empty):
            while True:
                said.append(self._queue.get_nowait())
        if ray.get(self._board.say.remote(said)):
            self.stop.set()


def done(work: bytes, seated: Callable[[], Seat], prefix: str) -> tuple[str, bytes]:
    """Do a work; returns its result, or its error, which must reach the notebook, not Ray.

    Raises `PeerLostError`: Ray then starts the workers again.
    """
    try:
        asked = pickle.loads(work)
        seat = seated()
        module, _, name = asked.target.partition(":")
        result = getattr(import_module(module), name)(asked.request, seat)
        return RESULT, packed(result, "the result of the work")
    except PeerLostError:
        raise
    except BaseException as error:  # noqa: BLE001  # the kernel raises it
        return ERROR, pickle.dumps(told(error, prefix))


def raised(frame: bytes) -> None:
    """Raise a worker's error."""
    kind, message = pickle.loads(frame)
    raise kind(message)
