"""What a model reads is what the row says: nothing lost, nothing twice, nothing added.

The expected texts and tokens are written out by hand.
"""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Message, Row
from lora_magic.errors import DataError, PromptError
from lora_magic.training.encode import Encoded, encode, encode_labelled
from lora_magic.training.preference import encode_preferences
from lora_magic.training.sample import sample_line
from tests.tiny import CHAT_TEMPLATE, tiny_tokenizer

SWALLOWS = CHAT_TEMPLATE.replace(
    "{% for m in messages %}", "{% for m in messages if m.role != 'system' %}"
)
PARTS = CHAT_TEMPLATE.replace(
    "{{ m['content'] }}", "{% for c in m['content'] %}{{ c.text }}{% endfor %}"
)
STRIPS = CHAT_TEMPLATE.replace("m['content']", "m['content'] | trim")
THINKS_FIRST = CHAT_TEMPLATE.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
THINKS_INSIDE = CHAT_TEMPLATE.replace(
    "{{ m['content'] }}",
    "{% if m['role'] == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m['content'] }}",
)
STARTS = "{{ bos_token }}" + CHAT_TEMPLATE
TOOLS = (
    "{% if tools %}<|im_start|>system\n{% for t in tools %}{{ t.function.name }} {% endfor %}"
    "<|im_end|>\n{% endif %}" + CHAT_TEMPLATE
).replace(
    "{{ m['content'] }}",
    "{{ m['content'] }}{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}"
    "({{ c.function.arguments | tojson }}){% endfor %}",
)
CALL = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Ghent"}'}}
OFFER = ({"type": "function", "function": {"name": "weather"}},)


def chatting(template: str) -> Any:
    tokenizer: Any = tiny_tokenizer(chat=True)
    tokenizer.chat_template = template
    return tokenizer


def starting(template: str | None = None) -> Any:
    """A tokenizer that adds <s> before each text."""
    tokenizer: Any = tiny_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    start = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", start)]
    )
    tokenizer.chat_template = template
    return tokenizer


def ending() -> Any:
    """A tokenizer that adds its end of text after each text (add_eos_token=True)."""
    tokenizer: Any = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
    )
    return tokenizer


def wordpiece(*words: str, unknown: str | None = "[UNK]") -> Any:
    """A lower-casing WordPiece of whole words, as BERT's."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    raw = Tokenizer(models.WordPiece({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token=unknown,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def metaspace() -> Any:
    """Characters with a sign for a space and <s> in front, as sentencepiece makes them."""
    names = ["<unk>", "<s>", "</s>", "\n", *"▁abcdefghijklmnopqrstuvwxyzW?."]
    raw = Tokenizer(models.BPE({n: i for i, n in enumerate(names)}, [], unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    raw.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
    raw.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def encoded(tokenizer: Any, *rows: Row, system: str | None = None) -> Encoded:
    return encode(rows, tokenizer, PromptForm.of(tokenizer, system=system), 128)


def read(tokenizer: Any, *rows: Row, system: str | None = None) -> list[str]:
    """What each example says, and after `⟦` what of it is trained."""
    found = []
    for example in encoded(tokenizer, *rows, system=system).examples:
        at = sum(label < 0 for label in example.labels)
        prompt = tokenizer.decode(example.tokens[:at])
        found.append(f"{prompt}⟦{tokenizer.decode(example.tokens[at:])}")
    return found


ASK = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("template", "row", "text"),
    [
        (CHAT_TEMPLATE, Row("q", "a"), f"{ASK}⟦a<|im_end|>"),
        (PARTS, Row("q", "a"), f"{ASK}⟦a<|im_end|>"),
        (STRIPS, Row(" q\n", " a "), f"{ASK}⟦a<|im_end|>"),
        (THINKS_FIRST, Row("q", "a"), f"{ASK}<think>\n⟦a<|im_end|>"),
        (THINKS_FIRST, Row("q", "<think>\nb</think>a"), f"{ASK}<think>\n⟦b</think>a<|im_end|>"),
        (THINKS_INSIDE, Row("q", "a"), f"{ASK}⟦<think>\n\n</think>\n\na<|im_end|>"),
        (
            THINKS_INSIDE,
            Row("q", "<think>b</think>a"),
            f"{ASK}⟦<think>b</think>a<|im_end|>",
        ),
        (CHAT_TEMPLATE, Row("q", "a<|im_end|>\n"), f"{ASK}⟦a<|im_end|>"),
        (CHAT_TEMPLATE, Row("q<|endoftext|>", "a<|endoftext|>"), f"{ASK}⟦a<|im_end|>"),
    ],
)
def test_a_template_writes_the_row_once_with_one_end(template: str, row: Row, text: str) -> None:
    assert read(chatting(template), row) == [text]


def test_what_is_asked_is_what_was_trained() -> None:
    for tokenizer in (
        *map(chatting, (CHAT_TEMPLATE, PARTS, STRIPS, THINKS_FIRST, THINKS_INSIDE)),
        starting(),
        starting(STARTS),
        ending(),
        metaspace(),
    ):
        (example,) = encoded(tokenizer, Row("q", "a")).examples
        asked = PromptForm.of(tokenizer).encode(tokenizer, "q")
        assert list(example.tokens[: len(asked)]) == asked
        assert all(label < 0 for label in example.labels[: len(asked)])
        assert example.labels[len(asked)] >= 0


def test_a_template_that_swallows_a_turn_is_an_error_with_the_rows_and_the_words() -> None:
    tokenizer = chatting(SWALLOWS)
    told = r"leaves out the system message 'Be brief\.'"
    with pytest.raises(DataError, match=rf"^rows 3, 9: .*{told}.*--template plain"):
        encoded(tokenizer, Row("q", "a", line=3), Row("r", "b", line=9), system="Be brief.")
    with pytest.raises(PromptError, match=told):
        PromptForm.of(tokenizer, system="Be brief.").encode(tokenizer, "q")
    own = Row("q", "a", system="Be brief.", line=2)
    with pytest.raises(DataError, match=rf"^row 2: .*{told}"):
        encoded(tokenizer, Row("q", "a", line=1), own)
    only_last = "{% set m = messages[-1] %}" + CHAT_TEMPLATE.replace(
        "{% for m in messages %}", "{% for m in messages[-2:] %}"
    )
    turns = tuple(Message("user" if n % 2 else "assistant", f"turn {n}") for n in range(1, 5))
    with pytest.raises(DataError, match=r"row 1: .*leaves out the user's turn 'turn 1'"):
        encoded(chatting(only_last), Row(None, "turn 4", turns))


@pytest.mark.parametrize("short", ["user", "a", "im", "."])
def test_a_swallowed_turn_is_seen_though_its_words_stand_elsewhere(short: str) -> None:
    with pytest.raises(DataError, match="leaves out the system message"):
        encoded(chatting(SWALLOWS), Row("user im a .", "a"), system=short)


def test_a_rows_own_system_message_comes_before_that_of_the_flag() -> None:
    tokenizer = tiny_tokenizer(chat=True)
    rows = Row("q", "a", system="Own."), Row("q", "a", system=" "), Row("q", "a")
    texts = read(tokenizer, *rows, system="Flag.")
    head = "<|im_start|>system\n{}<|im_end|>\n"
    assert texts == [
        head.format(word) + f"{ASK}⟦a<|im_end|>" for word in ("Own.", "Flag.", "Flag.")
    ]
    said = Message("system", "Other."), Message("user", "q"), Message("assistant", "a")
    with pytest.raises(DataError, match=r"row 1: two system messages, 'Own\.' and 'Other\.'"):
        encoded(tokenizer, Row(None, "a", said, system="Own."))


def test_in_the_plain_form_a_system_message_is_a_line_and_is_mentioned() -> None:
    tokenizer = tiny_tokenizer()
    found = encoded(tokenizer, Row("q", "a", system="Own."))
    assert tokenizer.decode(found.examples[0].tokens) == "Own.\nq\na<|endoftext|>"
    assert "system message on a line before" in found.sample


def test_a_turn_with_weight_0_is_read_and_not_trained() -> None:
    turns = (
        Message("user", "q"),
        Message("assistant", "wrong", trained=False),
        Message("user", "again"),
        Message("assistant", "right"),
    )
    (text,) = read(tiny_tokenizer(chat=True), Row(None, "right", turns))
    before, _, trained = text.partition("⟦")
    assert trained == "right<|im_end|>"
    assert "wrong<|im_end|>" in before
    nothing = Row(None, "wrong", turns[:2], line=5)
    with pytest.raises(DataError, match=r"every answer in row 5 has weight 0"):
        encoded(tiny_tokenizer(chat=True), nothing)


def test_tools_and_calls_are_rendered_or_refused_by_name() -> None:
    turns = Message("user", "q"), Message("assistant", "", more={"tool_calls": [CALL]})
    row = Row(None, "", turns, tools=OFFER)
    (text,) = read(chatting(TOOLS), row)
    assert text.startswith("<|im_start|>system\nweather <|im_end|>\n")
    assert text.endswith('assistant\n⟦<call>weather({"city": "Ghent"})<|im_end|>')
    with pytest.raises(DataError, match=r"row 1: .*leaves out the tools \(weather\)"):
        encoded(chatting(CHAT_TEMPLATE), row)
    with pytest.raises(DataError, match="leaves out the tool call weather"):
        encoded(chatting(CHAT_TEMPLATE), Row(None, "", turns))
    with pytest.raises(DataError, match="tool calls need a chat template"):
        encoded(tiny_tokenizer(), Row(None, "", turns))


def test_a_reasoning_block_that_the_template_closes_is_not_opened_again() -> None:
    closed = CHAT_TEMPLATE.replace(
        "assistant\n{% endif", "assistant\n<think>\n\n</think>\n\n{% endif"
    )
    assert read(chatting(closed), Row("q", "a")) == [f"{ASK}<think>\n\n</think>\n\n⟦a<|im_end|>"]
    with pytest.raises(DataError, match=r"row 1: the chat template closes <think>"):
        encoded(chatting(closed), Row("q", "<think>b</think>a"))


def test_no_end_token_follows_the_prompt_of_a_tokenizer_that_adds_one() -> None:
    assert read(ending(), Row("q", "a")) == ["q\n⟦a<|endoftext|>"]
    tokens = encoded(ending(), Row(None, "a text")).examples[0].tokens
    assert tokens.count(0) == 1
    assert tokens[-1] == 0


@pytest.mark.parametrize(
    ("tokenizer", "row", "text"),
    [
        (starting(), Row("q", "a"), "<s>q\n⟦a<|endoftext|>"),
        (starting(), Row("<s>q", "a<|endoftext|>"), "<s>q\n⟦a<|endoftext|>"),
        (starting(), Row(None, "<s>q a<|endoftext|>\n"), "<s>⟦q a<|endoftext|>"),
        (starting(STARTS), Row("<s>q", "a<|im_end|>"), f"<s>{ASK}⟦a<|im_end|>"),
        (starting(STARTS), Row("q", "<s>a"), f"<s>{ASK}⟦a<|im_end|>"),
        (metaspace(), Row("where", "a fox"), "<s> where\n⟦a fox</s>"),
    ],
)
def test_beginning_and_end_occur_once_whoever_brings_them(
    tokenizer: Any, row: Row, text: str
) -> None:
    (found,) = read(tokenizer, row)
    assert found.replace("<s> ", "<s>") == text.replace("<s> ", "<s>")


@pytest.mark.parametrize("inside", ["a<|im_end|>b", "<|im_start|>user\na", "a<|endoftext|> b"])
def test_a_control_token_inside_a_field_is_refused_with_the_row(inside: str) -> None:
    tokenizer = tiny_tokenizer(chat=True)
    with pytest.raises(DataError, match=r"row 4: <\|\w+\|> inside the completion"):
        encoded(tokenizer, Row("q", inside, line=4))
    with pytest.raises(DataError, match=r"row 4: <\|\w+\|> inside the user turn"):
        encoded(tokenizer, Row(inside, "a", line=4))


def test_prompt_and_answer_are_the_tokens_of_their_joined_text() -> None:
    tokenizer = metaspace()
    (example,) = encoded(tokenizer, Row("where", "a fox")).examples
    names = tokenizer.convert_ids_to_tokens(list(example.tokens))
    assert names == ["<s>", *"▁where", "\n", *"a▁fox", "</s>"]


def test_lower_case_passes_an_unknown_word_is_mentioned_and_a_lost_one_is_refused() -> None:
    tokenizer = wordpiece("the", "fox", "eats", "mice", "!")
    cased = encode_labelled([Row("The FOX eats   mice!", "x")], tokenizer, ["x"], 64)
    assert cased.notes == ()
    unknown = encode_labelled([Row("The owl eats", "x"), Row("fox", "x")], tokenizer, ["x"], 64)
    assert unknown.notes == ("1 row with unknown tokens",)
    raw = tokenizer.backend_tokenizer
    letters = {letter: place for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz \n")}
    raw.model = models.BPE(letters, [])
    raw.normalizer, raw.decoder = None, decoders.Fuse()
    raw.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    lossy = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="z")
    encoded(lossy, Row("the fox", "eats"))
    with pytest.raises(DataError, match=r"^row 7: the tokenizer loses '🦊'"):
        encoded(lossy, Row("the fox", "eats", line=6), Row("the 🦊", "eats", line=7))
    with pytest.raises(DataError, match=r"^row 2: the tokenizer loses 'ß'"):
        encode_labelled([Row("fox", "x"), Row("fuß", "x")], lossy, ["x"], 64)


def test_a_pair_of_texts_is_encoded_as_a_pair() -> None:
    tokenizer = wordpiece("the", "fox", "eats")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    rows = [
        Row("the fox", "x", second="eats"),
        Row("[CLS]fox[SEP]", "x"),
        Row("the fox", "x", second="eats the fox"),
    ]
    found = encode_labelled(rows, tokenizer, ["x"], 7)
    assert [example.tokens for example in found.examples] == [
        (2, 4, 5, 3, 6, 3),
        (2, 5, 3),
        (2, 4, 5, 3, 6, 4, 3),
    ]
    assert (found.cut, found.lengths) == (1, (6, 3, 8))


def test_a_text_of_one_token_is_not_called_a_long_prompt() -> None:
    tokenizer: Any = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(DataError, match=r"row 2 has one token, which nothing comes before"):
        encoded(tokenizer, Row(None, "a", line=2))


def test_the_sample_is_one_line_with_the_trained_part_marked() -> None:
    tokenizer = tiny_tokenizer(chat=True)
    found = encoded(tokenizer, Row("Where?", "Here.\nThere."), Row("q", "a"))
    assert found.sample == sample_line(found, tokenizer)
    assert found.sample.endswith("assistant↵⟦Here.↵There.<|im_end|>⟧")
    long = encoded(tokenizer, Row("Where? " * 9, "Here. " * 9))
    assert len(long.sample) <= 120
    assert "\n" not in long.sample
    assert long.sample.endswith("<|im_end|>⟧")


def skipping(tokenizer: Any, *rows: Row) -> Encoded:
    return encode(rows, tokenizer, PromptForm.of(tokenizer), 128, skip_bad=True)


def test_rows_that_the_tokenizer_refuses_are_skipped_whole_and_listed() -> None:
    """The good rows make the same examples as alone; no row of a bad conversation is trained."""
    inside = "a<|im_end|>b"
    turns = [Message("user", "q"), Message("assistant", "good")]
    bad = Row(None, inside, (*turns, Message("user", "r"), Message("assistant", inside)), line=4)
    good = [Row("q", "a", line=2), Row("r", "b", line=9)]
    found = skipping(chatting(CHAT_TEMPLATE), good[0], bad, good[1], Row("s", inside, line=11))
    alone = encode(good, chatting(CHAT_TEMPLATE), PromptForm.of(chatting(CHAT_TEMPLATE)), 128)
    assert [e.tokens for e in found.examples] == [e.tokens for e in alone.examples]
    assert [(e.row, e.number) for e in found.examples] == [(0, 2), (2, 9)]
    assert found.lengths == alone.lengths
    assert found.skipped.startswith("2 rows skipped (rows 4, 11: <|im_end|> inside the completion")
    assert found.skipped in found.sample
    with pytest.raises(DataError, match=r"^rows 4, 11: .*To leave them out, add --skip-bad\."):
        encoded(chatting(CHAT_TEMPLATE), good[0], bad, Row("s", inside, line=11))


def test_bad_rows_alone_are_an_error_whether_they_are_skipped_or_not() -> None:
    bad = Row("q", "a<|im_end|>b", line=3)
    for given in (encoded, skipping):
        with pytest.raises(DataError, match=r"^row 3: <\|im_end\|> inside") as caught:
            given(chatting(CHAT_TEMPLATE), bad)
        assert "skip-bad" not in str(caught.value)


def test_labelled_rows_and_preferences_are_skipped_likewise() -> None:
    tokenizer = wordpiece("fox", "eats")
    rows = [Row("fox", "x", line=1), Row("eats", "z", line=2), Row(None, "fox", line=5)]
    found = encode_labelled(rows, tokenizer, ["x"], 64, skip_bad=True)
    assert [e.row for e in found.examples] == [0]
    assert found.skipped == (
        "2 rows skipped (row 2: unknown label 'z'; row 5: a text without a label)"
    )
    tokenizer = chatting(CHAT_TEMPLATE)
    pairs = [
        Row("q", "same", rejected="same", line=1),
        Row("q", "good", rejected="b<|im_end|>c", line=2),
        Row("q", "b<|im_end|>c", rejected="bad", line=3),
        Row("q", "good", rejected="bad", line=4),
    ]
    with pytest.raises(DataError, match=r"row 1: chosen and rejected are the same"):
        encode_preferences(pairs, tokenizer, PromptForm.of(tokenizer), 64)
    kept = encode_preferences(pairs, tokenizer, PromptForm.of(tokenizer), 64, skip_bad=True)
    assert [e.number for e in kept.examples] == [4]
    assert (kept.empty, kept.full) == (0, 0)
    assert kept.skipped.startswith("3 rows skipped (row 1: chosen and rejected are the same; row")
    assert "rows 3, 2: <|im_end|> inside" in kept.sample


def test_a_pair_whose_segments_are_not_used_says_so() -> None:
    tokenizer = wordpiece("fox", "eats")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A", pair="$A:0 $B:1", special_tokens=[]
    )
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    assert tokenizer("fox", "eats")["token_type_ids"] == [0, 1]
    pair, one = Row("fox", "x", second="eats"), Row("fox", "x")
    assert "segment ids" in "".join(encode_labelled([pair], tokenizer, ["x"], 64).notes)
    assert encode_labelled([one], tokenizer, ["x"], 64).notes == ()
