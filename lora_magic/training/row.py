"""One row to train on, and the errors found while rows are read.

A row is a prompt and its completion, a text, or a conversation. Errors are collected and raised
together, in one line. Knows no format, no file and no tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lora_magic.errors import DataError

#: A message names this many errors and counts the rest: it must stay one line.
_SHOWN = 5


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; `role` is "system", "user", "assistant" or the template's own."""

    role: str
    content: str

    def plain(self) -> dict[str, str]:
        """The turn as chat templates take it."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True)
class Row:
    """A prompt and its completion, a text (`prompt` is None), or a conversation.

    `line` is its line in a cell or file, or its number in a frame or list, from 1. A row with a
    blank prompt or completion is empty: it is counted, but not trained on.
    """

    prompt: str | None
    completion: str
    messages: tuple[Message, ...] | None = None
    line: int | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to train on, or nothing to answer."""
        if self.messages is not None:
            return not any(m.role == "assistant" and m.content.strip() for m in self.messages)
        blank = self.prompt is not None and not self.prompt.strip()
        return blank or not self.completion.strip()


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
