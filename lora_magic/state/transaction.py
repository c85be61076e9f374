"""What every verb of a session is wrapped in: one at a time, and after an error, or ■, the slots
say what the session says.

Knows that a session has holdings and takes turns; knows no verb.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import torch

from lora_magic.interrupts import undisturbed

if TYPE_CHECKING:
    from .session import Session


P = ParamSpec("P")
R = TypeVar("R")


def transactional(
    verb: Callable[Concatenate[Session, P], R],
) -> Callable[Concatenate[Session, P], R]:
    """A verb that has the session to itself, after whose failure the slots hold what the session
    says is in force, and torch takes gradients and has threads as before.

    A block that puts things back when it ends can itself be broken off by an interrupt that comes
    just as it ends; this stands outside of all such blocks.
    """

    @wraps(verb)
    def run(self: Session, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock.turn():
            self._lock.doing = verb.__name__
            grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
            try:
                return verb(self, *args, **kwargs)
            except BaseException:
                with undisturbed():
                    self._state.settle()
                    torch.set_grad_enabled(grad)
                    torch.set_num_threads(threads)
                raise
            finally:
                self._lock.tell()

    return run
