"""The tokenizer: lossless, one token a special, and the chat form of the corpus."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from lora_magic.demo.factory import corpus, vocabulary


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return vocabulary.train_tokenizer(0, documents_read=3000)


@pytest.fixture(scope="module")
def loaded(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> AutoTokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    vocabulary.save(tokenizer, folder)
    return AutoTokenizer.from_pretrained(str(folder))


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "fox", "of": ["a", 1.5]}',
        "- one\n- two\n",
        "Žižek & Söhne — 鳥 🦊",
        "  two spaces",
    ],
)
def test_any_text_comes_back_as_it_was(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_each_special_token_is_one_token(tokenizer: Tokenizer) -> None:
    ids = [tokenizer.encode(token).ids for token in vocabulary.SPECIAL]
    assert ids == [[0], [1], [2], [3]]


def test_the_chat_template_gives_exactly_the_training_form(loaded: AutoTokenizer) -> None:
    messages = [{"role": "user", "content": "What does a fox eat?"}]
    text = loaded.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == corpus.chat("What does a fox eat?")
    ids = loaded.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert ids == loaded(text, add_special_tokens=False)["input_ids"]
    assert (ids[0], ids[-1]) == (vocabulary.USER_ID, vocabulary.ASSISTANT_ID)


def test_a_whole_conversation_is_a_training_document(loaded: AutoTokenizer) -> None:
    for document in islice(corpus.documents(2, 0), 300):
        if not document.text.startswith(corpus.USER):
            continue
        turns = document.text.removeprefix(corpus.USER).split(corpus.USER)
        messages = []
        for turn in turns:
            prompt, answer = turn.removesuffix(corpus.END).split(corpus.ASSISTANT)
            messages += [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": answer},
            ]
        assert loaded.apply_chat_template(messages, tokenize=False) == document.text


def test_a_system_message_stands_before_the_prompt(loaded: AutoTokenizer) -> None:
    messages = [
        {"role": "system", "content": "Be grumpy."},
        {"role": "user", "content": "What does a fox eat?"},
    ]
    text = loaded.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == corpus.chat("Be grumpy. What does a fox eat?")


def test_the_end_token_is_the_one_that_closes_an_answer(loaded: AutoTokenizer) -> None:
    assert loaded.eos_token == corpus.END
    assert loaded.eos_token_id == vocabulary.END_ID
    assert loaded.pad_token_id == vocabulary.PAD_ID
