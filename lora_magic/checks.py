"""What counts as a number: numpy's too, but neither a bool nor a text.

Knows types alone. Open to every room.
"""

from __future__ import annotations

from numbers import Integral, Real


def is_number(value: object) -> bool:
    """Is this a real number?"""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Is this a whole number?"""
    return isinstance(value, Integral) and not isinstance(value, bool)
