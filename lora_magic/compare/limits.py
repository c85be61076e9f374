"""Limits: a prompt's length against the context, its tokens against the model, an answer's flags.

Knows token ids and a model's embeddings; runs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lora_magic.checks import is_number, is_whole
from lora_magic.errors import PromptError

#: The default of --max-new-tokens.
DEFAULT_NEW_TOKENS = 200


def check_flags(
    max_new_tokens: int | None, temperature: float, seed: int, top_p: float = 1.0
) -> None:
    """Raise one `PromptError` for all invalid flags."""
    faults = []
    if max_new_tokens is not None and not (is_whole(max_new_tokens) and max_new_tokens >= 1):
        faults.append(f"--max-new-tokens {max_new_tokens!r}: expected a whole number from 1.")
    if not is_number(temperature) or not 0 <= temperature < math.inf:
        faults.append(
            f"--temperature {temperature!r}: expected 0 (the most likely token) or more, "
            "for example 0.7."
        )
    if not is_number(top_p) or not 0 < top_p <= 1:
        faults.append(f"--top-p {top_p!r}: expected more than 0 and at most 1, for example 0.9.")
    elif top_p < 1 and temperature == 0:
        faults.append(
            f"--top-p {top_p!r} has no effect at temperature 0, which takes the most likely token; "
            "add --temperature 0.7, or omit --top-p."
        )
    if not is_whole(seed) or not 0 <= seed < 2**63:
        faults.append(f"--seed {seed!r}: expected a whole number from 0.")
    if faults:
        raise PromptError(" ".join(faults))


def check_lengths(
    prompts: Sequence[str], inputs: Sequence[Sequence[int]], context: int | None
) -> None:
    """Raise one `PromptError` for all prompts that leave no room for a new token."""
    if context is None:
        return
    too_long = [
        f"{_start(prompt)} has {len(ids)}"
        for prompt, ids in zip(prompts, inputs, strict=True)
        if len(ids) >= context
    ]
    if too_long:
        raise PromptError(
            f"too long for a context of {context} tokens: {', '.join(too_long)}; shorten it to "
            f"{context - 1} or fewer (the chat template's tokens count, and an adapter's virtual "
            "tokens reduce the context)."
        )


def check_known(inputs: Sequence[Sequence[int]], model: Any) -> None:
    """Raise `PromptError` for token ids without an embedding in the model."""
    known = model.get_input_embeddings().weight.shape[0]
    highest = max(max(ids) for ids in inputs)
    if highest >= known:
        raise PromptError(
            f"the tokenizer produces token {highest}, but the model has {known} embeddings: the "
            "tokenizer belongs to another model. Type: %lora use model tokenizer"
        )


def new_tokens(longest: int, context: int | None, limit: int | None) -> int:
    """New tokens after a prompt of length `longest`: `limit` or 200, never beyond the context."""
    limit = DEFAULT_NEW_TOKENS if limit is None else limit
    return limit if context is None else min(limit, context - longest)


def _start(prompt: str) -> str:
    """A prompt's first words, quoted, on one line."""
    words = " ".join(prompt.split())
    return repr(words if len(words) <= 40 else words[:39] + "…")
