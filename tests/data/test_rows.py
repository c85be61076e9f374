"""Cell bodies: what is recognised, what is refused, and the lines that are named."""

from __future__ import annotations

import json

import pytest

from lora_magic.data.row import Message, Row
from lora_magic.data.rows import read_text
from lora_magic.errors import CommandError, DataError


def pairs(body: str, format: str | None = None) -> list[tuple[str | None, str]]:
    return [(row.prompt, row.completion) for row in read_text(body, format)]


def test_only_the_first_arrow_of_a_line_splits_it() -> None:
    assert pairs("a => b => c") == [("a", "b => c")]


def test_a_backslash_n_is_a_newline_on_both_sides() -> None:
    assert pairs(r"one\ntwo => three\nfour") == [("one\ntwo", "three\nfour")]


def test_blank_lines_between_arrow_rows_are_nothing_and_lines_keep_their_numbers() -> None:
    rows = read_text("\n\na => b\n\n   \nc => d\n")
    assert [(row.prompt, row.line) for row in rows] == [("a", 3), ("c", 6)]


def test_prompts_with_signs_that_mean_something_elsewhere_are_text() -> None:
    body = "#5 => five\nWhat's up? => $19.90\n{name} is => {it}"
    assert pairs("\n".join(body.split("\n")[:2])) == [("#5", "five"), ("What's up?", "$19.90")]
    assert pairs(body, "arrow")[2] == ("{name} is", "{it}")


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_a_row() -> None:
    assert pairs("\ufeffa => b\r\nc => d\r\n") == [("a", "b"), ("c", "d")]


def test_json_lines_of_each_kind_become_rows() -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    body = "\n".join(
        json.dumps(record)
        for record in (
            {"prompt": "a => b", "completion": "c\nd"},
            {"text": "all of it"},
            {"messages": turns},
        )
    )
    assert read_text(body) == (
        Row("a => b", "c\nd", line=1),
        Row(None, "all of it", line=2),
        Row(None, "ho", (Message("user", "hi"), Message("assistant", "ho")), 3),
    )


def test_blocks_of_text_are_parted_by_blank_lines() -> None:
    body = "first line\n  second line\n\n\nanother\n"
    assert read_text(body) == (
        Row(None, "first line\n  second line", line=1),
        Row(None, "another", line=5),
    )


def test_a_format_makes_text_of_what_would_be_read_otherwise() -> None:
    assert pairs("a => b\nno arrow", "text") == [(None, "a => b\nno arrow")]
    assert pairs('{"a": 1} => b', "arrow") == [('{"a": 1}', "b")]


@pytest.mark.parametrize("body", ["", "  \n\t\n"])
def test_an_empty_body_says_what_to_type(body: str) -> None:
    with pytest.raises(DataError, match=r"empty.*prompt => completion"):
        read_text(body)


def test_lines_with_and_without_an_arrow_can_be_read_two_ways() -> None:
    with pytest.raises(DataError, match=r"lines 2, 4.*line 1\b.*--format text"):
        read_text("a => b\nplain\n\nplain again")


def test_json_beside_arrows_can_be_read_two_ways() -> None:
    with pytest.raises(DataError, match=r"JSON in line 2.*not in line 1.*--format"):
        read_text('a => b\n{"text": "c"}')


def test_an_arrow_without_its_spaces_is_not_taken_for_text() -> None:
    with pytest.raises(DataError, match=r"lines 1, 2.*without a space"):
        read_text("a=>b\nc=>d")


def test_every_row_without_a_completion_or_a_prompt_names_its_line() -> None:
    with pytest.raises(DataError) as caught:
        read_text("a => b\nWhere? =>\n => there\n=>\nq => r")
    told = str(caught.value)
    assert "line 2: no completion" in told
    assert "line 3: no prompt" in told
    assert "line 4: no prompt" in told
    assert "\n" not in told
    assert "line 1" not in told
    assert "line 5" not in told


def test_with_many_faults_the_message_stays_short_and_counts_the_rest() -> None:
    with pytest.raises(DataError, match="and 15 more"):
        read_text("\n".join(["a =>"] * 20))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"prompt": "a"', "line 1: not JSON"),
        ('{"prompt": "a"}', "line 1: fields prompt"),
        ('{"prompt": "a", "completon": "b"}', "Did you mean 'completion'"),
        ('{"prompt": "a", "completion": null}', "line 1: a prompt or completion is empty"),
        ('{"prompt": "", "completion": "b"}', "line 1: a prompt or completion is empty"),
        ('{"prompt": "a", "completion": ["b"]}', "line 1: completion is a list"),
        ('{"prompt": "a", "completion": "b", "text": "c"}', "line 1: matches"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "no assistant turn"),
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "a user turn must come first"),
        ('{"messages": [{"role": "user"}]}', "turn 1 of messages"),
        ('{"messages": "a"}', "messages are not JSON"),
        ('{"prompt": ' + "9" * 5000 + ', "completion": "x"}', "line 1: not JSON (Exceeds"),
        ('{"prompt": ' + "[" * 20000 + ', "completion": "x"}', "line 1: not JSON"),
        (json.dumps({"messages": "[" * 20000}), "messages are not JSON"),
    ],
)
def test_json_that_cannot_be_a_row_is_named_with_its_line(line: str, told: str) -> None:
    with pytest.raises(DataError) as caught:
        read_text(line)
    assert told in str(caught.value)
    assert "--format text" in str(caught.value)


def test_an_unknown_format_is_answered_with_the_choices_and_the_near_one() -> None:
    with pytest.raises(CommandError, match=r"--format json: .*arrow, jsonl, text.*'jsonl'"):
        read_text("a => b", "json")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("a -> b\nc -> d", r"'->' in lines 1, 2: the arrow is '=>'"),
        ("a → b", r"'→' in line 1"),
        ("a --> b", r"'-->' in line 1"),
        ("prompt,completion\na,b", r"line 1 is a CSV header.*--data rows\.csv"),
        ("### Instruction:\nWhere?\n\n### Response:\nHere.", r"question and answer"),
        ("<user> Where?\n<assistant> Here.", r"question and answer"),
        ("a\tb\nc\td", r"the arrow is '=>'"),
        ("Q: Where?\nA: Here.", r"question and answer are on separate lines"),
        ("User: Where?\n\nAssistant: Here.", r"question and answer"),
        ('[("a", "b"), ("c", "d")]', r"line 1 starts a list.*--data VAR"),
        ('[\n{"prompt": "a"}\n]', r"line 1 starts a list"),
    ],
)
def test_rows_in_another_spelling_are_not_read_as_text(body: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_text(body)
    assert all(row.prompt is None for row in read_text(body, "text"))


@pytest.mark.parametrize(
    "body", ["He went -> home.\nThen he slept.", "[Act I]\nA forest.", "Q is a letter."]
)
def test_prose_with_such_a_sign_in_it_is_text(body: str) -> None:
    assert read_text(body)[0].prompt is None


def test_a_brace_before_an_arrow_is_a_prompt() -> None:
    (row,) = read_text("{x} costs $19.90 => {y}")
    assert (row.prompt, row.completion) == ("{x} costs $19.90", "{y}")
