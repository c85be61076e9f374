"""What every verb of a session is wrapped in: one at a time, rolled back on failure.

Knows that a session has a state and a lock; knows no verb. Loads torch with the first verb.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from lora_magic.interrupts import undisturbed

if TYPE_CHECKING:
    from .session import Session


P = ParamSpec("P")
R = TypeVar("R")


def transactional(
    verb: Callable[Concatenate[Session, P], R],
) -> Callable[Concatenate[Session, P], R]:
    """A verb that locks the session; on failure it restores modules, grad mode and threads.

    A block that restores something when it ends can itself be cut short by an interrupt just as it
    ends; this wraps all such blocks.
    """

    @wraps(verb)
    def run(self: Session, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock.turn():
            self._lock.doing = verb.__name__
            state = self._state  # which loads torch, uninterrupted
            import torch

            grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
            try:
                return verb(self, *args, **kwargs)
            except BaseException:
                with undisturbed():
                    state.settle()
                    torch.set_grad_enabled(grad)
                    torch.set_num_threads(threads)
                raise
            finally:
                self._lock.tell()

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
                if old in given:
                    said = f"{verb.__name__}: {old} is now {new}; the old name still works."
                    warnings.warn(said, FutureWarning, stacklevel=2)
                    given[new] = given.pop(old)
            return verb(*args, **given)

        return run

    return decorate
