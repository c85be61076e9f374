"""Tokenizers of each kind, written as GGUF: llama.cpp makes the same tokens of texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader, TokenType
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from lora_magic.base.prompt import PromptForm
from lora_magic.demo import SUGGESTED_PROMPTS
from lora_magic.errors import ExportError
from lora_magic.export.gguf.file import write_model
from lora_magic.export.gguf.texts import added, texts
from lora_magic.export.gguf.tokenizer import Vocabulary, vocabulary
from tests.export.gguf.llama_cpp import asked
from tests.tiny import CHAT_TEMPLATE

#: As the tokenizer.json of Llama 3, Qwen2.5 and Mistral Nemo have them.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
CORPUS = [
    "Where is the library? Arr, it be down by the harbour, matey! I've 3 cats, don't I?",
    "In 1984 and 2024, 12345 foxes ate 678 mice\n\nat the café, naïvely.  Two   spaces\tand tabs.",
    "The quick brown fox jumps over the lazy dog; THEY'RE here, We'll see.\n- one\n- two\n",
    *SUGGESTED_PROMPTS,
]
ROWS = 640

bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
words = pre_tokenizers.ByteLevel(add_prefix_space=False)


def split(pattern: str) -> Any:
    step = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return pre_tokenizers.Sequence([step, bytewise])


def byte_level(pre: Any, *, whole: bool = False, normalizer: Any = None, bos: bool = False) -> Any:
    """A byte-level BPE; `whole` words skip the merges, `bos` begins each text."""
    raw = Tokenizer(models.BPE(ignore_merges=whole))
    raw.pre_tokenizer = pre
    if normalizer is not None:
        raw.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=ROWS - 10,
        special_tokens=SPECIALS,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    raw.train_from_iterator(CORPUS * 4, trainer)
    if bos:
        raw.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", 1)]
        )
    return wrapped(raw)


def wrapped(raw: Tokenizer) -> Any:
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    made.chat_template = CHAT_TEMPLATE
    return made


def sentencepiece(
    normalizer: Any = None, pre: Any = None, change: Callable[[Any], None] | None = None
) -> Any:
    """SentencePiece's BPE with byte fallback, as transformers converts it: each way to join two
    pieces to a third is a merge, in the order of the third."""
    spaces = normalizers.Replace(" ", "▁")
    raw = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    raw.normalizer = spaces
    raw.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=ROWS - 10, special_tokens=[*SPECIALS[:3], *bytes_], show_progress=False
    )
    raw.train_from_iterator([f"▁{line}" for line in CORPUS * 4], trainer)
    rules = json.loads(raw.to_str())
    vocab, merges = rules["model"]["vocab"], rules["model"]["merges"]
    pieces = dict.fromkeys("".join(merge) for merge in merges)
    rules["model"]["merges"] = [
        [piece[:at], piece[at:]]
        for piece in pieces
        for at in range(1, len(piece))
        if piece[:at] in vocab and piece[at:] in vocab
    ]
    rules["added_tokens"] = [one for one in rules["added_tokens"] if one["id"] < 3]
    rules["normalizer"] = rules["pre_tokenizer"] = None
    if change is not None:
        change(rules["model"])
    raw = Tokenizer.from_str(json.dumps(rules))
    if normalizer is not None:
        raw.normalizer = normalizer
    if pre is not None:
        raw.pre_tokenizer = pre
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    raw.add_special_tokens(SPECIALS[3:])
    return wrapped(raw)


def metaspace(scheme: str) -> Any:
    return pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)


def spaced(model: Any) -> None:
    # As Gemma's: two spaces are a piece, and the first of all merges.
    model["vocab"]["▁▁"] = len(model["vocab"])
    model["merges"].insert(0, ["▁", "▁"])


def with_added(tokenizer: Any, *tokens: str, **rules: bool) -> Any:
    tokenizer.add_tokens([AddedToken(token, **rules) for token in tokens])
    return tokenizer


REPLACE = normalizers.Replace(" ", "▁")
PREPEND = normalizers.Sequence([normalizers.Prepend("▁"), REPLACE])
KINDS: Mapping[str, tuple[Any, str]] = {
    "gpt-2": (byte_level(words), "gpt-2"),
    "smollm": (
        byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])),
        "smollm",
    ),
    "llama 3": (byte_level(split(LLAMA3), whole=True, bos=True), "llama-bpe"),
    "llama 3, merging": (byte_level(split(LLAMA3)), "smaug-bpe"),
    "qwen2": (byte_level(split(QWEN2), normalizer=normalizers.NFC()), "qwen2"),
    "tekken": (byte_level(split(TEKKEN), whole=True), "tekken"),
    "llama 2": (sentencepiece(PREPEND), "default"),
    "gemma": (sentencepiece(REPLACE), "default"),
    "gemma, added": (
        with_added(
            sentencepiece(REPLACE, change=spaced), "▁▁", "\n\n", "<b>", "don't", normalized=False
        ),
        "default",
    ),
    "first": (sentencepiece(pre=metaspace("first")), "default"),
    "always": (sentencepiece(pre=metaspace("always")), "default"),
}


def probed(tokenizer: Any) -> tuple[str, ...]:
    tokens = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    return (*texts(SPECIALS[1:]), *added(tokens[1:]))


def saved(tokenizer: Any, path: Path) -> Vocabulary:
    """The tokenizer in a file with a model of one layer."""
    config = LlamaConfig(
        vocab_size=ROWS,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    tensors = AutoModelForCausalLM.from_config(config).state_dict()
    found = vocabulary(tokenizer, ROWS, PromptForm.of(tokenizer))
    write_model(path, "tokens", config, tensors, found, "f32")
    return found


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Vocabulary, Any]]:
    """Each kind's file, what is in it, and llama.cpp's ids of the texts."""
    folder = tmp_path_factory.mktemp("tokenizers")
    found, requests = {}, []
    for name, (tokenizer, _) in KINDS.items():
        path = folder / f"{name}.gguf"
        found[name] = path, saved(tokenizer, path)
        probes = found[name][1].comparable(probed(tokenizer))
        asks = {"prompts": [], "tokens": 0, "banned": [], "texts": probes}
        requests.append({"model": str(path), **asks})
    results = asked(folder, requests)
    return {
        name: (*one, result["texts"])
        for (name, one), result in zip(found.items(), results, strict=True)
    }


@pytest.mark.parametrize("name", KINDS)
def test_llama_cpp_makes_the_same_tokens(name: str, read: Any) -> None:
    tokenizer, pre = KINDS[name]
    _, found, told = read[name]
    assert found.pre == pre
    for text, ids in zip(found.comparable(probed(tokenizer)), told, strict=True):
        assert ids == tokenizer(text)["input_ids"], text
    assert len(told) >= 40


def test_a_file_has_the_special_tokens_and_the_template(read: Any) -> None:
    value = {name: one.contents() for name, one in GGUFReader(read["llama 3"][0]).fields.items()}
    tokenizer, _ = KINDS["llama 3"]
    assert value["tokenizer.chat_template"] == CHAT_TEMPLATE
    assert value["tokenizer.ggml.add_bos_token"] is True
    assert value["tokenizer.ggml.add_eos_token"] is False
    ids = {role: value[f"tokenizer.ggml.{role}_token_id"] for role in ("bos", "eos", "eot")}
    # The template ends a turn with another token than the end of text.
    assert ids == {"bos": 1, "eos": 2, "eot": 4}
    tokens, types = value["tokenizer.ggml.tokens"], value["tokenizer.ggml.token_type"]
    assert tokens[: len(tokenizer)] == tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    assert types[:5] == [TokenType.CONTROL] * 5
    # The embedding has more rows than the tokenizer has tokens.
    assert len(tokens) == ROWS > len(tokenizer)
    assert set(types[len(tokenizer) :]) == {TokenType.UNUSED}


def test_byte_fallback_is_typed_and_scored(read: Any) -> None:
    _, found, _ = read["llama 2"]
    assert found.types[0] == TokenType.UNKNOWN
    assert [found.tokens[3 + ten] for ten in (0, 255)] == ["<0x00>", "<0xFF>"]
    assert set(found.types[3:259]) == {TokenType.BYTE}
    assert found.space
    assert not read["gemma"][1].space
    merged = [score for score in found.scores if score]
    assert len(set(merged)) == len(merged)
    assert max(merged) < 0


def test_what_llama_cpp_reads_otherwise_is_said() -> None:
    found = vocabulary(KINDS["qwen2"][0], ROWS, PromptForm.of(KINDS["qwen2"][0]))
    assert any("NFC" in note for note in found.notes)
    for name, said in (("first", "does not begin with a special"), ("always", "begins with one")):
        tokenizer, _ = KINDS[name]
        (note,) = vocabulary(tokenizer, ROWS, PromptForm.of(tokenizer)).notes
        assert said in note
    tokenizer, _ = KINDS["first"]
    plain = vocabulary(tokenizer, ROWS, PromptForm.of(tokenizer, "plain"))
    assert plain.space
    assert "after each special token" in plain.notes[0]


def test_tokens_for_spaces_are_written_so_that_answers_have_spaces(read: Any) -> None:
    """llama.cpp writes a user's token as it is, with the sign for a space, and merges none."""
    tokenizer, found = KINDS["gemma, added"][0], read["gemma, added"][1]
    number = tokenizer.convert_tokens_to_ids("▁▁")
    assert (found.tokens[number], found.types[number]) == ("▁▁", TokenType.NORMAL)
    assert found.types[tokenizer.convert_tokens_to_ids("<b>")] == TokenType.USER_DEFINED


def test_a_token_that_takes_the_spaces_beside_it_is_said_and_not_compared() -> None:
    tokenizer = with_added(byte_level(words), "<mask>", lstrip=True)
    found = vocabulary(tokenizer, ROWS, PromptForm.of(tokenizer))
    assert "does not strip the spaces beside <mask>" in found.notes[0]
    assert found.comparable(["a <mask>", "a b"]) == ("a b",)


def unordered(model: Any) -> None:
    # One of the ways to join two tokens to a third comes after all others.
    unions = [left + right for left, right in model["merges"]]
    at = next(n for n, union in enumerate(unions) if unions.count(union) > 1)
    model["merges"].append(model["merges"].pop(at))


def incomplete(model: Any) -> None:
    # "▁th" from "▁" and "th" is then no merge, but llama.cpp joins them.
    del model["merges"][next(n for n, (a, b) in enumerate(model["merges"]) if len(a + b) > 2)]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: byte_level(split(r"\p{L}+|\P{L}+")), r"pre-tokenizer \\p\{L\}\+\|"),
        (lambda: byte_level(split(QWEN2), whole=True), "where whole words skip the merges"),
        (lambda: byte_level(pre_tokenizers.ByteLevel()), "ByteLevel.*add_prefix_space=True"),
        (lambda: byte_level(pre_tokenizers.Whitespace()), "Whitespace"),
        (lambda: byte_level(words, normalizer=normalizers.Lowercase()), "normalizer Lowercase"),
        (lambda: sentencepiece(REPLACE, change=unordered), "no order by token"),
        (lambda: sentencepiece(REPLACE, change=incomplete), "no order by token"),
        (lambda: sentencepiece(normalizers.NFKC()), "NFKC is not what llama.cpp does"),
        (
            lambda: with_added(sentencepiece(PREPEND), "New York", normalized=True),
            "its added token 'New York' as ' New York'",
        ),
        (lambda: wrapped(Tokenizer(models.Unigram([("<unk>", 0.0)], 0))), "a Unigram model"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tokenizer_that_llama_cpp_lacks_is_refused_by_name(make: Any, named: str) -> None:
    tokenizer = make()
    with pytest.raises(ExportError, match=named) as caught:
        vocabulary(tokenizer, ROWS, PromptForm.of(tokenizer))
    assert "--to merged" in str(caught.value)


def test_a_tokenizer_that_adds_other_tokens_or_has_no_end_is_refused() -> None:
    tokenizer = byte_level(words)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 3)]
    )
    with pytest.raises(ExportError, match=r"adds \[3\] to a text"):
        vocabulary(tokenizer, ROWS, PromptForm.of(tokenizer))
    tokenizer = byte_level(words)
    tokenizer.eos_token = tokenizer.chat_template = None
    with pytest.raises(ExportError, match="no end token"):
        vocabulary(tokenizer, ROWS, PromptForm.of(tokenizer))
