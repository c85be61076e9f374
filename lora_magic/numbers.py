"""Numbers as people read them: counts, shares, sizes, times. Every room may import it.

Does not know what the numbers count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

MISSING = "–"
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def number(value: object) -> float:
    """`value` as a float; NaN where it is not a number."""
    if isinstance(value, (int, float)):
        return float(value)
    try:
        return float(str(value))
    except ValueError:
        return math.nan


def count(value: object) -> str:
    """A whole number with thousands separators: 1,067,008."""
    seen = number(value)
    return f"{round(seen):,}" if math.isfinite(seen) else MISSING


def workers(run: Mapping[str, object]) -> str:
    """The workers in a run's record: 2 workers (ray); "" for a run in one process."""
    many = run.get("workers")
    return f"{many} workers ({run.get('engine')})" if many else ""


def short(value: object) -> str:
    """A large count with one decimal: 16.8M."""
    seen = number(value)
    if not math.isfinite(seen):
        return MISSING
    for factor, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        # 999,950 is 1M, not 1000k.
        if abs(seen) >= factor * 0.99995:
            return f"{seen / factor:.1f}".removesuffix(".0") + unit
    return f"{seen:.3g}"


def figures(value: object, digits: int = 3) -> str:
    """A real number with `digits` significant figures: 12.3, or 1.23×10⁻⁵."""
    seen = number(value)
    if not math.isfinite(seen):
        return MISSING
    if seen == 0:
        return "0"
    if 1e-3 <= abs(seen) < 1e5:
        places = max(0, digits - 1 - math.floor(math.log10(abs(seen))))
        return f"{seen:.{places}f}"
    mantissa, exponent = f"{seen:.{digits - 1}e}".split("e")
    return f"{mantissa}×{power(int(exponent))}"


def power(exponent: int) -> str:
    """10 to the `exponent`: 10⁻³."""
    return "10" + str(exponent).translate(_SUPERSCRIPT)


def percent(share: object) -> str:
    """A share with three significant figures: 0.0123 gives 1.23%; a tiny one is `under 0.001%`."""
    seen = number(share)
    if not math.isfinite(seen):
        return MISSING
    return "under 0.001%" if 0 < abs(seen) < 1e-5 else f"{figures(100 * seen)}%"


def reduction(share: float) -> str:
    """How much less a share is than the whole, never rounded up to all of it: 99.987% fewer.

    Two significant figures of the share decide the digits. "none fewer" from a share of 1 on.
    """
    if share >= 1:
        return "none fewer"
    if not share > 0:
        return "100% fewer"
    places = min(12, max(0, 1 - math.floor(math.log10(100 * share))))
    return f"{100 * (1 - share):.{places}f}% fewer"


def size(value: object) -> str:
    """Bytes in units of 1000: 2.1 MB."""
    seen = number(value)
    if not math.isfinite(seen):
        return MISSING
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if seen >= factor * 0.9995:
            return f"{seen / factor:.3g} {unit}"
    return f"{round(seen)} bytes"


def duration(seconds: object) -> str:
    """Seconds, then minutes, then hours: 0.82 s, 12 s, 1 min 20 s, 2 h 05 min."""
    seen = number(seconds)
    if not math.isfinite(seen):
        return MISSING
    if seen < 9.95:
        return f"{seen:.2f} s" if seen < 0.995 else f"{seen:.1f} s"
    whole = round(seen)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seen / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def spread(values: Sequence[object]) -> str:
    """Median and range of the finite `values`: 3.20 (1.10 to 6.00)."""
    from statistics import median  # slow to import, and seldom needed

    seen = sorted(value for value in map(number, values) if math.isfinite(value))
    if not seen:
        return MISSING
    whole = all(value.is_integer() for value in seen)
    middle, low, high = (
        f"{value:g}" if whole else figures(value) for value in (median(seen), seen[0], seen[-1])
    )
    return middle if low == high else f"{middle} ({low} to {high})"
