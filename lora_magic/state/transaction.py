"""Wraps every verb of a session: one runs at a time, and a failure is rolled back.

Knows that a session has a state and a lock; knows no verb. Imports torch with the first verb.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from lora_magic.errors import CommandError
from lora_magic.interrupts import undisturbed

if TYPE_CHECKING:
    from .session import Session


P = ParamSpec("P")
R = TypeVar("R")


def transactional(
    verb: Callable[Concatenate[Session, P], R],
) -> Callable[Concatenate[Session, P], R]:
    """A verb that locks the session; on failure it restores modules, grad mode and threads.

    An interrupt can cut short a verb's own `finally`; this wrapper is outside all of them and
    restores again.
    """

    @wraps(verb)
    def run(self: Session, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock.locked():
            self._lock.doing = verb.__name__
            state = self._state  # imports torch, with interrupts deferred
            import torch

            grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
            try:
                self._lock.notify(verb.__name__)
                return verb(self, *args, **kwargs)
            except BaseException:
                with undisturbed():
                    state.restore()
                    torch.set_grad_enabled(grad)
                    torch.set_num_threads(threads)
                raise
            finally:
                self._lock.notify()

    return run


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
