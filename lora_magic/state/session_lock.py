"""One at a time: a session is used by a cell, or by a control of a panel, never by both at once.

A front end may run a control's callback in another thread while a cell is busy, and a training or
an answer has the model's slots to itself. Knows threads; knows no verb and no model.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from weakref import WeakMethod

from lora_magic.errors import StateError


class SessionLock:
    """Who may use a session now, and who wants to hear that it was used.

    The main thread waits for its turn, since a cell has nothing better to do and ■ ends the
    waiting; any other thread is told that the session is busy. `doing` is what it is told: whoever
    has the turn says it.
    """

    def __init__(self) -> None:
        self.doing = ""
        self._lock = threading.RLock()
        self._local = threading.local()
        self._listeners: list[WeakMethod[Callable[[], None]]] = []

    def turn(self) -> AbstractContextManager[object]:
        """Have the session for the length of a `with`.

        Raises `StateError` off the main thread, or `at_once`, while another thread has it.
        """
        hurried = getattr(self._local, "hurried", False)
        if threading.current_thread() is threading.main_thread() and not hurried:
            # The lock itself: between taking it and the block, and between the block and giving it
            # back, no interrupt falls, as it would in a generator or a method of ours.
            return self._lock
        if not self._lock.acquire(blocking=False):
            raise StateError(
                f"the session is busy with {self.doing}; try again when that has ended."
            )
        taken = ExitStack()
        taken.callback(self._lock.release)
        return taken

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within this nobody waits for a turn, the main thread neither.

        Where a kernel has no subshells, a control's callback runs there: what waits in it keeps
        the next callback waiting, which may be the Stop that would end its waiting.
        """
        self._local.hurried = True
        try:
            yield
        finally:
            self._local.hurried = False

    def listen(self, changed: Callable[[], None]) -> None:
        """Call a method after every verb, for as long as its object lives."""
        self._listeners.append(WeakMethod(changed))

    def tell(self) -> None:
        """Tell the listeners that a verb has ended; those whose objects are gone are forgotten.

        The verb has done what it did: what goes wrong in a listener is logged, and not raised.
        """
        for reference in list(self._listeners):
            method = reference()
            if method is None:
                self._listeners.remove(reference)
                continue
            try:
                method()
            except Exception:
                logging.getLogger(__name__).exception("a control could not follow the session")
