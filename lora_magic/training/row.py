"""One row to train on, and the errors found while rows are read.

A row is a prompt and its completion, a text, or a conversation. Errors are collected and raised
together, in one line. Knows no format, no file and no tokenizer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lora_magic.errors import DataError

#: A message names this many errors and counts the rest: it must stay one line.
_SHOWN = 5


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; `role` is "system", "user", "assistant" or the template's own.

    An assistant's turn that is not `trained` (OpenAI's `"weight": 0`) is read, but the loss does
    not cover it. `more` has what else the turn holds for the template: `tool_calls`, `name`, ….
    """

    role: str
    content: str
    trained: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The turn as chat templates take it."""
        return {"role": self.role, "content": self.content, **self.more}


@dataclass(frozen=True)
class Row:
    """A prompt and its completion, a text (`prompt` is None), or a conversation.

    `line` is its line in a cell or file, or its number in a frame or list, from 1. A row with a
    blank prompt or completion is empty: it is counted, but not trained on. `system` is its own
    system message, `tools` are the tools that a conversation offers, for the template. A row of
    preferences has `rejected` beside its chosen completion. `second` is the other text of a pair
    of texts to classify.
    """

    prompt: str | None
    completion: str
    messages: tuple[Message, ...] | None = None
    line: int | None = None
    system: str | None = None
    tools: tuple[Mapping[str, Any], ...] | None = None
    rejected: str | None = None
    second: str | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to train on, or nothing to answer."""
        if self.messages is not None:
            return not any(m.role == "assistant" and m.content.strip() for m in self.messages)
        blank = self.prompt is not None and not self.prompt.strip()
        return blank or not self.completion.strip()

    @property
    def asked(self) -> tuple[str, ...]:
        """What decides on which side of the held-out split the row falls: rows that ask the same
        fall on one side. The prompt, the turns before the first answer, or a text itself."""
        if self.messages is not None:
            turns = []
            for turn in self.messages:
                if turn.role == "assistant":
                    break
                turns.append(turn.content)
            return tuple(turns)
        if self.prompt is None:
            return (self.completion,)
        return (self.prompt,) if self.second is None else (self.prompt, self.second)

    @property
    def position(self) -> float:
        """Its position in [0, 1) among all possible rows: a hash of what it asks."""
        digest = hashlib.sha256(json.dumps(self.asked).encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48


@dataclass
class RowErrors:
    """The errors of one body, file or frame; `noun` is what its numbers count ("line", "row")."""

    noun: str = "line"
    found: list[str] = field(default_factory=list)

    def add(self, number: int, what: str) -> None:
        """Record one error; `number` counts from 1."""
        self.found.append(f"{self.noun} {number}: {what}")

    def raise_any(self, remedy: str) -> None:
        """If there are errors, raise a `DataError` that lists them and ends with the remedy."""
        if not self.found:
            return
        more = len(self.found) - _SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        raise DataError(f"{'; '.join(self.found[:_SHOWN])}{rest}. {remedy}")


def numbered(noun: str, numbers: list[int]) -> str:
    """Line or row numbers for a message: "line 3", "lines 3, 5 and 2 more"."""
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    more = len(numbers) - _SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return f"{noun}{'s' if len(numbers) > 1 else ''} {shown}{rest}"
