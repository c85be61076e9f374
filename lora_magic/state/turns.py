"""One at a time: a session is used by a cell, or by a control of a panel, never by both at once.

A front end may run a control's callback in another thread while a cell is busy, and a training or
an answer has the model's slots to itself. Knows threads; knows no verb and no model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakMethod

from lora_magic.errors import StateError


class Turns:
    """Who may use a session now, and who wants to hear that it was used.

    The main thread waits for its turn, since a cell has nothing better to do and ■ ends the
    waiting; any other thread is told that the session is busy.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._doing = ""
        self._listeners: list[WeakMethod[Callable[[], None]]] = []

    @contextmanager
    def turn(self, doing: str) -> Iterator[None]:
        """Have the session for the length of a block; `doing` is what others are told.

        Raises `StateError` off the main thread while another one has it.
        """
        if threading.current_thread() is threading.main_thread():
            # As a statement: no interrupt falls between taking the lock and the block.
            with self._lock:
                self._doing = doing
                yield
            return
        if not self._lock.acquire(blocking=False):
            raise StateError(
                f"the session is busy with {self._doing}; try again when that has ended."
            )
        try:
            self._doing = doing
            yield
        finally:
            self._lock.release()

    def listen(self, changed: Callable[[], None]) -> None:
        """Call a method after every verb, for as long as its object lives."""
        self._listeners.append(WeakMethod(changed))

    def tell(self) -> None:
        """Tell the listeners that a verb has ended; those whose objects are gone are forgotten."""
        for reference in list(self._listeners):
            method = reference()
            if method is None:
                self._listeners.remove(reference)
            else:
                method()
