"""A person's wish to end a run, and interrupts that have to wait.

Knows signals and events; knows no Trainer and no notebook.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stop:
    """Whether a person wants the run to end: by an event, or by interrupting the kernel.

    As a context, in the main thread, it takes over the interrupt: the first is noted, so that the
    step can end, and a second raises `KeyboardInterrupt` at once. What handled it before handles
    it again afterwards.
    """

    def __init__(self, event: threading.Event | None = None) -> None:
        self._event, self._interrupted = event, False
        self._before: Any = None

    @property
    def wanted(self) -> bool:
        """Whether to end after this step."""
        return self._interrupted or (self._event is not None and self._event.is_set())

    def __enter__(self) -> Stop:
        main = threading.current_thread() is threading.main_thread()
        # Who ignores interrupts, as under nohup, goes on ignoring them.
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
        self._interrupted = True


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold an interrupt back until the block has ended, then raise it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
    if came and before is not signal.SIG_IGN:
        raise KeyboardInterrupt
