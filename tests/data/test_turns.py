"""Turns of conversations: roles, contents, weights, calls and tools."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lora_magic.data.row import Message, Row
from lora_magic.data.sources import read_data
from lora_magic.errors import DataError

USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "yo"}


def turns(*given: Any, **beside: Any) -> tuple[Message, ...]:
    (row,) = read_data([{"messages": list(given), **beside}])
    assert row.messages is not None
    return row.messages


@pytest.mark.parametrize(
    ("typed", "role"),
    [
        ("human", "user"), ("gpt", "assistant"), ("chatgpt", "assistant"), ("model", "assistant"),
        ("User", "user"), ("ASSISTANT", "assistant"), ("developer", "system"),
        ("function", "tool"), ("observation", "tool"), ("tool", "tool"), ("critic", "critic"),
    ],
)  # fmt: skip
def test_a_roles_other_names_are_that_role(typed: str, role: str) -> None:
    for keys in (("role", "content"), ("from", "value")):
        turn = dict(zip(keys, (typed, "x"), strict=True))
        assert turns(USER, turn, ANSWER)[1] == Message(role, "x")


def test_a_turn_of_weight_0_is_read_and_not_trained() -> None:
    said = turns(USER, {**ANSWER, "weight": 0}, USER, {**ANSWER, "weight": 1}, USER, ANSWER)
    assert [turn.trained for turn in said if turn.role == "assistant"] == [False, True, True]
    assert all("weight" not in turn.plain() for turn in said)


def test_what_else_a_turn_has_is_kept_for_the_template_and_gaps_are_not() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    typed = {"type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    said = turns(
        {**USER, "name": "Ann", "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": [typed], "name": None},
        {"role": "tool", "content": "1", "tool_call_id": "7", "tool_calls": []},
        ANSWER,
    )
    assert [dict(turn.more) for turn in said] == [
        {"name": "Ann"}, {"tool_calls": [call]}, {"tool_call_id": "7"}, {},
    ]  # fmt: skip


def test_sharegpts_call_of_a_function_is_a_tool_call() -> None:
    call = {"name": "f", "arguments": {"x": 1}}
    said = turns(
        {"from": "human", "value": "hi"},
        {"from": "function_call", "value": json.dumps(call)},
        {"from": "observation", "value": "1"},
        {"from": "gpt", "value": "yo"},
    )
    assert [turn.role for turn in said] == ["user", "assistant", "tool", "assistant"]
    assert said[1].more == {"tool_calls": [{"type": "function", "function": call}]}
    assert said[1].content == ""


def test_tools_are_a_list_or_its_json() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    for given in ([tool], json.dumps([tool]), np.array([tool]), tool):
        (row,) = read_data([{"messages": [USER, ANSWER], "tools": given}])
        assert row.tools == (tool,)
    for none in (None, "", "[]", []):
        assert read_data([{"messages": [USER, ANSWER], "tools": none}])[0].tools is None


def test_turns_are_read_from_json_from_pythons_text_and_from_arrays() -> None:
    given = [USER, ANSWER]
    for data in (given, json.dumps(given), str(given), np.array(given), tuple(given)):
        (row,) = read_data([{"messages": data}])
        assert row == Row(None, "yo", (Message("user", "hi"), Message("assistant", "yo")), 1)


def test_a_list_of_conversations_needs_no_names() -> None:
    (row, _) = read_data([[USER, ANSWER], [USER, ANSWER, USER, ANSWER]])
    assert row.messages == (Message("user", "hi"), Message("assistant", "yo"))


def test_turns_after_the_last_answer_are_told() -> None:
    rows = read_data([{"messages": [USER, ANSWER]}, {"messages": [USER, ANSWER, USER]}])
    assert "turns after the last answer not read: row 2" in rows.note


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([{"role": "asistant", "content": "x"}], "role 'asistant', expected.*Did you mean 'assis"),
        ([{"role": "usr", "content": "x"}, ANSWER], "turn 1 has the role 'usr'.*'user'"),
        ([{"role": 3, "content": "x"}], "turn 1 of messages has no role"),
        ([USER], "no assistant turn"),
        ([ANSWER], "a user turn must come first"),
        ([{"role": "user"}, ANSWER], "turn 1 of messages has no role or no content"),
        ([USER, {"role": "assistant", "content": None}], "turn 2 of messages"),
        ([USER, {"role": "assistant", "content": 5}], "turn 2 of messages"),
        (["hi", "yo"], "turn 1 of messages"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, ANSWER],
         "turn 1 has a part of type 'image_url', expected text only.*--map"),
        ([USER, {**ANSWER, "weight": 0.5}], "turn 2 has the weight 0.5, expected 0 or 1"),
        ([USER, {**ANSWER, "tool_calls": [{}]}], "turn 2 has a tool call without a name"),
        ([USER, {**ANSWER, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}],
         "turn 2: its call's arguments are not JSON"),
        ([USER, {"from": "function_call", "value": "f(1)"}], "turn 2: its call's fields are not"),
        ([USER, {**ANSWER, "at": object()}], "turn 2 has more than JSON can hold"),
        ([{"role": "user", "content": "nice \ud83d"}, ANSWER], r"character 6 of turn 1 is half of"),
        ([USER, {**ANSWER, "name": "\ud83d"}], r"turn 2 is half of one"),
        ([{"role": "user", "content": "a\0b"}, ANSWER], r"character 2 of turn 1 is NUL"),
        ("hello", "messages are not JSON"),
        ("[" * 20_000, "messages are not JSON"),
        (3, "messages are a int, not a list"),
        ({"a": 1}, "messages are a dict, not a list"),
    ],
)  # fmt: skip
def test_a_conversation_that_cannot_be_read_names_its_row_and_turn(given: Any, told: str) -> None:
    good = {"messages": [USER, ANSWER]}
    with pytest.raises(DataError, match=f"row 2: .*{told}") as caught:
        read_data([good, {"messages": given}])
    assert "--skip-bad" in str(caught.value)
    rows = read_data([good, {"messages": given}], skip_bad=True)
    assert [row.line for row in rows] == [1]
    assert "1 row skipped (row 2: " in rows.note


@pytest.mark.parametrize("tools", ["[...]", "hammer", [3], 3, [{"a": object()}]])
def test_tools_that_are_no_tools_are_refused_by_row(tools: object) -> None:
    with pytest.raises(DataError, match=r"row 1: (the column )?tools "):
        read_data([{"messages": [USER, ANSWER], "tools": tools}])


@pytest.mark.parametrize(
    "record",
    [
        {"chosen": [USER, ANSWER], "rejected": [{**USER, "content": "ho"}, ANSWER]},
        {"chosen": [USER, ANSWER, USER], "rejected": [USER, ANSWER, USER]},
        {"chosen": "Human: hi Assistant: yo", "rejected": "Human: hi Assistant: no"},
        {"prompt": "hi", "chosen": 3.5j, "rejected": {}},
    ],
)
def test_preferences_that_do_not_share_a_prompt_are_refused_by_row(record: Any) -> None:
    with pytest.raises(DataError, match="row 1: "):
        read_data([record])
