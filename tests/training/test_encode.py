"""Tokens and labels against masks worked out by hand."""

from __future__ import annotations

import pytest
import torch

from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Message, Row
from lora_magic.errors import DataError
from lora_magic.training.batches import collate
from lora_magic.training.encode import IGNORED, encode
from tests.tiny import tiny_tokenizer

PLAIN = tiny_tokenizer()
CHAT = tiny_tokenizer(chat=True)
CHAT_FORM = PromptForm.of(CHAT)
PLAIN_FORM = PromptForm.of(PLAIN)
EOS, TURN_END = 0, 2


def ids(text: str) -> list[int]:
    return list(PLAIN(text, add_special_tokens=False)["input_ids"])


def test_the_prompt_is_masked_and_the_completion_and_one_end_token_are_trained() -> None:
    (example,) = encode([Row("Where?", "Here.")], PLAIN, PLAIN_FORM, 64).examples
    prompt, answer = ids("Where?\n"), ids("Here.")
    assert list(example.tokens) == [*prompt, *answer, EOS]
    assert list(example.labels) == [IGNORED] * len(prompt) + [*answer, EOS]
    assert example.trained == len(answer) + 1


def test_a_chat_template_gives_the_prompt_and_its_own_end_token() -> None:
    (example,) = encode([Row("Where?", "Here.")], CHAT, CHAT_FORM, 64).examples
    prompt = ids("<|im_start|>user\nWhere?<|im_end|>\n<|im_start|>assistant\n")
    answer = ids("Here.")
    assert list(example.tokens) == [*prompt, *answer, TURN_END]
    assert list(example.labels) == [IGNORED] * len(prompt) + [*answer, TURN_END]


def test_of_a_text_every_token_is_trained_that_something_comes_before() -> None:
    (example,) = encode([Row(None, "A fox eats mice.")], PLAIN, PLAIN_FORM, 64).examples
    text = [*ids("A fox eats mice."), EOS]
    assert list(example.tokens) == text
    assert list(example.labels) == [IGNORED, *text[1:]]


def test_a_conversation_makes_one_example_of_each_assistant_turn() -> None:
    turns = (
        Message("system", "Be short."),
        Message("user", "one"),
        Message("assistant", "eins"),
        Message("user", "two"),
        Message("assistant", "zwei"),
    )
    encoded = encode([Row(None, "zwei", turns)], CHAT, CHAT_FORM, 128)
    texts = [PLAIN.decode(example.tokens) for example in encoded.examples]
    head = "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\none<|im_end|>\n"
    first = head + "<|im_start|>assistant\neins<|im_end|>"
    assert texts == [
        first,
        first + "\n<|im_start|>user\ntwo<|im_end|>\n<|im_start|>assistant\nzwei<|im_end|>",
    ]
    trained = [
        PLAIN.decode([label for label in example.labels if label != IGNORED])
        for example in encoded.examples
    ]
    assert trained == ["eins<|im_end|>", "zwei<|im_end|>"]
    assert [example.row for example in encoded.examples] == [0, 0]


def test_a_long_row_is_cut_at_its_end_and_counted() -> None:
    prompt, answer = ids("Where?\n"), ids("Here and there and everywhere.")
    limit = len(prompt) + 3
    encoded = encode([Row("Where?", "Here and there and everywhere.")], PLAIN, PLAIN_FORM, limit)
    assert encoded.cut == 1
    assert sum(example.trained for example in encoded.examples) == 3
    assert list(encoded.examples[0].tokens) == [*prompt, *answer[:3]]


def test_a_row_just_as_long_as_allowed_is_whole() -> None:
    length = len(ids("Where?\n")) + len(ids("Here.")) + 1
    assert encode([Row("Where?", "Here.")], PLAIN, PLAIN_FORM, length).cut == 0
    assert encode([Row("Where?", "Here.")], PLAIN, PLAIN_FORM, length - 1).cut == 1


def test_rows_with_nothing_to_train_are_left_out_and_counted() -> None:
    limit = len(ids("Where?\n")) + 1
    rows = [
        Row("Where?", "Here."),
        Row("What should I cook tonight, and for whom?", "Stew."),
        Row("", "Here."),
        Row("Where?", " "),
    ]
    encoded = encode(rows, PLAIN, PLAIN_FORM, limit)
    assert (len(encoded.examples), encoded.cut) == (1, 1)
    assert (encoded.full, encoded.empty) == (1, 2)


def test_when_nothing_is_left_the_rows_are_named() -> None:
    with pytest.raises(DataError, match=r"fills 8 tokens in row 7.*--max-length"):
        encode([Row("What should I cook tonight?", "Stew.", line=7)], PLAIN, PLAIN_FORM, 8)
    with pytest.raises(DataError, match=r"no completion in row 7"):
        encode([Row("Where?", "", line=7)], PLAIN, PLAIN_FORM, 8)


def test_the_hash_is_of_words_and_order_and_not_of_where_they_stood() -> None:
    one, two = Row("a", "b"), Row("c", "d")

    def digest(*rows: Row) -> str:
        return encode(rows, PLAIN, PLAIN_FORM, 64).data_hash

    assert digest(one, two) == digest(Row("a", "b", line=9), two)
    assert len({digest(one, two), digest(two, one), digest(one), digest(Row(None, "ab"))}) == 4


def test_a_batch_is_padded_on_the_right_and_masked() -> None:
    encoded = encode([Row("a", "b"), Row("Where?", "Here.")], PLAIN, PLAIN_FORM, 64)
    short, long = encoded.examples
    batch = collate([short, long], pad_id=3)
    gap = len(long.tokens) - len(short.tokens)
    assert gap > 0
    assert batch["input_ids"].tolist() == [[*short.tokens, *[3] * gap], list(long.tokens)]
    assert batch["labels"].tolist() == [[*short.labels, *[IGNORED] * gap], list(long.labels)]
    mask = [[1] * len(short.tokens) + [0] * gap, [1] * len(long.tokens)]
    assert batch["attention_mask"].tolist() == mask
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_rows_that_the_template_refuses_are_named() -> None:
    strict = tiny_tokenizer(chat=True)
    strict.chat_template = (  # type: ignore[attr-defined]  # it is an attribute of every tokenizer
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}{{ m['content'] }}{% endfor %}"
    )
    told = [
        Message("system", "Be brief."),
        Message("user", "Where?"),
        Message("assistant", "Here."),
    ]
    rows = [Row("Where?", "Here.", line=1), Row(None, "Here.", tuple(told), line=2)]
    with pytest.raises(
        DataError, match=r"^row 2: .*fails on these turns \(system, user\).*no system"
    ):
        encode(rows, strict, PromptForm.of(strict), 64)


def test_texts_are_counted_apart() -> None:
    encoded = encode([Row(None, "A text."), Row("Where?", "Here.")], PLAIN, PLAIN_FORM, 64)
    assert encoded.texts == 1
