"""A request for a chat completion, and what answers it, as JSON in OpenAI's form.

Knows names of fields and error objects; knows no socket, no model and no session. What a field asks
for is done or refused by its name, never ignored; those that change no answer are accepted.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from lora_magic.checks import is_number, is_whole
from lora_magic.errors import near

#: Accepted, and of no effect on the answer.
IGNORED = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
        *("prompt_cache_retention", "parallel_tool_calls"),
    }
)
#: What is not done, and the values that ask for nothing. So does null, for every field.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "modalities": (["text"],),
}
_READ = (
    *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed"),
    *("stop", "stream", "stream_options"),
)
_MOST_STOPS = 4


class Refusal(Exception):  # noqa: N818 (an answer to a request, not an error of a cell)
    """A request that is not answered: HTTP's status, and OpenAI's error object.

    `param` is the field that is at fault, `code` a word for programs, `retry_after` seconds.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after
        kind = "invalid_request_error" if status < 500 else "server_error"
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True)
class Asked:
    """What a request asks for. The defaults are those of `session.ask`: greedy, 200 tokens."""

    model: str
    messages: tuple[Mapping[str, str], ...]
    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    stream: bool = False
    usage: bool = False

    @property
    def sampling(self) -> dict[str, Any]:
        """How tokens are chosen, as keywords of `generate`; only equal ones share a batch."""
        if self.temperature == 0:
            return {"temperature": 0.0, "top_p": 1.0, "seed": 0}
        return {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}


def read(body: bytes) -> Asked:
    """The request in a body; raises `Refusal` (400) with the name of the field at fault."""
    fields = _Fields({k: v for k, v in _object(body).items() if v is not None})
    fields.check_names()
    if fields.given("top_p") and not fields.given("temperature"):
        _refuse("top_p", "has no effect at temperature 0, the default here; add temperature")
    stream = fields.flag("stream")
    options = fields.mapping("stream_options")
    if options and not stream:
        _refuse("stream_options", "is for streams; add stream: true, or omit it")
    return Asked(
        model=fields.text("model"),
        messages=fields.messages(),
        max_tokens=fields.limit(),
        temperature=fields.number("temperature", 0.0, "from 0 to 2", lambda t: 0 <= t <= 2),
        top_p=fields.number("top_p", 1.0, "above 0, at most 1", lambda p: 0 < p <= 1),
        seed=int(fields.number("seed", 0, "a whole number from 0", _is_seed)),
        stop=fields.stops(),
        stream=stream,
        usage=bool(options.get("include_usage")),
    )


def _object(body: bytes) -> dict[str, Any]:
    def constant(name: str) -> NoReturn:
        raise ValueError(name)

    try:
        found = json.loads(body, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON ({str(error)[:80]}).") from None
    if not isinstance(found, dict):
        raise Refusal(400, "the body is not a JSON object with the fields model and messages.")
    return found


def _refuse(name: str, fault: str) -> NoReturn:
    raise Refusal(400, f"{name} {fault}.", param=name)


def _is_seed(value: float) -> bool:
    return is_whole(value) and 0 <= value < 2**63


@dataclass(frozen=True)
class _Fields:
    """The fields of a request, of which none is null."""

    values: Mapping[str, Any]

    def given(self, name: str) -> bool:
        return name in self.values

    def check_names(self) -> None:
        for name, value in self.values.items():
            if name in _READ or name in IGNORED or value in NEUTRAL.get(name, ()):
                continue
            known = name in NEUTRAL
            hint = "" if known else near(name, _READ)
            what = "is not supported here" if known else "is not a supported field"
            shown = name[:60]
            raise Refusal(400, f"{shown} {what}; omit it.{hint}", param=shown)

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or not value:
            _refuse(name, "is missing; expected a text" if value is None else "is not a text")
        return value

    def flag(self, name: str) -> bool:
        value = self.values.get(name, False)
        if not isinstance(value, bool):
            _refuse(name, "is neither true nor false")
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        value = self.values.get(name, {})
        if not isinstance(value, dict):
            _refuse(name, "is not an object")
        return value

    def number(self, name: str, default: float, expected: str, fits: Any) -> float:
        value = self.values.get(name, default)
        if not is_number(value) or not fits(value):
            _refuse(name, f"is {str(value)[:40]}; expected {expected}")
        number: float = value
        return number

    def limit(self) -> int | None:
        """The most new tokens, under either of its names."""
        found = set()
        for name in ("max_completion_tokens", "max_tokens"):
            value = self.values.get(name, 1)
            if not is_whole(value) or value < 1:
                _refuse(name, f"is {str(value)[:40]}; expected a whole number of at least 1")
            found |= {value} if self.given(name) else set()
        if len(found) > 1:
            _refuse("max_tokens", "and max_completion_tokens differ; send one of them")
        return next(iter(found), None)

    def stops(self) -> tuple[str, ...]:
        value = self.values.get("stop", ())
        stops = [value] if isinstance(value, str) else value
        fits = isinstance(stops, list | tuple) and len(stops) <= _MOST_STOPS
        if not fits or not all(isinstance(stop, str) and stop for stop in stops):
            _refuse("stop", f"is neither a text nor a list of at most {_MOST_STOPS} texts")
        return tuple(stops)

    def messages(self) -> tuple[Mapping[str, str], ...]:
        value = self.values.get("messages")
        if not isinstance(value, list) or not value:
            _refuse("messages", "is missing or empty; expected a list of messages")
        return tuple(_message(place, message) for place, message in enumerate(value))


def _message(place: int, message: Any) -> Mapping[str, str]:
    """A turn as chat templates take it; a conversation's rules are the session's to check."""
    where = f"messages[{place}]"
    if not isinstance(message, dict):
        _refuse(where, "is not an object with a role and a content")
    given = {name: value for name, value in message.items() if value not in (None, [])}
    odd = [name for name in given if name not in ("role", "content", "name")]
    if odd:
        _refuse(f"{where}.{odd[0][:60]}", "is not supported here; omit it")
    role = given.get("role")
    if role not in ("system", "developer", "user", "assistant"):
        _refuse(f"{where}.role", f"is {str(role)[:40]!r}; expected system, user or assistant")
    content = given.get("content", "")
    if isinstance(content, list):
        content = "\n".join(_part(f"{where}.content[{n}]", part) for n, part in enumerate(content))
    if not isinstance(content, str):
        _refuse(f"{where}.content", "is neither a text nor a list of parts")
    return {"role": "system" if role == "developer" else role, "content": content}


def _part(where: str, part: Any) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        _refuse(where, 'is not a part of the type "text", the only one that is supported')
    if not isinstance(part.get("text"), str):
        _refuse(f"{where}.text", "is not a text")
    return str(part["text"])


@dataclass(frozen=True)
class Done:
    """An answer that is complete: `finish` is "stop", or "length" if it was cut at the limit."""

    text: str
    finish: str
    prompt_tokens: int
    tokens: int

    @property
    def usage(self) -> dict[str, int]:
        """Tokens of the prompt, and of the answer with its end token."""
        total = self.prompt_tokens + self.tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": total,
        }


@dataclass(frozen=True)
class Reply:
    """The JSON objects that answer one request: a whole answer, or chunks of a stream."""

    asked: Asked
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, done: Done) -> dict[str, Any]:
        """The answer as one object."""
        message = {"role": "assistant", "content": done.text, "refusal": None}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": done.finish,
        }
        return {**self._head("chat.completion"), "choices": [choice], "usage": done.usage}

    def chunk(self, delta: Mapping[str, str], finish: str | None = None) -> dict[str, Any]:
        """One chunk of a stream; `delta` is what is new."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self.asked.usage else {}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **usage}

    def last(self, done: Done) -> list[dict[str, Any]]:
        """The chunks that end a stream: why it ended and, if it was asked for, the usage."""
        end = self.chunk({}, done.finish)
        if not self.asked.usage:
            return [end]
        return [end, {**self._head("chat.completion.chunk"), "choices": [], "usage": done.usage}]

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.asked.model,
        }


def model(name: str, created: int) -> dict[str, Any]:
    """A model in the list of models."""
    return {"id": name, "object": "model", "created": created, "owned_by": "lora_magic"}
