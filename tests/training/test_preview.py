"""A preview shows what a run would train on, and what is odd about the rows."""

from __future__ import annotations

from typing import Any

import pytest

from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Message, Row
from lora_magic.training.encode import encode, encode_labelled
from lora_magic.training.oddities import Lengths, oddities
from lora_magic.training.preview import Preview, previewed
from lora_magic.training.sample import read_tokens, sample_line
from tests.tiny import tiny_tokenizer

CHAT = tiny_tokenizer(chat=True)
FORM = PromptForm.of(CHAT)


def preview(
    *rows: Row, max_length: int = 64, shown: int = 3, held_out: tuple[int, ...] = ()
) -> Preview:
    return previewed(
        rows,
        encode(rows, CHAT, FORM, max_length),
        CHAT,
        adapter="pirate",
        form="chat",
        max_length=max_length,
        held_out=held_out,
        shown=shown,
    )


def test_a_run_and_a_preview_call_a_row_of_a_file_by_its_line() -> None:
    rows = [Row("q", "a", line=4)]
    assert sample_line(encode(rows, CHAT, FORM, 64), CHAT).startswith("row 4 as it is read")
    assert preview(*rows).rows[0].line.startswith("row 4 · ")


def odd(*rows: Row, max_length: int = 64) -> list[str]:
    return [one.line for one in oddities(rows, encode(rows, CHAT, FORM, max_length), max_length)]


def test_tokens_are_named_marked_and_joined_they_are_the_text() -> None:
    (example,) = encode([Row("Où, 🦊?", "A fox")], CHAT, FORM, 64).examples
    tokens = read_tokens(example, CHAT)
    assert [token.id for token in tokens] == list(example.tokens)
    assert "".join(token.text for token in tokens) == (
        "<|im_start|>user\nOù, 🦊?<|im_end|>\n<|im_start|>assistant\nA fox<|im_end|>"
    )
    assert [token.text for token in tokens if token.special] == [
        "<|im_start|>",
        "<|im_end|>",
        "<|im_start|>",
        "<|im_end|>",
    ]
    assert "".join(token.text for token in tokens if token.trained) == "A fox<|im_end|>"


def test_the_text_form_has_brackets_bars_and_visible_white_space() -> None:
    text = repr(preview(Row("The fox", "the lazy dog", line=4)))
    assert "row 4 · " in text
    assert "<|im_start|>|user|↵|" in text
    line = next(line for line in text.split("\n") if "⟦" in line and "<|im" in line)
    prompt, _, trained = line.partition("⟦")
    assert prompt.replace("|", "").strip() == "<im_start>user↵The·fox<im_end>↵<im_start>assistant↵"
    assert trained.replace("|", "") == "the·lazy·dog<im_end>⟧"


def test_the_page_marks_what_is_trained_without_colour_and_names_special_tokens() -> None:
    page = str(preview(Row("q", "a"))._repr_mimebundle_()["text/html"])
    _, _, row = page.partition("row 1")
    assert row.count("<mark") == 1
    assert "text-decoration:underline" in row
    assert row.count("<b>&lt;|im_end|&gt;</b>") == 2


def test_the_frame_has_a_row_for_each_token() -> None:
    frame = preview(Row("q", "a"), Row("r", "b")).to_frame()
    assert frame["row"].unique().tolist() == [1, 2]
    assert frame[frame["trained"]]["token"].tolist() == ["a", "<|im_end|>", "b", "<|im_end|>"]
    first = frame[frame["row"] == 1]
    assert first["position"].tolist() == list(range(1, len(first) + 1))


def test_the_longest_row_is_shown_if_it_is_cut() -> None:
    rows = [Row("q", "a", line=n) for n in range(1, 6)] + [Row("q", "fox " * 90, line=6)]
    found = preview(*rows, shown=2)
    assert [row.number for row in found.rows] == [1, 6]
    assert found.rows[1].cut > 0
    assert len(found.rows[1].tokens) == 64


def test_what_is_cut_empty_or_too_long_is_named_with_how_much() -> None:
    long = Row("r", "x" * 70, line=2)
    length = len(encode([long], CHAT, FORM, 999).examples[0].tokens)
    lines = odd(Row("q", "a", line=1), long, Row("", "a", line=3), Row("x" * 99, "a", line=4))
    assert lines == [
        "left out as empty: 1 row (3)",
        "left out, the prompt alone fills 64 tokens: 1 row (4)",
        f"cut at 64 tokens: 1 row, by up to {length - 64} tokens (2)",
    ]


def test_equal_prompts_with_different_replies_and_equal_rows_are_named() -> None:
    rows = [Row("q", "a"), Row("r", "b"), Row("q", "c"), Row("r", "b"), Row("s", "a")]
    assert odd(*rows) == [
        "equal prompts with different replies: 2 rows (1, 3)",
        "the same as an earlier row: 1 row (4)",
    ]
    assert odd(Row("q", "a", system="x"), Row("q", "b", system="y")) == []
    turns = Message("user", "q"), Message("assistant", "a")
    other = (turns[0], Message("assistant", "b"))
    assert odd(Row(None, "a", turns), Row(None, "b", other)) == [
        "equal prompts with different replies: 2 rows (1, 2)"
    ]
    assert odd(Row("q", "a"), Row("r", "b")) == []


def test_labels_out_of_balance_are_told_with_their_shares() -> None:
    def found(*labels: str) -> list[str]:
        rows = [Row(f"text {n}", label) for n, label in enumerate(labels)]
        return [one.line for one in oddities(rows, encode_labelled(rows, CHAT, ["x", "y"], 64), 64)]

    assert found(*"xxxxxxxxxy") == ["labels out of balance: x 90.0%, y 10.0%"]
    assert found(*"xxxxyyy") == []
    assert found(*"xx") == ["labels out of balance: x 100%, y 0%"]


@pytest.mark.parametrize("lengths", [[5], [1, 100], [3, 3, 4], list(range(7, 500, 3))])
def test_every_length_is_in_one_bar(lengths: list[int]) -> None:
    found = Lengths.of(lengths)
    assert sum(found.counts) == len(lengths)
    assert len(found.counts) <= 24
    for place, count in enumerate(found.counts):
        start = found.low + place * found.step
        assert count == sum(start <= length < start + found.step for length in lengths)
    assert found.low + found.step * len(found.counts) > found.longest == max(lengths)


def test_held_out_rows_are_named_and_not_counted_as_trained() -> None:
    found = preview(Row("q", "a", line=3), Row("r", "b", line=8), held_out=(1,))
    assert found.split_line == "held out: 1 row (8)"
    assert found.trained_tokens == 2
    assert [row.held_out for row in found.rows] == [False, True]
    assert found.held_out_rows == (8,)


def test_every_held_out_row_is_in_the_record_and_20_are_named() -> None:
    rows = [Row(f"q {n}", "a") for n in range(30)]
    found = preview(*rows, held_out=tuple(range(5, 30)))
    assert found.held_out_rows == tuple(range(6, 31))
    assert found.split_line.endswith("24, 25 and 5 more)")


def test_a_long_row_shows_its_ends_in_a_small_page() -> None:
    rows = [Row("fox " * 200, "dog " * 200)] * 3
    found: Any = preview(*rows, max_length=9999)
    page = str(found._repr_mimebundle_()["text/html"])
    assert len(page) < 60_000
    assert page.count(" tokens … ") == 6
