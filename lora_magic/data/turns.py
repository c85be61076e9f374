"""Conversations: lists of turns, as OpenAI, ShareGPT and TRL write them, read into messages.

Knows roles, contents and tools; knows no columns, no file and no template.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

from lora_magic.errors import near, sentence

from .row import Message, RowError, check_characters

ROLES = ("system", "user", "assistant", "tool")

#: Other names of these roles. A role that is in neither list is the template's own.
_ALSO = {
    **dict.fromkeys(("human",), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "model", "bot", "ai", "function_call"), "assistant"),
    **dict.fromkeys(("function", "function_response", "observation"), "tool"),
    "developer": "system",
}

_EXPECTED = (
    'A conversation is a list like [{"role": "user", "content": "…"}, {"role": "assistant", '
    '"content": "…"}].'
)

_PARTS = ("text", "input_text", "output_text")


def no_value(value: object) -> bool:
    """Whether a cell has no value: None, NaN, NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Number) and bool(value != value)


def is_turns(value: object) -> bool:
    """Whether a cell is a list of turns, and not a text."""
    found = plain(value)
    return isinstance(found, list | tuple) and all(isinstance(turn, Mapping) for turn in found)


def plain(value: object) -> Any:
    """A cell without arrays, which Parquet and frames contain in place of lists."""
    if isinstance(value, str) or value is None:
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def conversation(value: object) -> tuple[Message, ...]:
    """A conversation's turns, up to the last; () for a cell without a value.

    Raises `RowError` for anything but a list of turns in which the assistant answers a user.
    """
    turns = turns_of(value)
    roles = [turn.role for turn in turns]
    if turns and "assistant" not in roles:
        raise RowError("messages have no assistant turn", _EXPECTED)
    last = len(roles) - 1 - roles[::-1].index("assistant") if turns else 0
    if turns and all(role in ("assistant", "system") for role in roles[:last]):
        raise RowError("messages start with the assistant: a user turn must come first")
    return turns


def turns_of(value: object) -> tuple[Message, ...]:
    """The turns of a list, or of its JSON or Python text; () for no value. Raises `RowError`."""
    found = plain(value)
    if isinstance(found, str):
        found = _parsed(found, "messages") if found.strip() else None
    if no_value(found):
        return ()
    if not isinstance(found, list):
        raise RowError(f"messages are a {type(found).__name__}, not a list", _EXPECTED)
    return tuple(_turn(turn, number) for number, turn in enumerate(found, start=1))


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        try:
            # A frame of lists that was saved as CSV: Python's notation, with single quotes.
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            raise RowError(f"{what} are not JSON ({why_not_json(error)})", _EXPECTED) from None


def why_not_json(error: Exception) -> str:
    """The reason of an error of `json.loads`: it has others than those of its own class."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else sentence(error)


def _turn(turn: object, number: int) -> Message:
    fields = dict(turn) if isinstance(turn, Mapping) else {}
    said = fields.pop("role", None), fields.pop("from", None)
    typed = next((role for role in said if role is not None), None)
    contents = fields.pop("content", None), fields.pop("value", None)
    content = next((content for content in contents if content is not None), None)
    # Arrow gives every turn the fields of all turns.
    more = {key: value for key, value in fields.items() if value not in (None, [], {})}
    trained = _trained(more.pop("weight", None), number)
    if not isinstance(typed, str) or not (isinstance(content, str | list) or "tool_calls" in more):
        raise RowError(f"turn {number} of messages has no role or no content", _EXPECTED)
    text = _joined(content, number) if isinstance(content, list) else content or ""
    role = _role(typed, number)
    if typed.lower() == "function_call":
        text, more = "", {**more, "tool_calls": [_called(text, number)]}
    if more:
        _check_more(more, number)
    return Message(role, check_characters(text, f"turn {number}"), trained, more)


def _role(typed: str, number: int) -> str:
    name = typed.strip().lower()
    role = _ALSO.get(name, name)
    hint = "" if role in ROLES else near(role, ROLES)
    if hint or not role:
        raise RowError(f"turn {number} has the role {typed!r}, expected {', '.join(ROLES)}.{hint}")
    return role if role in ROLES else typed


def _trained(weight: object, number: int) -> bool:
    """OpenAI's weight of a turn: 0 is read and not trained."""
    if weight is None:
        return True
    if weight not in (0, 1):
        raise RowError(f"turn {number} has the weight {weight!r}, expected 0 or 1")
    return bool(weight)


def _joined(parts: list[Any], number: int) -> str:
    """The text of content parts, one a line; only text can be trained."""
    texts = []
    for part in parts:
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        text = part.get("text") if isinstance(part, Mapping) else part
        if kind not in _PARTS or not isinstance(text, str):
            raise RowError(
                f"turn {number} has a part of type {kind!r}, expected text only: remove the part, "
                "or return the turns' text with --map FUNCTION"
            )
        texts.append(text)
    return "\n".join(texts)


def _called(text: str, number: int) -> dict[str, Any]:
    """ShareGPT's call of a function, as OpenAI writes one."""
    call = _parsed(text, f"turn {number}: its call's fields")
    if not isinstance(call, Mapping) or "name" not in call:
        raise RowError(f'turn {number} is not {{"name": "…", "arguments": {{…}}}}')
    return {"type": "function", "function": plain(call)}


def _check_more(more: dict[str, Any], number: int) -> None:
    """Arguments as objects, as templates expect them; everything must be what JSON can hold."""
    for call in more.get("tool_calls") or ():
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or "name" not in function:
            raise RowError(f"turn {number} has a tool call without a name")
        if isinstance(function.get("arguments"), str):
            arguments = function["arguments"].strip() or "{}"
            function["arguments"] = _parsed(arguments, f"turn {number}: its call's arguments")
    _check_json(more, f"turn {number}")


def _check_json(value: object, what: str) -> None:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise RowError(f"{what} has more than JSON can hold ({sentence(error)})") from None
    check_characters(text, what)


def tools_of(value: object) -> tuple[Mapping[str, Any], ...] | None:
    """The tools that a row offers, a list or its JSON; None for none. Raises `RowError`."""
    found = plain(value)
    if isinstance(found, str):
        found = _parsed(found, "tools") if found.strip() else None
    if no_value(found):
        return None
    tools = [found] if isinstance(found, Mapping) else found
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise RowError(
            f"the column tools is {repr(value)[:40]}, expected a list of objects, each one tool's "
            "schema",
            "Correct it, or drop that column.",
        )
    _check_json(tools, "tools")
    return tuple(tools) or None


def shared(
    chosen: Sequence[Message], rejected: Sequence[Message]
) -> tuple[tuple[Message, ...], str, str]:
    """The turns that two conversations share, and the last answer of each. Raises `RowError`."""
    if not chosen or not rejected:
        return (), "", ""
    prompt, better, worse = chosen[:-1], chosen[-1], rejected[-1]
    same = [turn.plain() for turn in prompt] == [turn.plain() for turn in rejected[:-1]]
    if not same or (better.role, worse.role) != ("assistant", "assistant"):
        raise RowError("chosen and rejected differ in more than the last answer")
    if better.more or worse.more:
        raise RowError("chosen or rejected has a tool call, expected text")
    return tuple(prompt), better.content, worse.content
