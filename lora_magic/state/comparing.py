"""Base and adapters side by side: which prompts, which adapters, and what is compared.

Knows the session's state; does not know how answers are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lora_magic.compare import classify as classifying
from lora_magic.compare.comparison import Comparison
from lora_magic.compare.prediction import Classification
from lora_magic.compare.run import OnAnswers, compare

from . import queries
from .mixing import mix_of

if TYPE_CHECKING:
    from .session_state import SessionState


def answers(
    state: SessionState,
    prompts: Sequence[Any],
    adapters: str | Sequence[str] | None,
    sampling: Mapping[str, Any],
    watch: OnAnswers | None,
    mix: Any = None,
) -> Comparison | Classification:
    """The prompts under the base and each adapter; a classifier's label probabilities."""
    base, mixed = state.base, mix_of(state, mix)
    variants = queries.variants(state, adapters)
    names = [variant.name for variant in variants]
    context = queries.usable_context(state, names)
    every = state.attached if adapters is None else ()
    left_out = tuple(name for name in every if name not in names)
    model, tokenizer, texts = base.model, base.needs_tokenizer(), queries.flat(prompts)
    if base.task.classifies:
        classifying.refuse_flags(**sampling)
        labelled = classifying.compare(
            model,
            state.slots,
            tokenizer,
            variants,
            texts,
            base.task.labels,
            untrained=queries.untrained(state, names),
            context=context,
        )
        return replace(labelled, left_out=left_out)
    common = {**sampling, "context": context, "watch": watch, "mix": mixed}
    answered = compare(model, state.slots, tokenizer, variants, texts, **common)
    return replace(answered, left_out=left_out)
