"""Scales from values to pixels, and their ticks. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from lora_magic.numbers import figures, power


class Scale(NamedTuple):
    """A range of values onto a range of pixels, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of `value`; NaN for the logarithm of 0 or less."""
        if self.log and value <= 0:
            return math.nan
        low, high, seen = (
            map(math.log10, (self.low, self.high, value))
            if self.log
            else (self.low, self.high, value)
        )
        share = (seen - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)


def log_range(values: Sequence[float], decades: float = 8.0) -> tuple[float, float]:
    """A range that holds the positive `values`, at most `decades` below the largest.

    Smaller values are rounding noise next to the largest and would flatten the rest.
    """
    positive = [value for value in values if 0 < value < math.inf]
    if not positive:
        return 0.1, 1.0
    high = max(positive)
    low = max(min(positive), high * 10**-decades)
    # At least a factor of two, and a margin on both sides.
    middle = math.sqrt(low * high)
    low, high = min(low, middle / math.sqrt(2)), max(high, middle * math.sqrt(2))
    margin = (high / low) ** 0.06
    return low / margin, high * margin


def log_ticks(low: float, high: float, most: int = 5) -> list[tuple[float, str]]:
    """Ticks at powers of ten; at 1, 2, 5 times them where the range is short."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)):
        values = [
            step * 10.0**exponent
            for exponent in range(first, last + 1)
            for step in steps
            if low <= step * 10.0**exponent <= high
        ]
        if len(values) >= 2:
            break
    stride = math.ceil(len(values) / most) if values else 1
    return [(value, log_label(value)) for value in values[::stride]]


def log_label(value: float) -> str:
    """0.01, 1, 50; 10⁻⁴ beyond."""
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    exponent = round(math.log10(value))
    return power(exponent) if math.isclose(value, 10.0**exponent) else figures(value, 1)


def ticks(low: float, high: float, most: int = 4) -> list[tuple[float, str]]:
    """Round numbers inside a linear range, at most `most` + 1 of them."""
    span = high - low
    if span <= 0:
        return [(low, f"{low:g}")]
    rough = span / most
    base = 10.0 ** math.floor(math.log10(rough))
    step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [(place * step, f"{place * step:.6g}") for place in range(first, last + 1)]


def thinned(total: int, most: int) -> list[int]:
    """At most `most` of the indices 0 … total-1, evenly spaced, with the first and the last."""
    if total <= most:
        return list(range(total))
    return sorted({round(place * (total - 1) / (most - 1)) for place in range(most)})
