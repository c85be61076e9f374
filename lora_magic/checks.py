"""What counts as a number: numpy's numbers too, but no bool and no string.

Knows only types. Every room may import it.
"""

from __future__ import annotations

from numbers import Integral, Real


def is_number(value: object) -> bool:
    """Is this a real number?"""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Is this a whole number?"""
    return isinstance(value, Integral) and not isinstance(value, bool)
