"""What fits: the largest batch and length, and the first change that makes a run fit.

Knows a model, a setting and free bytes; asks `memory` for each try.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .memory import memory
from .model import Model
from .setting import Setting

#: More rows in one pass are not looked for.
MOST_ROWS = 4096
#: The longest text that is looked for, if the model's own limit is not known.
MOST_LENGTH = 131_072


def largest(peak: Callable[[int], int], room: int, most: int, known: Mapping[int, int]) -> int:
    """The largest whole number from 1 to `most` whose peak fits, 0 if none does.

    `peak` never falls. It is nearly linear, so each try is on the line through the two nearest
    tries; `known` has peaks that were computed before.
    """
    seen = dict(known)

    def of(number: int) -> int:
        if number not in seen:
            seen[number] = peak(number)
        return seen[number]

    if of(1) > room:
        return 0
    if of(most) <= room:
        return most
    low, high, tries = 1, most, 0
    for number, size in sorted(seen.items()):
        if size <= room and number > low:
            low = number
    high = min(number for number, size in seen.items() if size > room)
    while high - low > 1:
        tries += 1
        share = (room - of(low)) / max(1, of(high) - of(low))
        guess = low + int(share * (high - low))
        if tries % 3 == 0:
            guess = (low + high) // 2  # a bent curve may be approached from one side only
        guess = min(max(guess, low + 1), high - 1)
        if of(guess) <= room:
            low = guess
            if tries < 8 and low + 1 < high and of(low + 1) > room:
                return low
        else:
            high = guess
    return low


def most_rows(model: Model, setting: Setting, room: int, peak: int) -> int:
    """The most rows of the setting's length that fit in one pass; its own peak is known."""

    def tried(rows: int) -> int:
        return memory(model, setting.changed(rows=rows)).peak

    return largest(tried, room, MOST_ROWS, {setting.rows: peak})


def most_length(model: Model, setting: Setting, room: int, peak: int) -> int:
    """The longest rows that fit, as many as the setting has; at most the model's context."""

    def tried(length: int) -> int:
        return memory(model, setting.changed(length=length)).peak

    most = max(model.context or MOST_LENGTH, 1)
    return largest(tried, room, most, {setting.length: peak} if setting.length <= most else {})


@dataclass(frozen=True)
class Change:
    """A change to a run: what it is, the flags to type and the setting; `model` if it differs."""

    told: str
    flags: Mapping[str, Any]
    setting: Setting
    model: Model = field(repr=False)


def first_that_fits(changes: Iterator[Change], room: int) -> Change | None:
    """The first of the changes whose peak fits."""
    return next((c for c in changes if memory(c.model, c.setting).peak <= room), None)
