from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from lora_magic.base import template as templates
from lora_magic.base.prompt import Asked, PromptForm, Tokens, Written
from lora_magic.errors import CommandError, PromptError
from tests.tiny import END_OF_TEXT, TURN_END, tiny_tokenizer


def test_the_chat_form_is_the_templates_own_with_its_turn_end() -> None:
    tokenizer = tiny_tokenizer(chat=True)
    form = PromptForm.of(tokenizer)
    turns = [{"role": "user", "content": "Hello?"}]
    expected = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert tokenizer.decode(form.encode(tokenizer, "Hello?")) == expected
    assert form.end_token == TURN_END
    assert set(form.stop_ids) == {form.end_token_id, tokenizer.eos_token_id}


def test_the_plain_form_is_the_prompt_and_a_newline() -> None:
    tokenizer = tiny_tokenizer()
    form = PromptForm.of(tokenizer)
    assert form.kind == "plain"
    assert tokenizer.decode(form.encode(tokenizer, "Hello?")) == "Hello?\n"
    assert form.end_token == END_OF_TEXT


def test_an_answer_ends_with_the_end_token() -> None:
    tokenizer = tiny_tokenizer(chat=True)
    form = PromptForm.of(tokenizer)
    (tokens,) = form.tokens(tokenizer, [Written("Ship?", "Aye.")])
    assert isinstance(tokens, Tokens)
    assert tokenizer.decode(tokens.answer) == "Aye." + TURN_END


def test_a_system_prompt_comes_first_and_only_once() -> None:
    tokenizer = tiny_tokenizer(chat=True)
    form = PromptForm.of(tokenizer, system="You answer in one short sentence.")
    text = tokenizer.decode(form.encode(tokenizer, "Hello?"))
    assert text.startswith("<|im_start|>system\nYou answer in one short sentence.")
    own = [{"role": "system", "content": "Own."}, {"role": "user", "content": "Hello?"}]
    answer = {"role": "assistant", "content": "Aye."}
    (written,) = form.write(tokenizer, [Asked(form.conversation(own), answer)])
    assert isinstance(written, Written)
    assert written.before.startswith("<|im_start|>system\nOwn.<|im_end|>")
    assert "short sentence" not in written.before


def test_a_form_that_cannot_be_is_refused_with_the_way_out() -> None:
    with pytest.raises(CommandError, match="--template plain"):
        PromptForm.of(tiny_tokenizer(), "chat")
    with pytest.raises(CommandError, match="chat or plain"):
        PromptForm.of(tiny_tokenizer(chat=True), "chatt")
    with pytest.raises(CommandError, match="chat template"):
        PromptForm.of(tiny_tokenizer(), system="Be brief.")
    with pytest.raises(PromptError, match="empty"):
        PromptForm.of(tiny_tokenizer()).encode(tiny_tokenizer(), "  ")


LOOP = "{% set many = range(99999) %}{% for a in many %}{% for b in many %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (LOOP, "it takes more than 1 s"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ 'x' * 10 ** 7 }}", "it writes 10,000,000 characters"),
        ("{{ 'x' * 10 ** 15 }}", "out of memory"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% for", "."),
    ],
)
def test_a_template_that_fails_loops_or_writes_too_much_is_one_line(
    template: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(templates, "_SECONDS", 1.0)
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(PromptError, match=told) as seen:
        PromptForm.of(tokenizer)
    assert "remove it (chat_template.jinja)" in str(seen.value)


def test_a_tokenizer_that_cannot_encode_is_one_line() -> None:
    raw = Tokenizer(models.WordPiece({"a": 0}, unk_token="[UNK]"))
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="a")
    with pytest.raises(PromptError, match="cannot encode 'fox"):
        PromptForm.of(tokenizer).encode(tokenizer, "fox")
