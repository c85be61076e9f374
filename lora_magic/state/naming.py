"""The names that a session has just now, for whoever completes a line.

Knows holdings; loads nothing, computes nothing, and may be asked while the model is at work.
"""

from __future__ import annotations

from lora_magic.adapters.files import saved_in
from lora_magic.adapters.targets import carries_lora, leaf_names

from .session import Session


def adapters(session: Session) -> list[str]:
    """The attached adapters."""
    return list(session._state.attached)


def modules(session: Session) -> list[str]:
    """The kinds of module that an adapter can go to, as `q_proj`, whatever stands there now."""
    if session._state.empty:
        return []
    slots = session._state.slots
    return leaf_names(path for path in slots.paths() if carries_lora(slots.original(path)))


def saved(session: Session) -> list[str]:
    """The adapters that were saved at home."""
    return saved_in(session.home / "adapters")
