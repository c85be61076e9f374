"""Interrupts (■): deferred while something must finish, or recorded as a request to stop.

And code of others that is ended after a time. Knows signals, threads and events; does not know the
work. Every room may import it.
"""

from __future__ import annotations

import atexit
import ctypes
import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FrameType
from typing import Any, TypeVar

#: Seconds that the exit of the interpreter waits for a step and a checkpoint.
PATIENCE = 10.0

Result = TypeVar("Result")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Defer an interrupt until the block has ended, then raise it.

    In another such block it is deferred until the outer one has ended.
    """
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
    if deferred and callable(before):
        before(signal.SIGINT, None)
    elif deferred and before is not signal.SIG_IGN:
        raise KeyboardInterrupt


class TooSlowError(Exception):
    """A block took longer than its limit."""


def limited(seconds: float, work: Callable[[], Result]) -> Result:
    """What `work` returns; raises `TooSlowError` in it once it has taken this long.

    It ends Python code, such as a template that loops; one long call of C code is ended late.
    """
    thread, lock = threading.get_ident(), threading.Lock()
    running = inspect.currentframe()
    sent = False

    def end() -> None:
        nonlocal sent
        with lock:
            # An interrupt may have ended `limited` at any line, also before it cancelled the timer.
            if _on_stack(running, thread):
                sent = True
                error = ctypes.py_object(TooSlowError)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    try:
        timer.start()
        return work()
    finally:
        timer.cancel()
        # It may be sent and not yet raised. It is raised here, in a loop, not taken back: Python
        # would look for it from then on, and hang under a debugger's trace function.
        with suppress(TooSlowError):
            with lock:
                running = None
            for _ in range(10 if sent else 0):
                pass


def _on_stack(frame: FrameType | None, thread: int) -> bool:
    """Is a thread running this frame, or something that it called?"""
    now = sys._current_frames().get(thread) if frame is not None else None
    while now is not None and now is not frame:
        now = now.f_back
    return now is not None


class OneInterrupt:
    """A block that is interrupted once: while it is rolled back, further interrupts are ignored.

    Rolling back runs while the first `KeyboardInterrupt` is handled, so that is what is tested. The
    lines of `block`, the function with the block, are not interrupted, only what they call.
    """

    def __init__(self, block: CodeType) -> None:
        self._before: Any = None
        self._late = False
        self._block = block

    def __enter__(self) -> OneInterrupt:
        self._before = _install(self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if self._late and not _rolling_back():
            self._raise()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if _in(frame, {*_INSTALLS, self._block}):
            self._late = True
        elif not _rolling_back():
            self._raise()

    def _raise(self) -> None:
        if callable(self._before):
            self._before(signal.SIGINT, None)
        else:
            raise KeyboardInterrupt


class Stop:
    """A request to end a run, by an event or by interrupting the kernel.

    As a context manager in the main thread it handles interrupts: the first sets `requested`, which
    lets the step finish; a second raises `KeyboardInterrupt`, at once or, if `deferring`, only in
    blocks of `abortable`. On exit the previous handler is restored.
    """

    def __init__(self, event: threading.Event | None = None, *, deferring: bool = False) -> None:
        self._event, self._presses = event, 0
        self._may_raise = not deferring
        self._before: Any = None

    @property
    def requested(self) -> bool:
        """Whether to end after this step."""
        return self._presses > 0 or (self._event is not None and self._event.is_set())

    @property
    def aborted(self) -> bool:
        """Whether a second interrupt asked to end at once."""
        return self._presses > 1

    @contextmanager
    def abortable(self) -> Iterator[None]:
        """A block in which nothing is lost by raising a second interrupt, also an earlier one."""
        if self.aborted:
            raise KeyboardInterrupt
        before, self._may_raise = self._may_raise, True
        try:
            yield
        finally:
            self._may_raise = before

    def request(self) -> None:
        """Request the end, as the first interrupt does."""
        self._presses = max(self._presses, 1)

    def __enter__(self) -> Stop:
        self._before = _install(self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._presses += 1
        self._pass_on()
        if self.aborted and self._may_raise and not (_in(frame, _INSTALLS) or _rolling_back()):
            raise KeyboardInterrupt

    def _pass_on(self) -> None:
        """Request the end of a `Stop` around this one, such as that of a row of runs."""
        outer = getattr(self._before, "__self__", None)
        while isinstance(outer, OneInterrupt):
            outer = getattr(outer._before, "__self__", None)
        if isinstance(outer, Stop):
            outer.request()


@contextmanager
def terminating(stop: Stop) -> Iterator[None]:
    """A block that the end of the process stops as ■ does; the process ends after the block.

    SIGTERM is handled in the main thread. In a daemon thread, which the interpreter ends without
    waiting for it, the interpreter's exit is delayed by at most `PATIENCE` seconds. Nothing can
    delay SIGKILL, nor the default SIGTERM while the main thread is elsewhere.
    """
    received: list[int] = []
    done = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        stop.request()

    def wait() -> None:
        stop.request()
        done.wait(PATIENCE)

    before = _install(note, signal.SIGTERM)
    atexit.register(wait)
    try:
        yield
    finally:
        done.set()
        atexit.unregister(wait)
        if before is not None:
            signal.signal(signal.SIGTERM, before)
        if received:
            signal.raise_signal(signal.SIGTERM)


def _install(handler: Any, number: int = signal.SIGINT) -> Any:
    """Handle a signal in the main thread; returns the previous handler, None if not installed."""
    main = threading.current_thread() is threading.main_thread()
    # A process that ignores interrupts, as under nohup, keeps ignoring them.
    if not main or signal.getsignal(number) in (None, signal.SIG_IGN):
        return None
    return signal.signal(number, handler)


def _in(frame: FrameType | None, codes: Collection[CodeType]) -> bool:
    """Is the innermost frame of this package one of these functions?"""
    while frame is not None and not frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return frame is not None and frame.f_code in codes


def _rolling_back() -> bool:
    """Is a `KeyboardInterrupt` being handled, by an `except` or a `finally`?"""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


_PACKAGE = os.path.dirname(__file__)

#: Where handlers are installed and removed: an error there would leave one installed.
_INSTALLS = {
    function.__code__
    for function in (
        *(OneInterrupt.__enter__, OneInterrupt.__exit__, Stop.__enter__, Stop.__exit__),
        _install,
    )
}
