"""Regular expressions from files and from lines, matched within a time limit.

A pattern such as `(\\w+\\.?)+!` takes exponential time, and Python's own `re` cannot be given a
limit. Knows patterns and texts; knows no module. Every room may import it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import regex

#: Seconds for one pattern over all texts. A plain pattern over 1,000 paths takes milliseconds.
LIMIT = 1.0


class PatternError(ValueError):
    """A pattern that is invalid or too slow; the message is the reason."""


def matching(pattern: str, texts: Iterable[str]) -> list[str]:
    """The texts that the whole pattern matches, as `re.fullmatch` does.

    Raises `PatternError` for an invalid pattern, and for one that needs more than `LIMIT` seconds.
    """
    try:
        compiled = regex.compile(pattern)
        end = time.monotonic() + LIMIT
        # A timeout of 0 would mean none.
        return [
            text
            for text in texts
            if compiled.fullmatch(text, timeout=max(end - time.monotonic(), 1e-6))
        ]
    except TimeoutError:
        raise PatternError(f"it takes more than {LIMIT:g} s to match") from None
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise PatternError(f"invalid: {error}") from error
