"""Rows in the shapes of published data sets: every word is in the row, or its column is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from lora_magic.data.row import Message, Row, Rows
from lora_magic.data.shapes import LABELLED, SHAPES
from lora_magic.data.sources import read_data
from lora_magic.data.turns import plain
from lora_magic.errors import DataError

ALPACA = {
    "instruction": "Add the numbers.",
    "input": "1 and 2",
    "output": "3",
    "text": "Below is an instruction … ### Instruction:\nAdd the numbers. … ### Response:\n3",
}
DOLLY = {
    "instruction": "Which colour is the cat?",
    "context": "The cat is red.",
    "response": "Red.",
    "category": "closed_qa",
}
SQUAD = {"id": "5", "question": "Which colour?", "context": "The cat is red.", "answer": "red"}
ORCA = {"id": "cot.1", "system_prompt": "Be terse.", "question": "2 + 2?", "response": "4"}
GSM8K = {"question": "Weng earns $12 an hour. 50 minutes?", "answer": "12/60 × 50 = 10\n#### 10"}
SHAREGPT = {
    "id": "identity_0",
    "system": "You are a parrot.",
    "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}],
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {
    "id": "1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"at": "Rome"}'},
}
OPENAI = {
    "tools": [TOOL],
    "messages": [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "How is"}, {"type": "text", "text": "Rome?"}],
        },
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
        {"role": "assistant", "content": "Awful.", "weight": 0},
        {"role": "user", "content": "Really?"},
        {"role": "assistant", "content": "No, it is sunny.", "weight": 1},
    ],
}
HELLO, YO, NO = (
    {"role": r, "content": c} for r, c in (("user", "hi"), ("assistant", "yo"), ("assistant", "no"))
)
TRL = {"prompt": [{"role": "system", "content": "Be."}, HELLO], "completion": [YO]}

USER, ANSWER = Message("user", "hi"), Message("assistant", "yo")

#: A record of each shape → its row, and the columns that are told as not used.
EXAMPLES: list[tuple[dict[str, Any], Row, tuple[str, ...]]] = [
    ({"prompt": "q", "completion": "a"}, Row("q", "a"), ()),
    ({"prompt": "q", "response": "a"}, Row("q", "a"), ()),
    ({"system": "Be.", "prompt": "q", "completion": "a"}, Row("q", "a", system="Be."), ()),
    (ALPACA, Row("Add the numbers.\n1 and 2", "3"), ("text",)),
    ({**ALPACA, "input": ""}, Row("Add the numbers.", "3"), ("text",)),
    ({**ALPACA, "instruction": ""}, Row("1 and 2", "3"), ("text",)),
    (DOLLY, Row("Which colour is the cat?\nThe cat is red.", "Red."), ("category",)),
    (SQUAD, Row("Which colour?\nThe cat is red.", "red"), ("id",)),
    (GSM8K, Row(GSM8K["question"], GSM8K["answer"]), ()),
    (ORCA, Row("2 + 2?", "4", system="Be terse."), ("id",)),
    ({"query": "q", "response": "a", "type": "x"}, Row("q", "a"), ("type",)),
    (SHAREGPT, Row(None, "yo", (USER, ANSWER), system="You are a parrot."), ("id",)),
    ({"conversation": [HELLO, YO]}, Row(None, "yo", (USER, ANSWER)), ()),
    ({"prompt_id": "x", "messages": [HELLO, YO]}, Row(None, "yo", (USER, ANSWER)), ("prompt_id",)),
    (
        OPENAI,
        Row(
            None,
            "No, it is sunny.",
            (
                Message("system", "Be kind."),
                Message("user", "How is\nRome?"),
                Message("assistant", "", True, {"tool_calls": [
                    {"id": "1", "type": "function",
                     "function": {"name": "weather", "arguments": {"at": "Rome"}}}
                ]}),
                Message("tool", "sunny", True, {"tool_call_id": "1"}),
                Message("assistant", "Awful.", False),
                Message("user", "Really?"),
                Message("assistant", "No, it is sunny."),
            ),
            tools=(TOOL,),
        ),
        (),
    ),
    (
        TRL,
        Row(None, "yo", (Message("system", "Be.", False), Message("user", "hi", False), ANSWER)),
        (),
    ),
    ({"prompt": "q", "chosen": "a", "rejected": "b"}, Row("q", "a", rejected="b"), ()),
    (
        {
            "prompt": "hi", "chosen": [HELLO, YO], "rejected": [HELLO, NO],
            "messages": [HELLO, YO], "score": 5,
        },
        Row("hi", "yo", rejected="no"),
        ("messages", "score"),
    ),
    ({"chosen": [HELLO, YO], "rejected": [HELLO, NO]}, Row("hi", "yo", rejected="no"), ()),
    ({"prompt": [HELLO], "chosen": [YO], "rejected": [NO]}, Row("hi", "yo", rejected="no"), ()),
    ({"prompt": "hi", "chosen": [YO], "rejected": [NO]}, Row("hi", "yo", rejected="no"), ()),
    (
        {"chosen": [HELLO, NO, HELLO, YO], "rejected": [HELLO, NO, HELLO, NO]},
        Row(
            None,
            "yo",
            (
                Message("user", "hi", False),
                Message("assistant", "no", False),
                Message("user", "hi", False),
                ANSWER,
            ),
            rejected="no",
        ),
        (),
    ),
    ({"text": "All of it.", "label": "good"}, Row(None, "All of it."), ("label",)),
]  # fmt: skip


def read(record: dict[str, Any], **flags: Any) -> Rows:
    return read_data([record], **flags)


@pytest.mark.parametrize(("record", "row", "unused"), EXAMPLES)
def test_a_record_of_a_known_shape_becomes_a_row_and_what_is_left_is_told(
    record: dict[str, Any], row: Row, unused: tuple[str, ...]
) -> None:
    rows = read(record)
    assert [bare(found) for found in rows] == [bare(row)]
    assert set(rows.unused) == set(unused)
    assert all(name in rows.note for name in unused)


def bare(row: Row) -> Row:
    """Without its number, and a turn of a prompt as one that may be trained: only answers are."""
    turns = row.messages and tuple(
        turn if turn.role == "assistant" else Message(turn.role, turn.content, True, turn.more)
        for turn in row.messages
    )
    return Row(
        row.prompt, row.completion, turns, None, row.system, row.tools, row.rejected, row.second
    )


@pytest.mark.parametrize(("record", "row", "unused"), EXAMPLES)
def test_every_word_of_a_record_is_in_its_row_or_in_a_column_that_is_told(
    record: dict[str, Any], row: Row, unused: tuple[str, ...]
) -> None:
    (found,) = rows = read(record)
    said = json.dumps(plain({**vars(found), "messages": [vars(m) for m in found.messages or ()]}))
    for column, value in record.items():
        for word in words(value):
            assert json.dumps(word)[1:-1] in said or column in rows.unused, word


def words(value: Any) -> Iterator[str]:
    """Every text in a cell, without the words of the format itself."""
    if isinstance(value, str) and not value.startswith("{"):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from words(inner if key not in ("role", "from", "type") else None)
    elif isinstance(value, list):
        for inner in value:
            yield from words(inner)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "+".join(shape.required))
def test_every_shape_of_the_table_has_an_example_here(shape: Any) -> None:
    assert any({*shape.required} <= {*record} for record, _, _ in EXAMPLES)


@pytest.mark.parametrize(("record", "row", "unused"), EXAMPLES)
def test_files_of_a_shape_give_the_row_that_the_record_gives(
    record: dict[str, Any], row: Row, unused: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    (tmp_path / "a.json").write_text(json.dumps([record], indent=1))
    (tmp_path / "wrapped.json").write_text(json.dumps({"version": "1.0", "data": [record]}))
    assert {bare(found) == bare(row) for f in tmp_path.iterdir() for found in read_data(f)} == {
        True
    }
    if record is OPENAI:
        return  # Its contents are of two types, which Arrow cannot hold.
    table = pyarrow.Table.from_pylist([record])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    for data in (tmp_path / "a.parquet", table, table.to_pandas()):
        assert [bare(found) for found in read_data(data)] == [bare(row)], data


LABELS = ("no", "yes")


@pytest.mark.parametrize("shape", LABELLED, ids=lambda shape: "+".join(shape.required))
def test_a_classifiers_shapes_are_a_text_or_two_and_a_label(shape: Any) -> None:
    record = {**{name: f"the {name}" for name in shape.required}, shape.answer: "yes", "idx": 7}
    (row,) = rows = read(record, labelled=True, labels=LABELS)
    second = f"the {shape.second}" if shape.second else None
    assert row == Row(f"the {shape.asks[0]}", "yes", line=1, second=second)
    assert rows.unused == ("idx",)


def test_two_columns_of_a_classifier_are_a_pair_and_of_a_writer_two_lines() -> None:
    record = {"a": "one", "b": "two", "c": "yes"}
    (pair,) = read(record, columns="a + b => c", labelled=True)
    assert (pair.prompt, pair.second, pair.completion) == ("one", "two", "yes")
    (lines,) = read(record, columns="a + b => c")
    assert (lines.prompt, lines.second, lines.completion) == ("one\ntwo", None, "yes")


@pytest.mark.parametrize(
    ("record", "columns", "prompt", "unused"),
    [
        (ALPACA, "instruction => output", "Add the numbers.\n1 and 2", ("text",)),
        (
            DOLLY,
            "instruction=>response",
            "Which colour is the cat?\nThe cat is red.",
            ("category",),
        ),
        (SQUAD, "question => answer", "Which colour?\nThe cat is red.", ("id",)),
    ],
)
def test_columns_that_make_a_known_shape_mean_that_shape_and_say_so(
    record: dict[str, str], columns: str, prompt: str, unused: tuple[str, ...]
) -> None:
    rows = read(record, columns=columns)
    assert (rows[0].prompt, rows.unused) == (prompt, unused)
    assert "joined to the prompt" in rows.note
    assert "joined" not in read(record).note


def test_columns_otherwise_mean_exactly_those_that_are_named_and_the_others_are_told() -> None:
    rows = read(ALPACA, columns="input => output")
    assert [(row.prompt, row.completion) for row in rows] == [("1 and 2", "3")]
    assert set(rows.unused) == {"instruction", "text"}
    rows = read(ALPACA, columns="instruction + input => output")
    assert (rows[0].prompt, rows.notes) == ("Add the numbers.\n1 and 2", ())
    (row,) = read({**SQUAD, "system": "Be terse."}, columns="context+question=>answer")
    assert (row.prompt, row.system) == ("The cat is red.\nWhich colour?", "Be terse.")


def test_two_columns_of_conversations_are_preferences_under_any_name() -> None:
    good, bad = [HELLO, YO], [HELLO, {"role": "assistant", "content": "No."}]
    for names in (("chosen", "rejected"), ("good", "bad")):
        record = {"question": "q", "answer": "a", **dict(zip(names, (good, bad), strict=True))}
        (row,) = read(record, columns=", ".join(names))
        assert (row.prompt, row.completion, row.rejected) == (
            HELLO["content"],
            YO["content"],
            "No.",
        )


def test_tools_that_are_no_list_are_refused_with_their_value() -> None:
    with pytest.raises(
        DataError, match=r"row 1: the column tools is '\[\.\.\.\]', expected a list"
    ):
        read({**SHAREGPT, "tools": "[...]"})


def test_columns_name_two_answers_of_which_the_first_is_better() -> None:
    (row,) = read({"q": "Why?", "good": "So.", "bad": "No."}, columns="q => good, bad")
    assert (row.prompt, row.completion, row.rejected) == ("Why?", "So.", "No.")


def test_a_columns_own_name_may_have_the_signs_between_columns() -> None:
    (row,) = read({"q + a": "one", "b, c": "two"}, columns="q + a => b, c")
    assert (row.prompt, row.completion) == ("one", "two")


def test_of_two_columns_that_differ_in_case_the_small_one_is_read_and_the_other_told() -> None:
    rows = read({"Prompt": "Q", "prompt": "q", "completion": "a"})
    assert rows[0].prompt == "q"
    assert rows.unused == ("Prompt",)


def test_a_system_column_and_another_system_turn_contradict_each_other() -> None:
    turns = [{"role": "system", "content": "Be kind."}, HELLO, YO]
    assert read({"system": "Be kind.", "messages": turns})[0].system is None
    with pytest.raises(DataError, match="row 1: a system column and another system turn"):
        read({"system": "Be terse.", "messages": turns})


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (1, "yes"), (0, "no"), (True, "yes"), (False, "no"), (1.0, "yes"), ("1", "yes"),
        ("True", "yes"), ("yes", "yes"), (" no ", "no"), (2, "2"), (-1, "-1"), ("Yes", "Yes"),
    ],
)  # fmt: skip
def test_a_label_is_its_name_or_its_place_or_whether_it_is_true(value: object, label: str) -> None:
    rows = read({"text": "t", "label": value}, labelled=True, labels=LABELS)
    assert rows[0].completion == label
    assert ("0 = no, 1 = yes" in rows.note) == (label in LABELS and value not in ("yes", " no "))


def test_numbers_are_names_where_labels_are_numbers() -> None:
    stars = ("1", "2", "3")
    for value, label in ((1, "1"), ("3", "3"), (0, "0"), (2.0, "2")):
        rows = read({"text": "t", "label": value}, labelled=True, labels=stars)
        assert rows[0].completion == label
        assert rows.notes == ()


def test_truth_finds_the_labels_that_are_called_so() -> None:
    for labels in (("false", "true"), ("True", "False")):
        for value in (True, False):
            rows = read({"text": "t", "label": value}, labelled=True, labels=labels)
            assert rows[0].completion.lower() == str(value).lower()
