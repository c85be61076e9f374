"""How much fits: prompts against the context, and the flags of an answer.

Knows prompt forms and a model's config; runs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lora_magic.base.prompt import PromptForm
from lora_magic.errors import PromptError

#: New tokens in an answer, at most, unless a flag says otherwise.
DEFAULT_NEW_TOKENS = 200


def context_of(model: Any) -> int | None:
    """The longest sequence that the model's config allows, in tokens; None where it names none."""
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    limit = getattr(text, "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def check_flags(max_new_tokens: int | None, temperature: float) -> None:
    """Raises one `PromptError` for all flags that cannot be."""
    faults = []
    if max_new_tokens is not None and max_new_tokens < 1:
        faults.append(f"--max-new-tokens {max_new_tokens}: expected 1 or more.")
    if not 0 <= temperature < math.inf:
        faults.append(
            f"--temperature {temperature}: expected 0 (the likeliest token) or more, "
            "such as --temperature 0.7."
        )
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
            f"too long for the base's context of {context} tokens: {told}; "
            f"shorten it to {context - 1} or fewer (the prompt form's own tokens count too)."
        )


def new_tokens(longest: int, context: int | None, asked: int | None) -> int:
    """New tokens for prompts of at most `longest`: as asked or 200, never beyond the context."""
    wanted = DEFAULT_NEW_TOKENS if asked is None else asked
    return wanted if context is None else min(wanted, context - longest)


def encode(tokenizer: Any, form: PromptForm, prompt: str) -> list[int]:
    """Token ids of a prompt, ready for the answer. Raises `PromptError` if it is empty.

    The tokenizer's own warning about a long text is kept out of the cell: the context decides.
    """
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        return form.encode(tokenizer, prompt)
    finally:
        logging.set_verbosity(level)


def _named(prompt: str) -> str:
    """A prompt's beginning, quoted, for a message of one line."""
    words = " ".join(prompt.split())
    return repr(words if len(words) <= 40 else words[:39] + "…")
