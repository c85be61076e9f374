"""One row to train on: a prompt and its completion, a text, or a conversation.

Knows no format, no file and no tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    """One row: a prompt and its completion, a text (`prompt` is None), or a conversation.

    `line` is its line in a cell or file, or its number in a frame or list, from 1. A blank prompt
    or completion marks an empty row: it is counted and never trained on.
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
