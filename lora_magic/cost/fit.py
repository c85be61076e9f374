"""What fits: the largest batch and length, and the first change that makes a run fit.

Knows a model, a setting and free bytes; asks `memory` for each try.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

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

    # What is known is enough for one end.
    low = max((number for number, size in known.items() if size <= room), default=0)
    high = min((number for number, size in known.items() if size > room), default=most + 1)
    if not low and of(1) > room:
        return 0
    if high > most and of(most) <= room:
        return most
    low, high = low or 1, min(high, most)
    tries = 0
    while high - low > 1:
        tries += 1
        share = (room - of(low)) / max(1, of(high) - of(low))
        # Every third try is in the middle, since a bent curve is approached from one side only.
        guess = low + int(share * (high - low)) if tries % 3 else (low + high) // 2
        guess = min(max(guess, low + 1), high - 1)
        if of(guess) > room:
            high = guess
        elif of(guess + 1) > room:
            return guess
        else:
            low = guess + 1
    return low


def resized(setting: Setting, rows: int | None = None, length: int | None = None) -> Setting:
    """The setting with other rows or another length, and as large a share of labelled tokens.

    Fewer rows than one pass has are a step of one pass.
    """
    rows, length = rows or setting.rows, length or setting.length
    passes = 1 if rows < setting.rows else setting.passes
    other = setting.changed(rows=rows, length=length, passes=passes)
    if setting.trained is None:
        return other
    share = setting.trained / (setting.rows * setting.length)
    return other.changed(trained=max(1, round(share * other.rows * other.length)))


def most_rows(model: Model, setting: Setting, room: int, peak: int) -> int:
    """The most rows of the setting's length that fit in one pass; its own peak is known."""

    def tried(rows: int) -> int:
        return memory(model, resized(setting, rows=rows)).peak

    return largest(tried, room, max(MOST_ROWS, setting.rows), {setting.rows: peak})


def most_length(model: Model, setting: Setting, room: int, peak: int) -> int:
    """The longest rows that fit, as many as the setting has; at most the model's context."""

    def tried(length: int) -> int:
        return memory(model, resized(setting, length=length)).peak

    most = max(model.context or MOST_LENGTH, setting.length)
    return largest(tried, room, most, {setting.length: peak})
