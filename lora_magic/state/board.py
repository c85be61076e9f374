"""The board of a session's adapters. Knows what the session holds; changes and measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

from lora_magic.adapters.store import is_saved_as
from lora_magic.errors import AdapterError, listed, near
from lora_magic.evaluation.board import Board, board_of

from .session_state import View


def board(view: View, names: Sequence[str], sort: str | None) -> Board:
    """The board of the named adapters, or of all, sorted by a column if one is given.

    Raises `AdapterError` for names that are not attached, `CommandError` for an unknown column.
    """
    known = [attached.name for attached, _ in view.attached]
    if unknown := [name for name in names if name not in known]:
        raise AdapterError(
            f"board: no adapter{'s' * (len(unknown) > 1)} {listed(map(repr, unknown))}; "
            f"attached: {listed(known) or 'none'}.{near(unknown[0], known)}"
        )
    records = view.adapters()
    found = board_of(
        (
            records[attached.name],
            record.run,
            str(record.saved_to) if is_saved_as(record.saved_to, record.saved_as) else "",
        )
        for attached, record in view.attached
        if attached.name in names or not names
    )
    return found if sort is None else found.sorted(sort)
