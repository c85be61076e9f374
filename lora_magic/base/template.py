"""Conversations as text: a chat template, run within limits and checked for what it leaves out.

A template is a program from a file: it can fail, loop, and drop a turn without an error. Knows the
templates of tokenizers; knows no token, no prompt form and no row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lora_magic.errors import PromptError, listed, sentence
from lora_magic.interrupts import TooSlowError, limited

#: One turn as templates take it: `role`, `content`, and what else it holds (`tool_calls`).
Turn = Mapping[str, Any]
Turns = Sequence[Turn]

#: Seconds for one call of a chat template.
_SECONDS = 2.0

#: Conversations rendered in one call: the limit in time costs more than a template.
_TOGETHER = 256

#: Characters that a template may write beyond ten times those of the turns.
_MORE = 1_000_000

#: A reasoning block that is opened, or opened and closed, just before it is opened again.
_OPENED_TWICE = re.compile(r"<think>\s*(?:</think>\s*)?(?=<think>)")

_NOUNS = {"system": "system message", "user": "user's turn", "assistant": "assistant's turn"}


def render(tokenizer: Any, turns: Turns, tools: Any = None, *, answering: bool = True) -> str:
    """The text of one conversation; `answering` opens the assistant's turn. Raises `PromptError`.

    See `render_all`.
    """
    (found,) = render_all(tokenizer, [turns], tools, answering=answering)
    if isinstance(found, PromptError):
        raise found
    return found


def render_all(
    tokenizer: Any, conversations: Sequence[Turns], tools: Any = None, *, answering: bool = True
) -> list[str | PromptError]:
    """The text of each conversation, or why it has none.

    Each turn's content must occur in the text, in order (a system message anywhere), and so must
    tools and tool calls, by name. A template that wants content as a list of parts, or the
    arguments of a tool call as text, gets them so. `<think>` is opened once where template and
    content both open it.
    """
    found: list[str | PromptError] = []
    shapes: dict[tuple[str, ...], int | None] = {}
    for start in range(0, len(conversations), _TOGETHER):
        some = conversations[start : start + _TOGETHER]
        try:
            texts = _run(tokenizer, [_usual(turns) for turns in some], tools, answering)
        except PromptError:
            texts = [""] * len(some)
        for turns, text in zip(some, texts, strict=True):
            try:
                if not text or _left_out(text, turns, tools):
                    text = _other_ways(tokenizer, turns, tools, answering)
                roles = tuple(turn["role"] for turn in turns)
                if roles not in shapes:
                    shapes[roles] = _dropped(tokenizer, roles, answering)
                place = shapes[roles]
                if place is not None and str(turns[place]["content"]).strip():
                    raise _omits(_quoted(turns[place]))
                found.append(text)
            except PromptError as error:
                found.append(error)
    return found


def _run(tokenizer: Any, conversations: Sequence[Turns], tools: Any, answering: bool) -> list[str]:
    """The template's texts. Its errors (no system turn, a wrong order) become `PromptError`."""
    roles = ", ".join(str(turn.get("role", "?")) for turn in conversations[0])
    most = _MORE + 10 * sum(len(str(turn)) for turns in conversations for turn in turns)
    given = {"tools": list(tools)} if tools else {}
    try:
        texts = limited(
            _SECONDS,
            lambda: tokenizer.apply_chat_template(
                [list(turns) for turns in conversations],
                tokenize=False,
                add_generation_prompt=answering,
                **given,
            ),
        )
        length = sum(map(len, texts))
        if length <= most:
            return [_OPENED_TWICE.sub("", text) for text in texts]
        why = f"it writes {length:,} characters, expected at most {most:,}"
        raise ValueError(why)
    except TooSlowError:
        why = f"it takes more than {_SECONDS:g} s"
        raise _rejected(roles, why) from None
    except MemoryError:
        raise _rejected(roles, "it runs out of memory") from None
    except Exception as error:
        # A template is a program, and fails with any error.
        raise _rejected(roles, sentence(error)) from error


def _other_ways(tokenizer: Any, turns: Turns, tools: Any, answering: bool) -> str:
    """The text of a conversation in the first way that leaves nothing out.

    Raises the error of the usual way if there is none.
    """
    problem: PromptError | None = None
    for way in _ways(turns):
        try:
            (text,) = _run(tokenizer, [way], tools, answering)
        except PromptError as error:
            problem = problem or error
            continue
        missing = _left_out(text, turns, tools)
        if not missing:
            return text
        problem = problem or _omits(missing)
    assert problem is not None  # the usual way failed, or it would have been returned
    raise problem


def _ways(turns: Turns) -> Iterator[Turns]:
    """A conversation in the forms that templates want it in, the usual one first."""
    usual = _usual(turns)
    yield usual
    yield [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in usual]
    if any(turn.get("tool_calls") for turn in turns):
        yield [_with_arguments(turn, _as_text) for turn in turns]


def _usual(turns: Turns) -> Turns:
    """Content as text, and the arguments of tool calls as objects."""
    return [_with_arguments(turn, _as_object) if len(turn) > 2 else dict(turn) for turn in turns]


def _with_arguments(turn: Turn, form: Any) -> dict[str, Any]:
    calls = turn.get("tool_calls")
    if not calls:
        return dict(turn)
    changed = []
    for call in calls:
        inner = _function(call)
        if "arguments" in inner:
            inner = {**inner, "arguments": form(inner["arguments"])}
        changed.append({**call, "function": inner} if "function" in call else inner)
    return {**turn, "tool_calls": changed}


def _as_object(arguments: Any) -> Any:
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        return arguments


def _as_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _function(call: Any) -> Mapping[str, Any]:
    """The part of a tool, or of a call of one, that has its name."""
    inner = call.get("function", call) if isinstance(call, Mapping) else {}
    return inner if isinstance(inner, Mapping) else {}


def _left_out(text: str, turns: Turns, tools: Any) -> str:
    """What of a conversation is not in its text; "" if all is."""
    place = _missing(text, turns)
    if place is not None:
        return _quoted(turns[place])
    names = [str(_function(tool).get("name", "")) for tool in tools or ()]
    if lost := [name for name in names if name not in text]:
        return f"the tools ({listed(lost, 3)})"
    for turn in turns:
        for call in turn.get("tool_calls") or ():
            if not _is_called(text, _function(call)):
                return f"the tool call {_function(call).get('name', call)}"
        for key in ("reasoning_content", "reasoning", "thinking"):
            if turn is turns[-1] and _after(text, str(turn.get(key) or ""), 0) < 0:
                return f"the {key} of the {_noun(turn)}"
    return ""


def _is_called(text: str, call: Mapping[str, Any]) -> bool:
    """Are a call's name and the texts among its arguments in the text?"""
    said = [str(call.get("name", "")), *_strings(_as_object(call.get("arguments")))]
    return bool(said[0]) and all(_after(text, word, 0) >= 0 for word in said)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


def _missing(text: str, turns: Turns) -> int | None:
    """The place of the first turn whose content is not in the text after the turns before it."""
    at = 0
    for place, turn in enumerate(turns):
        # Some templates put the system message before the last turn.
        end = _after(text, str(turn["content"]), 0 if turn["role"] == "system" else at)
        if end < 0 and turn["role"] == "assistant":
            # Templates of reasoning models leave out the reasoning of earlier turns.
            end = _after(text, str(turn["content"]).rpartition("</think>")[2], at)
        if end < 0:
            return place
        at = end if turn["role"] != "system" else at
    return None


def _after(text: str, part: str, start: int) -> int:
    """Where a part ends in the text, from `start` on; -1 if it is not there.

    White space around it may be stripped, and it may be quoted as JSON.
    """
    bare = part.strip()
    if not bare:
        return start
    for form in (bare, json.dumps(bare, ensure_ascii=False)[1:-1]):
        at = text.find(form, start)
        if at >= 0:
            return at + len(form)
    return -1


def _dropped(tokenizer: Any, roles: Sequence[str], answering: bool) -> int | None:
    """The place of a turn that the template leaves out whatever it says; None if there is none.

    A short content can occur in the text by chance; a made-up one cannot.
    """
    turns = made_up(roles)
    dropped: list[int | None] = []
    for way in _ways(turns):
        try:
            (text,) = _run(tokenizer, [way], None, answering)
        except PromptError:
            continue
        dropped.append(_missing(text, turns))
    return None if None in dropped or not dropped else dropped[0]


def made_up(roles: Sequence[str]) -> Turns:
    """Turns whose contents occur in no template and that none would change."""
    return [{"role": role, "content": f"qx{n}z{n}xq"} for n, role in enumerate(roles)]


def _noun(turn: Turn) -> str:
    return _NOUNS.get(str(turn["role"]), f"{turn['role']} turn")


def _quoted(turn: Turn) -> str:
    content = str(turn["content"])
    return f"the {_noun(turn)} {content[:40] + '…' * (len(content) > 40)!r}"


def _omits(what: str) -> PromptError:
    return PromptError(
        f"the tokenizer's chat template leaves out {what}. Correct it (chat_template.jinja), put "
        "that text into the prompt, or train with --template plain"
    )


def _rejected(roles: str, why: str) -> PromptError:
    return PromptError(
        f"the tokenizer's chat template fails on these turns ({roles}): {why}. Correct it or "
        "remove it (chat_template.jinja), or train with --template plain"
    )
