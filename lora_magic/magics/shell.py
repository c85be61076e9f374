"""The session of a notebook lives on the IPython shell, so that it outlives a reload.

Knows where the session is kept and when it is made; does not know what it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lora_magic.errors import StateError

if TYPE_CHECKING:
    from lora_magic.state.session import Session

KEPT_AS = "_lora_magic_session"


def session_for(shell: Any) -> Session:
    """The session of this shell, made at the first verb that needs one."""
    if not hasattr(shell, KEPT_AS):
        from lora_magic.state.session import Session

        setattr(shell, KEPT_AS, Session())
    session: Session = getattr(shell, KEPT_AS)
    return session


def session_here() -> Session:
    """The session of the notebook that this code runs in.

    Raises `StateError` outside IPython, where there is no notebook to keep one.
    """
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        raise StateError("no notebook is running; to make a session, type: lora_magic.Session()")
    return session_for(shell)
