"""A person's wish to end a run.

Knows signals and events; knows no Trainer and no notebook.
"""

from __future__ import annotations

import signal
import threading
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
