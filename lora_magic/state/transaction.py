"""Wraps every verb of a session: one runs at a time, failures are rolled back, changes recorded.

Knows that a session has a state and a lock; knows no verb. Imports torch with the first verb.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from pathlib import Path
from traceback import clear_frames
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from lora_magic.errors import (
    CommandError,
    LoraMagicError,
    StateError,
    TrainingError,
    TrainingStopped,
    listed,
)
from lora_magic.interrupts import OneInterrupt, undisturbed

if TYPE_CHECKING:
    from .session import Session


_PACKAGE = str(Path(__file__).parents[1])

P = ParamSpec("P")
R = TypeVar("R")


def transactional(
    verb: Callable[Concatenate[Session, P], R],
) -> Callable[Concatenate[Session, P], R]:
    """A verb that locks the session, in torch's default modes; a failure restores the modules.

    An interrupt can cut short a verb's own `finally`; this wrapper is outside all of them and
    restores again. A lack of memory is one line in every verb: the verb's own, if it has one.
    """

    @wraps(verb)
    def run(self: Session, /, *args: P.args, **kwargs: P.kwargs) -> R:
        outer = sys.exception()
        with self._lock.locked(), OneInterrupt(code):
            self._lock.doing = verb.__name__
            state = self._state  # imports torch, with interrupts deferred
            from lora_magic.base.device import out_of_memory
            from lora_magic.base.restore import default_modes, process, restoring

            noted, state.run = _Noted(self, verb.__name__, args, kwargs), None
            state.runs = []
            foreign = state.foreign()
            if verb.__name__ not in _ON_ANY_BASE:
                state.refuse_foreign(verb.__name__)
            try:
                self._lock.notify(verb.__name__)
                with restoring(process()), default_modes():
                    value = verb(self, *args, **kwargs)
                with undisturbed():
                    noted.ended(value)
                return value
            except BaseException as error:
                with undisturbed():
                    state.restore(foreign)
                    noted.ended(None, error)
                    _forget_locals(error, outer)
                if out_of_memory(error):
                    raise StateError(_no_memory(verb.__name__, state.device)) from error
                if _may_come_from_the_base(error) and (names := state.changed_names()):
                    raise StateError(_changed(verb.__name__, names)) from error
                raise
            finally:
                state.published = state.view()
                self._lock.notify()

    code = run.__code__  # type: ignore[attr-defined]  # a function, which `wraps` hides
    return run


class _Noted:
    """A verb that the ledger may record: what the session was like before it, and when it began."""

    def __init__(self, session: Session, verb: str, args: Any, kwargs: Mapping[str, Any]) -> None:
        from .ledger import RECORDED, Scene

        self._session, self._verb = session, verb
        self._given = (args[0] if args else kwargs.get("name"), bool(kwargs.get("continue_")))
        self._before = Scene.of(session._state) if verb in RECORDED else None
        self._began = time.perf_counter()

    def ended(self, value: object, error: BaseException | None = None) -> None:
        """Record the verb, once. An error in that costs a warning, not the verb."""
        from .ledger import Done, Scene

        before, self._before = self._before, None
        if before is None:
            return
        seconds, state = time.perf_counter() - self._began, self._session._state
        ledger, home = self._session._ledger, self._session.home
        try:
            after = Scene.of(state)
            for run in state.runs or (state.run,):
                why = error or (run.error if run else None)
                done = Done(self._verb, *self._given, before, after, seconds, run, value, why)
                ledger.add(done, home)
        except Exception as found:  # noqa: BLE001 - shown: the verb is done, and stays so
            ledger.could_not_write(home, found)


#: Verbs that are possible whatever someone has done to the base: what is trained can be saved.
_ON_ANY_BASE = {"load", "use", "reset", "save", "detach", "unmerge"}


def _may_come_from_the_base(error: BaseException) -> bool:
    """Is this error one that a changed base can cause? A user's mistake has its own line."""
    if isinstance(error, TrainingError):
        return not isinstance(error, TrainingStopped) and "out of memory" not in str(error)
    return isinstance(error, Exception) and not isinstance(error, LoraMagicError)


def _changed(verb: str, names: Iterable[str]) -> str:
    return (
        f"{verb} failed, and the base was changed from outside the session ({listed(names, 2)}). "
        "Type %lora reset, and load it again."
    )


def _forget_locals(error: BaseException | None, outer: BaseException | None) -> None:
    """Clear the frames of a user's error and of its causes, up to the error `outer`.

    A notebook keeps the last error, and its frames would keep the base's memory after `reset`. Any
    other error keeps them, for a debugger.
    """
    if not isinstance(error, LoraMagicError | KeyboardInterrupt | MemoryError):
        return
    while error is not None and error is not outer:
        clear_frames(error.__traceback__)
        _cut(error.__traceback__)
        error = error.__cause__ or error.__context__


def _cut(trace: TracebackType | None) -> None:
    """End a traceback before another library's frame: its function may keep a module."""
    while trace is not None and (following := trace.tb_next) is not None:
        if not following.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            trace.tb_next = None
        trace = trace.tb_next


def _no_memory(verb: str, device: str) -> str:
    advice = {
        "load": "load a smaller model, or type: %lora load NAME --bits 4",
        "train": "use fewer or shorter rows per step: --batch-size 1 --max-length 128",
        "sweep": "give fewer values or seeds, or a smaller --batch-size",
        "compare": "compare fewer adapters or prompts, or a smaller --max-new-tokens",
        "evaluate": "name fewer adapters, or give shorter rows or a smaller --max-new-tokens",
        "ask": "use a shorter prompt or a smaller --max-new-tokens",
    }
    others = "free some: delete what this notebook no longer needs, and detach adapters"
    return f"{verb}: out of memory ({device}), nothing changed; {advice.get(verb, others)}."


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A verb that still accepts keyword arguments under their old names: `old="new"`.

    An old name gives a `FutureWarning` that names the new one.
    """

    def decorate(verb: Callable[P, R]) -> Callable[P, R]:
        @wraps(verb)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            given: dict[str, Any] = dict(kwargs)
            for old, new in names.items():
                if old in given and new in given:
                    raise CommandError(f"{verb.__name__}: {old} is now {new}; pass only {new}.")
                if old in given:
                    message = f"{verb.__name__}: {old} is now {new}; the old name still works."
                    warnings.warn(message, FutureWarning, stacklevel=2)
                    given[new] = given.pop(old)
            return verb(*args, **given)

        return run

    return decorate
