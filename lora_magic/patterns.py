"""Regular expressions from files and from lines, matched within a time limit.

A pattern such as `(\\w+\\.?)+!` takes exponential time, and Python's own `re` cannot be given a
limit. Knows patterns and texts; knows no module. Every room may import it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

#: Seconds for one pattern over all texts. A plain pattern over 1,000 paths takes milliseconds.
LIMIT = 1.0

#: The most characters of a pattern, and the most that its repeats may multiply it by: compiling
#: `((a{1000}){1000}){1000}` takes all memory.
_LONGEST, _REPEATS = 50_000, 10_000


class PatternError(ValueError):
    """A pattern that is invalid or too slow; the message is the reason."""


def matching(pattern: str, texts: Iterable[str]) -> list[str]:
    """The texts that the whole pattern matches, as `re.fullmatch` does.

    Raises `PatternError` for an invalid pattern, and for one that needs more than `LIMIT` seconds.
    """
    return [text for text, _ in _matches(pattern, texts, lambda compiled: compiled.fullmatch)]


def captured(pattern: str, texts: Iterable[str], group: str) -> dict[str, str | None]:
    """The text of a named group for each text that begins with the pattern, as `re.match` does.

    Raises `PatternError` as `matching` does.
    """
    found = _matches(pattern, texts, lambda compiled: compiled.match)
    return {text: match.groupdict().get(group) for text, match in found}


def _matches(
    pattern: str, texts: Iterable[str], way: Callable[[Any], Callable[..., Any]]
) -> Iterator[tuple[str, Any]]:
    import regex  # 8 ms, which a plan without a pattern saves

    counts = re.findall(r"\{\s*(\d*)\s*,?\s*(\d*)", pattern)
    repeats = math.prod(max(int(number[:9] or 1) for number in pair) or 1 for pair in counts)
    if len(pattern) > _LONGEST or repeats > _REPEATS:
        raise PatternError("it is too long, or repeats too often")
    try:
        match = way(regex.compile(pattern))
        end = time.monotonic() + LIMIT
        for text in texts:
            # A timeout of 0 would mean none.
            if found := match(text, timeout=max(end - time.monotonic(), 1e-6)):
                yield text, found
    except TimeoutError:
        raise PatternError(f"it takes more than {LIMIT:g} s to match") from None
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise PatternError(f"invalid: {error}") from error
