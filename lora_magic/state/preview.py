"""What a run would train on, with a session's base and flags; trains nothing.

Knows the session's state; knows no format of rows and no page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.checks import is_whole
from lora_magic.data.row import Row
from lora_magic.errors import CommandError
from lora_magic.training import batches, preference
from lora_magic.training.preview import Preview, previewed
from lora_magic.training.spec import plan

from .prepare import encoded_rows, form_for, noted, recipe_for
from .session_state import SessionState

#: Rows that a preview shows at most.
_MOST = 20


def preview(
    state: SessionState,
    attached: LiveAdapter | None,
    rows: Sequence[Row],
    *,
    held_out: Sequence[Row] | None = None,
    template: str | None,
    system: str | None,
    rows_shown: int,
    skip_bad: bool = False,
    notes: str = "",
    **flags: Any,
) -> Preview:
    """The rows as a run with these flags would read them, and which it would hold out."""
    if not is_whole(rows_shown) or not 1 <= rows_shown <= _MOST:
        raise CommandError(f"--rows {rows_shown}: expected a whole number from 1 to {_MOST}.")
    form = form_for(state, None, template, system)
    room = state.base.context - (attached.tokens if attached else 0)
    recipe = recipe_for(state, attached, None) if attached else state.base.recipe
    prefers = preference.are_preferences(rows)
    other = None if held_out is None else len(held_out)
    spec = plan(recipe, len(rows), context=room, prefers=prefers, held_out=other, **flags)
    encoded = encoded_rows(state, rows, form, spec.max_length, skip_bad)
    others = 0
    if held_out is not None:
        measured = encoded_rows(state, held_out, form, spec.max_length, skip_bad)
        encoded = encoded.measured_on(measured)
        notes = noted(notes, "--eval", held_out, measured)
        others = len({example.row for example in measured.examples})
    _, apart = batches.sides(encoded, spec)
    found = previewed(
        rows,
        encoded,
        state.base.needs_tokenizer(),
        adapter=attached.name if attached else None,
        form=form.kind if form else "labels",
        max_length=spec.max_length,
        held_out=set() if others else {example.row for example in apart},
        shown=rows_shown,
    )
    said = tuple(filter(None, (notes, *found.notes)))
    return replace(found, notes=said, held_out=others or found.held_out)
