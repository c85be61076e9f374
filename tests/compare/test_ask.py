from __future__ import annotations

import logging

import pytest
import torch

from lora_magic.base.prompt import PromptForm
from lora_magic.compare.ask import ask
from lora_magic.errors import PromptError
from tests.tiny import tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer(chat=True)


@pytest.mark.parametrize("kind", ["chat", "plain"])
def test_a_prompt_is_answered_in_its_form(kind: str) -> None:
    model = tiny_model(initializer_range=0.3)
    form = PromptForm.of(TOKENIZER, kind)
    answer = ask(model, TOKENIZER, form, "Hi", adapter="pirate", max_new_tokens=6)
    row = form.encode(TOKENIZER, "Hi")
    start = len(row)
    with torch.no_grad():
        for _ in range(6):
            row.append(int(model(torch.tensor([row])).logits[0, -1].argmax()))
    assert answer.text == TOKENIZER.decode(row[start:], skip_special_tokens=True)
    assert (answer.adapter, answer.prompt, answer.tokens) == ("pirate", "Hi", 6)
    assert answer.seconds > 0


def test_a_prompt_that_fills_the_context_says_what_fits() -> None:
    form, model = PromptForm.of(TOKENIZER, "plain"), tiny_model()
    prompt = "x" * 127
    assert len(form.encode(TOKENIZER, prompt)) == 128
    with pytest.raises(PromptError, match=r"context of 128 tokens: 'x+…' has 128; .* 127 or fewer"):
        ask(model, TOKENIZER, form, prompt, adapter="base")
    assert ask(model, TOKENIZER, form, prompt[1:], adapter="base").tokens == 1
    with pytest.raises(PromptError, match=r"context of 64 tokens"):
        ask(model, TOKENIZER, form, prompt[1:], adapter="base", context=64)


def test_the_tokenizers_own_warning_about_length_stays_out_of_the_cell() -> None:
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]  # a stub
    logging.getLogger("transformers").addHandler(handler)
    try:
        fresh = tiny_tokenizer()
        with pytest.raises(PromptError):
            ask(tiny_model(), fresh, PromptForm.of(fresh), "x" * 500, adapter="base")
    finally:
        logging.getLogger("transformers").removeHandler(handler)
    assert said == []


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(PromptError, match="empty"):
        ask(tiny_model(), TOKENIZER, PromptForm.of(TOKENIZER), "  ", adapter="base")
