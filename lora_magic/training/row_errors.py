"""RowErrors found while reading rows: gathered first, told all at once in one line.

Knows where a fault stands and what it is; knows no format.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lora_magic.errors import DataError

#: A message names this many faults and counts the rest: it has to stay one line.
_SHOWN = 5


@dataclass
class RowErrors:
    """The faults of one body, file or frame; `noun` is what its numbers count ("line", "row")."""

    noun: str = "line"
    found: list[str] = field(default_factory=list)

    def add(self, number: int | None, what: str) -> None:
        """Note one fault; `number` counts from 1, None where the whole is meant."""
        self.found.append(what if number is None else f"{self.noun} {number}: {what}")

    def stop(self, mend: str) -> None:
        """Raise a `DataError` that names every fault and ends with how to mend them, if any."""
        if not self.found:
            return
        shown = "; ".join(self.found[:_SHOWN])
        more = len(self.found) - _SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        raise DataError(f"{shown}{rest}. {mend}")


def numbered(noun: str, numbers: list[int]) -> str:
    """Line or row numbers for a message: "line 3", "lines 3, 5 and 2 more"."""
    shown = ", ".join(str(number) for number in numbers[:_SHOWN])
    more = len(numbers) - _SHOWN
    rest = f" and {more} more" if more > 0 else ""
    return f"{noun}{'s' if len(numbers) > 1 else ''} {shown}{rest}"
