"""An engine whose one worker is this process: what workers do, without starting any.

All that is sent is pickled, as for another process.
"""

from __future__ import annotations

import pickle
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
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
    """`begins` is called with each work, and `before` with each event before it is passed on: they
    may raise these.

    The works of `each` that are in `losing`, by number, are done twice: the first time their worker
    is lost at its end.
    """

    line = LINE

    def __init__(self) -> None:
        self.asked: list[Workers] = []
        self.works: list[Work] = []
        self.losing: set[int] = set()
        self.running = 0
        self.begins: Callable[[Work], None] = lambda work: None
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
        self._begin(work)
        lost = 0
        while True:
            try:
                return self._done(work, listen, stop, lost)
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
        found = []
        for number, work in enumerate(works):
            self._begin(work)
            hear = partial(listen, number)
            if number in self.losing:
                self._done(work, hear, stop)
                listen(-1, Note("worker 0 was lost; its work is done again"))
            found.append(self._done(work, hear, stop))
        return found

    def _begin(self, work: Work) -> None:
        self.works.append(work)
        self.begins(work)

    def _done(
        self, work: Work, listen: Callable[[object], None], stop: Callable[[], bool], lost: int = 0
    ) -> Any:
        asked, shown = threading.Event(), warnings.showwarning
        if stop():  # the workers import their libraries and read the base
            asked.set()

        def tell(said: object) -> None:
            self.before(said)
            with warnings.catch_warnings():
                # A worker has changed it, in its own process.
                warnings.showwarning = shown
                listen(pickle.loads(pickle.dumps(said)))
            if stop():
                asked.set()

        sent: Work = pickle.loads(pickle.dumps(work))
        return pickle.loads(pickle.dumps(sent.done(Seat(Alone(), "cpu", asked, tell, lost))))


def in_process(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """Let every engine be this process, which has read no base for others yet."""
    made = InProcess()
    monkeypatch.setattr(engines, "started", made.started)
    monkeypatch.setattr(sent, "_opened", {})
    return made
