"""Interrupts (■): deferred while something must finish, or recorded as a request to stop.

Knows signals and events; does not know the work. Every room may import it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def undisturbed() -> Iterator[None]:
    """Defer an interrupt until the block has ended, then raise it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    deferred: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: deferred.append(number))
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
    if deferred and before is not signal.SIG_IGN:
        raise KeyboardInterrupt


class Stop:
    """A request to end a run, by an event or by interrupting the kernel.

    As a context manager in the main thread it handles interrupts: the first sets `requested`, which
    lets the step finish; a second raises `KeyboardInterrupt` at once. On exit the previous handler
    is restored.
    """

    def __init__(self, event: threading.Event | None = None) -> None:
        self._event, self._interrupted = event, False
        self._before: Any = None

    @property
    def requested(self) -> bool:
        """Whether to end after this step."""
        return self._interrupted or (self._event is not None and self._event.is_set())

    def request(self) -> None:
        """Request the end, as the first interrupt does."""
        self._interrupted = True

    def __enter__(self) -> Stop:
        main = threading.current_thread() is threading.main_thread()
        # A process that ignores interrupts, as under nohup, keeps ignoring them.
        if main and signal.getsignal(signal.SIGINT) not in (None, signal.SIG_IGN):
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _note(self, number: int, frame: object) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self.request()
        # A block around this one, such as a row of runs, is to end too.
        outer = getattr(self._before, "__self__", None)
        if isinstance(outer, Stop):
            outer.request()
