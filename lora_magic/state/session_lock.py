"""The session's lock: a cell or a panel's control uses the session, never both at once.

A front end may run a control's callback in another thread while a cell is busy. Knows threads;
knows no verb and no model.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from weakref import WeakMethod

from lora_magic.errors import StateError


class SessionLock:
    """A lock on a session, and listeners that are called before and after every verb.

    The main thread waits for the lock (■ ends the wait); any other thread gets an error that names
    `doing`, which the holder of the lock sets.
    """

    def __init__(self) -> None:
        self.doing = ""
        self._lock = threading.RLock()
        self._local = threading.local()
        self._listeners: list[WeakMethod[Callable[[str], None]]] = []

    def locked(self, seconds: float = 0.0) -> AbstractContextManager[object]:
        """Lock the session during a `with` block.

        Raises `StateError` if another thread still has the lock after so many seconds, except in
        the main thread outside `at_once`.
        """
        at_once = getattr(self._local, "at_once", False)
        if threading.current_thread() is threading.main_thread() and not at_once:
            # The lock itself: with a generator or a class of ours, an interrupt could come between
            # acquiring the lock and the block, or between the block and the release.
            return self._lock
        if not self._lock.acquire(timeout=seconds):
            raise StateError(
                f"the session is busy with {self.doing}; try again when it has finished."
            )
        acquired = ExitStack()
        acquired.callback(self._lock.release)
        return acquired

    @contextmanager
    def free(self) -> Iterator[bool]:
        """Lock the session during a `with` block, unless another thread has; says which."""
        acquired = self._lock.acquire(blocking=False)
        try:
            yield acquired
        finally:
            if acquired:
                self._lock.release()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """In this block no thread waits for the lock, not even the main thread.

        A kernel without subshells runs a control's callbacks in the main thread: one that waits
        blocks the next, which may be the click on Stop that would end the wait.
        """
        self._local.at_once = True
        try:
            yield
        finally:
            self._local.at_once = False

    def listen(self, changed: Callable[[str], None]) -> None:
        """Call this method before every verb with its name and after it with "", as long as its
        object lives."""
        self._listeners.append(WeakMethod(changed))

    def notify(self, doing: str = "") -> None:
        """Call the listeners before or after a verb; drop those whose objects no longer exist.

        An error in a listener is not the verb's, so it is logged, not raised.
        """
        for reference in list(self._listeners):
            method = reference()
            if method is None:
                self._listeners.remove(reference)
                continue
            try:
                method(doing)
            except Exception:
                logging.getLogger(__name__).exception("a panel's control could not be updated")
