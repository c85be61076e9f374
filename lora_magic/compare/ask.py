"""One prompt, answered by the model as it stands.

Knows models, tokenizers and prompt forms; which adapter is in force it is told, not shown.
"""

from __future__ import annotations

import time
from typing import Any

from lora_magic.base.model import context_of
from lora_magic.base.prompt import PromptForm

from .answer import Answer
from .generate import generate
from .limits import check_flags, check_known, check_lengths


def ask(
    model: Any,
    tokenizer: Any,
    form: PromptForm,
    prompt: str,
    *,
    adapter: str,
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    context: int | None = None,
) -> Answer:
    """Answers a prompt in its form; `adapter` is the name that the answer goes under.

    Defaults and limits are those of `generate`. Raises `PromptError` for an empty prompt, one that
    fills the context, max_new_tokens < 1 or a temperature below 0.
    """
    context = context or context_of(model)
    check_flags(max_new_tokens, temperature, seed)
    ids = form.encode(tokenizer, prompt)
    check_lengths([prompt], [ids], context)
    check_known([ids], model)
    start = time.perf_counter()
    (made,) = generate(
        model,
        tokenizer,
        [ids],
        stop_ids=form.stop_ids,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
        context=context,
    )
    seconds = time.perf_counter() - start
    return Answer(prompt, adapter, made.text, made.tokens, seconds, made.ended)
