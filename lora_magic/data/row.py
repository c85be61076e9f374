"""One row to train on, rows as they were read, and the errors found while they are read.

A row is a prompt and its completion, a text, or a conversation. Errors are collected and raised
together, in one line, or listed if bad rows are skipped. Knows no format, no file and no tokenizer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lora_magic.errors import DataError, listed
from lora_magic.printable import clean

#: Characters that no row can have: NUL, and the halves that a text cut in UTF-16 ends with.
_BAD = re.compile("[\0\ud800-\udfff]")

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


class RowError(ValueError):
    """Why one row cannot be read, and what is expected; whoever reads the rows adds its number."""

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(why)
        self.remedy = remedy


class Rows(tuple[Row, ...]):
    """Rows as they were read, and what was not.

    `unused` are the columns that were neither used nor named, `skipped` the rows that could not be
    read, each with its number and the reason, `notes` what else a person should know. `again` reads
    them from their file once more; None if they are from none.
    """

    unused: tuple[str, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    again: Callable[[], Rows] | None

    def __new__(
        cls,
        rows: Iterable[Row] = (),
        *,
        unused: Iterable[str] = (),
        skipped: Iterable[str] = (),
        notes: Iterable[str] = (),
    ) -> Rows:
        """The rows as a tuple, with what was not read beside them."""
        made = super().__new__(cls, rows)
        made.unused, made.skipped, made.notes = tuple(unused), tuple(skipped), tuple(notes)
        made.again = None
        return made

    def noted(self, *notes: str) -> Rows:
        """The same with more notes."""
        own = [*self.notes, *notes]
        return Rows(self, unused=self.unused, skipped=self.skipped, notes=own)

    @property
    def note(self) -> str:
        """All of it for the first line of a run; "" if every word was read."""
        told = []
        if self.unused:
            word = "column" if len(self.unused) == 1 else "columns"
            told.append(f"{word} not used: {listed(self.unused)}")
        if self.skipped:
            word = "row" if len(self.skipped) == 1 else "rows"
            told.append(f"{len(self.skipped)} {word} skipped ({_first(self.skipped)})")
        # Names of columns may have characters that cannot be shown.
        return clean(" · ".join([*told, *self.notes]))


@dataclass
class RowErrors:
    """The errors of one body, file or frame; `noun` is what its numbers count ("line", "row").

    With `skip` the rows that have one are left out; None if they cannot be.
    """

    noun: str = "line"
    found: list[str] = field(default_factory=list)
    skip: bool | None = None
    remedies: dict[str, None] = field(default_factory=dict)

    def add(self, number: int, what: str, remedy: str = "") -> None:
        """Record one error; `number` counts from 1, `remedy` is told once."""
        self.found.append(f"{self.noun} {number}: {what}")
        if remedy:
            self.remedies[remedy] = None

    def refuse(self, number: int, error: RowError) -> None:
        """Record why a row cannot be read."""
        self.add(number, str(error), error.remedy)

    def raise_any(self, remedy: str = "", read: int = 0) -> None:
        """If there are errors, raise a `DataError` that lists them and ends with the remedies.

        Not if they are to be skipped and some other rows were `read`.
        """
        if not self.found or (self.skip and read):
            return
        it = "it" if len(self.found) == 1 else "them"
        skip = [f"To leave {it} out, add --skip-bad."] if read and self.skip is not None else []
        faults = _first(self.found)
        told = [
            faults if faults.endswith("?") else f"{faults}.",
            *skip,
            *self.remedies,
            *([remedy] if remedy else []),
        ]
        raise DataError(" ".join(told))


@dataclass
class Refused:
    """Rows that were read but cannot be trained on: why, with the numbers of their rows.

    `places` are their places among the rows.
    """

    reasons: dict[str, list[int]] = field(default_factory=dict)
    places: set[int] = field(default_factory=set)

    def add(self, place: int, number: int, why: str) -> None:
        """Record why the row at a place cannot be trained on."""
        numbers = self.reasons.setdefault(why.rstrip("."), [])
        if number not in numbers[-1:]:
            numbers.append(number)
        self.places.add(place)

    def raise_any(self, total: int, skip: bool, remedy: str = "") -> None:
        """Raise a `DataError` with all reasons and the remedy, if there are any.

        Not if they are to be skipped and some of the `total` rows are left.
        """
        left = total > len(self.places)
        if not self.reasons or (skip and left):
            return
        it = "it" if len(self.places) == 1 else "them"
        skipping = f"To leave {it} out, add --skip-bad." if left else ""
        told = [f"{self._told}. No row was trained on.", skipping, remedy]
        raise DataError(" ".join(filter(None, told)))

    @property
    def note(self) -> str:
        """The rows that are left out, for the first line of a run; "" if there are none."""
        count = len(self.places)
        return f"{count} row{'s' * (count != 1)} skipped ({self._told})" if count else ""

    @property
    def _told(self) -> str:
        told = [f"{numbered('row', numbers)}: {why}" for why, numbers in self.reasons.items()]
        return "; ".join(told[:3]) + (f"; and {len(told) - 3} more reasons" if told[3:] else "")


def _first(faults: Sequence[str]) -> str:
    more = len(faults) - _SHOWN
    return "; ".join(faults[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def check_characters(text: str, what: str) -> str:
    """`text`. Raises `RowError` for the character NUL, and for half of a character."""
    # Most texts are ASCII, for which this takes a tenth of the time.
    bad = None if text.isascii() and "\0" not in text else _BAD.search(text)
    if bad is None:
        return text
    why = "NUL" if bad[0] == "\0" else "half of one, as in text that was cut"
    raise RowError(
        f"character {bad.start() + 1} of {what} is {why} (U+{ord(bad[0]):04X}); remove it"
    )


def numbered(noun: str, numbers: list[int]) -> str:
    """Line or row numbers for a message: "line 3", "lines 3, 5 and 2 more"."""
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    more = len(numbers) - _SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return f"{noun}{'s' if len(numbers) > 1 else ''} {shown}{rest}"
