"""Workers that each do the next work, as Ray's actors, made anew if they are lost.

Knows actors, and works by their number; does not know what a work is.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from lora_magic.errors import WorkerError, sentence
from lora_magic.scale.process import ERROR
from lora_magic.scale.work import Note, Seat, Workers

from .board import Receiver, Said, Sender, done, raised

#: How often a work is done again.
AGAIN = 3

#: Seconds in which one worker at least must start.
_START = 60.0


class Worker:
    """One worker: an actor with a processor, and a GPU if it computes on one."""

    def __init__(self, cuda: bool) -> None:
        self._device = "cuda:0" if cuda else "cpu"

    def hello(self) -> None:
        """Returns once the actor has started."""

    def do(self, work: bytes, board: Any, number: int) -> tuple[str, bytes]:
        """Do a work; returns its result or its error, after its events."""
        from lora_magic.training.world import Alone

        with Sender(board, number) as sender:
            return done(work, lambda: Seat(Alone(), self._device, sender.stop, sender.tell), "")


class Pool:
    """The actors of a block; they stay between calls of `do`."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._idle: list[Any] = []
        self._coming: dict[Any, Any] = {}

    def do(
        self, works: Sequence[bytes], stop: threading.Event, tell: Callable[[object], None]
    ) -> list[bytes]:
        """The results in order, as frames. Raises a work's error, and `WorkerError`."""
        receiver = Receiver(stop)
        schedule = _Schedule(works, receiver.board, tell)
        since = time.monotonic()
        while schedule.left:
            busy = len(schedule.doing)
            self._call(schedule.left - busy, self._workers.count - busy)
            schedule.give(self._idle)
            if schedule.doing or self._idle:
                since = time.monotonic()
            elif time.monotonic() > since + _START:
                raise WorkerError(f"no worker started within {_START:.0f} s; try: ray status")
            every = [*schedule.doing, *self._coming]
            for ready in ray.wait(every, num_returns=len(every), timeout=0)[0]:
                self._idle += self._come(ready) if ready in self._coming else schedule.take(ready)
            schedule.hear(receiver.heard())
        schedule.hear(receiver.rest())
        return schedule.results()

    def close(self) -> None:
        """End the actors; may be called twice."""
        for worker in [*self._idle, *self._coming.values()]:
            ray.kill(worker)
        self._idle, self._coming = [], {}

    def _call(self, wanted: int, room: int) -> None:
        """Start actors, as many as there is work and room for."""
        kind = ray.remote(num_cpus=1, num_gpus=int(self._workers.cuda))(Worker)
        for _ in range(min(wanted, room) - len(self._idle) - len(self._coming)):
            worker = kind.remote(self._workers.cuda)
            self._coming[worker.hello.remote()] = worker

    def _come(self, ready: Any) -> list[Any]:
        worker = self._coming.pop(ready)
        try:
            ray.get(ready)
        except RayError as error:
            raise WorkerError(f"a worker cannot start: {sentence(error)}") from None
        return [worker]


class _Schedule:
    """The works of one call: those to do, those that are being done, and the results."""

    def __init__(self, works: Sequence[bytes], board: Any, tell: Callable[[object], None]) -> None:
        self._works, self._board, self._tell = works, board, tell
        self._todo = deque(range(len(works)))
        self._lost: Counter[int] = Counter()
        self._results: dict[int, bytes] = {}
        #: The references of what is being done, with the actor and the number of the work.
        self.doing: dict[Any, tuple[Any, int]] = {}

    @property
    def left(self) -> int:
        """Works without a result."""
        return len(self._works) - len(self._results)

    def give(self, idle: list[Any]) -> None:
        """Let idle actors do the next works."""
        while self._todo and idle:
            worker, number = idle.pop(), self._todo.popleft()
            reference = worker.do.remote(self._works[number], self._board, number)
            self.doing[reference] = worker, number

    def take(self, ready: Any) -> list[Any]:
        """Keep a result; returns the actor, or none if it was lost. Raises the work's error."""
        worker, number = self.doing.pop(ready)
        try:
            kind, frame = ray.get(ready)
        except RayError as error:
            # Its end has many classes: it died, its node did, or memory ran out there. An error of
            # the work itself is no exception, but a frame.
            self._lost[number] += 1
            if self._lost[number] > AGAIN:
                raise WorkerError(
                    f"the worker of work {number} was lost {AGAIN + 1} times: {sentence(error)}"
                ) from None
            self._todo.appendleft(number)
            self._tell((-1, Note("a worker was lost; its work is done again")))
            return []
        if kind == ERROR:
            raised(frame)
        self._results[number] = frame
        return [worker]

    def hear(self, said: list[Said]) -> None:
        """Pass on what the workers said."""
        for number, _, event in said:
            self._tell((number, event))

    def results(self) -> list[bytes]:
        """All of them, in order."""
        return [self._results[number] for number in range(len(self._works))]
