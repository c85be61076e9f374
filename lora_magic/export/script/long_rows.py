"""Rows that are too long to be kept with an adapter: what is known of them instead.

Knows rows, and how they can be read again; knows no script.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import overload

from lora_magic.data.row import Row
from lora_magic.errors import ExportError, LoraMagicError
from lora_magic.training.encode import digest_of


def characters(rows: Iterable[Row]) -> int:
    """About how many characters the rows have."""
    return sum(
        len(row.prompt or "")
        + len(row.completion)
        + len(row.rejected or "")
        + len(row.second or "")
        + sum(len(turn.content) for turn in row.messages or ())
        for row in rows
    )


@dataclass(frozen=True, eq=False)
class LongRows(Sequence[Row]):
    """The number of rows, their sha256 and, if they came from a file, the way to read it again.

    They are read when one is asked for, and not kept. Raises `ExportError` if they came from no
    file, and if the file has other rows now.
    """

    number: int
    sha256: str
    again: Callable[[], Sequence[Row]] | None

    @classmethod
    def of(cls, rows: Sequence[Row]) -> LongRows:
        """What is known of these rows."""
        return cls(len(rows), digest_of(rows), getattr(rows, "again", None))

    def read(self) -> tuple[Row, ...]:
        """The rows."""
        what = f"the run's {self.number:,} rows were too long to keep"
        if self.again is None:
            raise ExportError(
                f"script: {what}, and they came from no file; write them to one, and train on it: "
                "%lora train NAME --data PATH"
            )
        try:
            found = tuple(self.again())
        except LoraMagicError as error:
            raise ExportError(f"script: {what}, and their file: {error}") from None
        if digest_of(found) != self.sha256:
            raise ExportError(
                f"script: {what}, and their file has other rows now; put it back, or train again."
            )
        return found

    def __len__(self) -> int:
        return self.number

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Row]: ...
    def __getitem__(self, at: int | slice) -> Row | Sequence[Row]:
        """A row, or some of them; reads all."""
        return self.read()[at]
