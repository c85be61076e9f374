"""A request's fields: what is read, what is refused by its name, what is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lora_magic.serving.chat import IGNORED, NEUTRAL, Asked, Done, Refusal, Reply, model, read

MESSAGES = [{"role": "user", "content": "Hello"}]


def asked(**fields: Any) -> Asked:
    return read(json.dumps({"model": "pirate", "messages": MESSAGES, **fields}).encode())


def refusal(**fields: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        asked(**fields)
    assert caught.value.status == 400
    return caught.value


def test_the_defaults_are_those_of_ask() -> None:
    assert asked() == Asked("pirate", tuple(MESSAGES))
    assert asked().sampling == {"temperature": 0.0, "top_p": 1.0, "seed": 0}
    assert asked().max_tokens is None


def test_every_field_that_is_read() -> None:
    found = asked(
        max_completion_tokens=5,
        temperature=0.7,
        top_p=0.9,
        seed=3,
        stop=["a", "b"],
        stream=True,
        stream_options={"include_usage": True},
    )
    sampled = (5, 0.7, 0.9, 3, ("a", "b"), True, True)
    assert found == Asked("pirate", tuple(MESSAGES), *sampled)


@pytest.mark.parametrize(
    ("fields", "limit"),
    [({"max_tokens": 7}, 7), ({"max_tokens": 7, "max_completion_tokens": 7}, 7)],
)
def test_the_limit_has_two_names(fields: dict[str, int], limit: int) -> None:
    assert asked(**fields).max_tokens == limit


def test_seed_and_top_p_have_no_part_in_greedy_sampling() -> None:
    """So that such requests share a batch."""
    assert asked(temperature=0, top_p=0.5, seed=9).sampling == asked().sampling


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_what_changes_no_answer_is_accepted(name: str) -> None:
    assert asked(**{name: "anything"}) == asked()


@pytest.mark.parametrize("name", sorted(NEUTRAL))
def test_what_is_not_done_is_accepted_only_if_it_asks_for_nothing(name: str) -> None:
    for value in (*NEUTRAL[name], None):
        assert asked(**{name: value}) == asked()
    refused = refusal(**{name: {"anything": "else"}})
    assert refused.body["error"]["param"] == name
    assert str(refused) == f"{name} is not supported here; omit it."


@pytest.mark.parametrize(
    ("fields", "param", "text"),
    [
        ({"model": None}, "model", "model is missing; expected a text."),
        ({"model": 3}, "model", "model is not a text."),
        ({"messages": []}, "messages", "expected a list of messages"),
        ({"messages": "Hello"}, "messages", "expected a list of messages"),
        ({"messages": ["Hello"]}, "messages[0]", "an object with a role and a content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "'tool'"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "neither"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [1]}]},
            "messages[0].tool_calls",
            "not supported",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0]",
            'type "text"',
        ),
        ({"temperature": 2.5}, "temperature", "is 2.5; expected from 0 to 2"),
        ({"temperature": True}, "temperature", "is True"),
        ({"temperature": 1, "top_p": 0}, "top_p", "expected above 0, at most 1"),
        ({"top_p": 0.5}, "top_p", "no effect at temperature 0"),
        ({"seed": -1}, "seed", "a whole number from 0"),
        ({"seed": 1.5}, "seed", "a whole number from 0"),
        ({"max_tokens": 0}, "max_tokens", "expected a whole number of at least 1"),
        ({"max_tokens": "5"}, "max_tokens", "expected a whole number of at least 1"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "differ"),
        ({"stop": ""}, "stop", "at most 4 texts"),
        ({"stop": ["a"] * 5}, "stop", "at most 4 texts"),
        ({"stream": "yes"}, "stream", "neither true nor false"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "for streams"),
        ({"stream": True, "stream_options": 1}, "stream_options", "not an object"),
        ({"temprature": 1}, "temprature", "Did you mean 'temperature'?"),
        ({"tools": [{"type": "function"}]}, "tools", "not supported"),
    ],
)
def test_a_fault_names_its_field(fields: dict[str, Any], param: str, text: str) -> None:
    refused = refusal(**fields)
    assert refused.body["error"]["param"] == param
    assert refused.body["error"]["type"] == "invalid_request_error"
    assert text in str(refused)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b"[" * 60_000, b'{"model": NaN}', b'"model"']
)
def test_a_body_that_is_no_json_object(body: bytes) -> None:
    with pytest.raises(Refusal, match=r"^the body is not ") as caught:
        read(body)
    assert caught.value.status == 400


def test_parts_of_text_are_lines_and_a_developer_is_the_system() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    given = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "name": "anna", "content": parts},
        {"role": "assistant", "content": "Hm.", "refusal": None, "tool_calls": []},
        {"role": "user", "content": "Yes?"},
    ]
    assert asked(messages=given).messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one\ntwo"},
        {"role": "assistant", "content": "Hm."},
        {"role": "user", "content": "Yes?"},
    )


def test_the_objects_of_an_answer() -> None:
    reply, done = Reply(asked(), "id", 7), Done("Arr", "length", 3, 2)
    head = {"id": "id", "created": 7, "model": "pirate"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    message = {"role": "assistant", "content": "Arr", "refusal": None}
    choice = {"index": 0, "logprobs": None, "finish_reason": "length", "message": message}
    assert reply.whole(done) == {
        **head,
        "object": "chat.completion",
        "choices": [choice],
        "usage": usage,
    }
    chunk = {"index": 0, "logprobs": None, "finish_reason": None, "delta": {"content": "A"}}
    stream = {**head, "object": "chat.completion.chunk"}
    assert reply.chunk({"content": "A"}) == {**stream, "choices": [chunk]}
    end = {"index": 0, "logprobs": None, "finish_reason": "length", "delta": {}}
    assert reply.last(done) == [{**stream, "choices": [end]}]
    with_usage = Reply(asked(stream=True, stream_options={"include_usage": True}), "id", 7)
    assert with_usage.chunk({"content": "A"})["usage"] is None
    assert with_usage.last(done)[1] == {**stream, "choices": [], "usage": usage}
    assert model("base", 7)["object"] == "model"
