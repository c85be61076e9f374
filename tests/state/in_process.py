"""An engine whose one worker is this process: what workers do, without starting any.

All that is sent is pickled, as for another process.
"""

from __future__ import annotations

import pickle
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest

from lora_magic.scale import engines
from lora_magic.scale.work import Engine, Note, Seat, Work, Workers
from lora_magic.state import sent
from lora_magic.training.world import Alone

LINE = "2 workers (here)"


class LostError(BaseException):
    """The worker is gone."""


class AbortedError(BaseException):
    """The person has interrupted the kernel again, which ends its workers."""


class InProcess(Engine):
    """`before` is called with each event, before it is passed on; it may raise these."""

    line = LINE

    def __init__(self) -> None:
        self.asked: list[Workers] = []
        self.running = 0
        self.before: Callable[[object], None] = lambda event: None

    @contextmanager
    def started(self, workers: Workers) -> Iterator[Engine]:
        self.asked.append(workers)
        self.running += 1
        try:
            yield self
        finally:
            self.running -= 1

    def group(self, work: Work, listen: Callable[[object], None], stop: Callable[[], bool]) -> Any:
        event, lost, shown = threading.Event(), 0, warnings.showwarning
        if stop():  # the workers import their libraries and read the base
            event.set()

        def tell(said: object) -> None:
            self.before(said)
            with warnings.catch_warnings():
                # A worker has changed it, in its own process.
                warnings.showwarning = shown
                listen(pickle.loads(pickle.dumps(said)))
            if stop():
                event.set()

        module, _, name = work.target.partition(":")
        while True:
            request = pickle.loads(pickle.dumps(work.request))
            seat = Seat(Alone(), "cpu", event, tell, lost)
            try:
                found = getattr(import_module(module), name)(request, seat)
                return pickle.loads(pickle.dumps(found))
            except LostError:
                lost += 1
                listen(Note("worker 1 was lost"))
            except AbortedError:
                raise KeyboardInterrupt from None

    def each(
        self,
        works: Sequence[Work],
        listen: Callable[[int, object], None],
        stop: Callable[[], bool],
    ) -> list[Any]:
        return [
            self.group(work, lambda event, at=at: listen(at, event), stop)  # type: ignore[misc]
            for at, work in enumerate(works)
        ]


def in_process(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """Let every engine be this process, which has read no base for others yet."""
    made = InProcess()
    monkeypatch.setattr(engines, "started", made.started)
    monkeypatch.setattr(sent, "_opened", {})
    return made
