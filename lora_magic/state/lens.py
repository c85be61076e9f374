"""What an adapter learned, as tokens: which adapter, and which questions it is asked.

Knows the session's state; does not know how readings are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lora_magic.base import DEMO
from lora_magic.checks import is_whole
from lora_magic.compare.ask import OnText
from lora_magic.compare.learned import learned
from lora_magic.compare.lens import Lens
from lora_magic.errors import CommandError, DataError

from . import queries

if TYPE_CHECKING:
    from lora_magic.adapters.live_adapter import LiveAdapter

    from .session_state import SessionState


def lens(
    state: SessionState,
    name: str | None,
    given: Sequence[str] | None,
    seed: int,
    watch: OnText | None,
) -> Lens:
    """Both readings of the named or active adapter, over the given questions or 100 general ones.

    Raises `CommandError` for a classifier and a seed that is no whole number from 0, `DataError`
    if every question is blank.
    """
    base = state.base
    if base.task.classifies:
        raise CommandError(
            "lens: a classifier has no tokens to show; to see what the adapter changes, type: "
            "%lora compare TEXT"
        )
    base.needs_tokenizer()
    attached = state.named_or_active(name, "lens")
    if not is_whole(seed) or not 0 <= seed < 2**63:
        raise CommandError(f"--seed {seed!r}: expected a whole number from 0.")
    questions = general(state) if given is None else [one for one in given if one.strip()]
    if not questions:
        raise DataError(
            f"every question of the data is blank ({len(given or ())}); nothing to ask."
        )
    if not attached.has_effect():
        return _without_effect(attached, len(questions))
    return learned(
        base.model,
        state.slots,
        base.tokenizer,
        queries.variant(state, attached.name),
        questions,
        seed=seed,
        context=queries.usable_context(state, [attached.name]),
        no_states=_no_states(attached),
        watch=watch,
    )


def general(state: SessionState) -> Sequence[str]:
    """100 general questions: on the embedded model of its world, on any other base in English."""
    # The name alone is not enough: a live model may have it too.
    if state.key[:2] == ("load", DEMO):
        from lora_magic.demo.sample import GENERAL

        return GENERAL
    from .general import QUESTIONS

    return QUESTIONS


def _no_states(attached: LiveAdapter) -> str:
    """Why the states of an adapter are not comparable with the base's, or ""."""
    if not attached.tokens:
        return ""
    return (
        f"{attached.method.title} puts {attached.tokens} virtual tokens before the prompt, so its "
        "states have other positions than the base's"
    )


def _without_effect(attached: LiveAdapter, asked: int) -> Lens:
    why, remedy = "it changes nothing", ""
    if not attached.history.ready:
        why = "it is not trained and changes nothing"
        remedy = f"; train it: %%lora_train {attached.name}"
    return Lens(
        attached.name,
        (),
        (),
        asked=asked,
        no_words=f"no words: {why}, so it answers as the base does{remedy}",
        no_states=why,
    )
