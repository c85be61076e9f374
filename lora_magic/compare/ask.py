"""One prompt, answered by the model with the active adapter, and the answer as a value.

Knows models, tokenizers and prompt forms; of the adapter it knows only the name. The views draw the
answer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from lora_magic.base.model import context_of
from lora_magic.base.prompt import PromptForm

from .generate import generate
from .limits import check_flags, check_known, check_lengths


@dataclass(frozen=True)
class Answer:
    """The answer of one adapter (or "base"). `str(answer)` is the text as generated.

    `tokens` counts the generated tokens, the end token included; `ended` is False if the answer was
    cut at the limit; `seconds` is wall time.
    """

    prompt: str
    adapter: str
    text: str
    tokens: int
    seconds: float
    ended: bool

    @property
    def line(self) -> str:
        """One line: adapter, tokens, seconds, and how the answer ended."""
        how = "complete" if self.ended else "cut at the limit"
        noun = "token" if self.tokens == 1 else "tokens"
        return f"{self.adapter} · {self.tokens} {noun} · {self.seconds:.2f} s · {how}"

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import comparison as view

        return view.answer_bundle(self)


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
    """Answer a prompt in its form; `adapter` is the name in the answer.

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
