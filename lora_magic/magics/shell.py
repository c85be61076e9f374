"""The session of a notebook lives on the IPython shell, so that it outlives a reload.

Knows where the session is kept and when it is made; knows nothing of what it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lora_magic.errors import StateError
from lora_magic.interrupts import undisturbed

if TYPE_CHECKING:
    from lora_magic.state.session import Session

KEPT_AS = "_lora_magic_session"


def session_for(shell: Any) -> Session:
    """The session of this shell, made at the first verb that needs one: that import loads torch."""
    kept: Session | None = getattr(shell, KEPT_AS, None)
    if kept is None:
        # An import of torch that is broken off cannot be taken up again: ■ waits for its end.
        with undisturbed():
            from lora_magic.state.session import Session

            kept = Session()
        setattr(shell, KEPT_AS, kept)
    return kept


def session_here() -> Session:
    """The session of the notebook that this code runs in.

    Raises `StateError` outside IPython, where there is no notebook to keep one.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise StateError(
            "There is no notebook here to keep a session. Make one: lora_magic.Session()"
        )
    return session_for(shell)
