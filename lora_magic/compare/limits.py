"""How much fits: prompts against the context, and the flags of an answer.

Knows prompt forms and a model's config; runs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lora_magic.checks import is_number, is_whole
from lora_magic.errors import PromptError

#: New tokens in an answer, at most, unless a flag says otherwise.
DEFAULT_NEW_TOKENS = 200


def check_flags(max_new_tokens: int | None, temperature: float, seed: int) -> None:
    """Raises one `PromptError` for all flags that cannot be."""
    faults = []
    if max_new_tokens is not None and not (is_whole(max_new_tokens) and max_new_tokens >= 1):
        faults.append(f"--max-new-tokens {max_new_tokens!r}: expected a whole number from 1.")
    if not is_number(temperature) or not 0 <= temperature < math.inf:
        faults.append(
            f"--temperature {temperature!r}: expected 0 (the likeliest token) or more, "
            "such as --temperature 0.7."
        )
    if not is_whole(seed) or not 0 <= seed < 2**63:
        faults.append(f"--seed {seed!r}: expected a whole number from 0.")
    if faults:
        raise PromptError(" ".join(faults))


def check_lengths(
    prompts: Sequence[str], inputs: Sequence[Sequence[int]], context: int | None
) -> None:
    """Raises one `PromptError` for all prompts that leave no room for a single new token."""
    if context is None:
        return
    faults = {
        prompt: len(ids) for prompt, ids in zip(prompts, inputs, strict=True) if len(ids) >= context
    }
    if faults:
        told = ", ".join(f"{_named(prompt)} has {count}" for prompt, count in faults.items())
        raise PromptError(
            f"too long for a context of {context} tokens: {told}; shorten it to {context - 1} or "
            "fewer (the prompt form's own tokens count too, and an adapter's virtual tokens are "
            "taken off the base's context)."
        )


def check_known(inputs: Sequence[Sequence[int]], model: Any) -> None:
    """Raises `PromptError` for token ids that the model has no embedding of."""
    known = model.get_input_embeddings().weight.shape[0]
    highest = max(max(ids) for ids in inputs)
    if highest >= known:
        raise PromptError(
            f"the tokenizer makes token {highest}, but the model knows {known}: it is another "
            "model's tokenizer. Type: %lora use model tokenizer"
        )


def new_tokens(longest: int, context: int | None, asked: int | None) -> int:
    """New tokens for prompts of at most `longest`: as asked or 200, never beyond the context."""
    wanted = DEFAULT_NEW_TOKENS if asked is None else asked
    return wanted if context is None else min(wanted, context - longest)


def _named(prompt: str) -> str:
    """A prompt's beginning, quoted, for a message of one line."""
    words = " ".join(prompt.split())
    return repr(words if len(words) <= 40 else words[:39] + "…")
