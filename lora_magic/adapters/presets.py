"""What an adapter is for, and the rank, alpha and targets that go with it.

A starting point, not a law: a style sits in few directions, a domain in many. Knows numbers and
names only.
"""

from __future__ import annotations

#: Virtual tokens of a prefix or prompt, unless given.
VIRTUAL_TOKENS = 10

#: Rank, alpha and targets by use; None keeps the base's own targets.
PRESETS: dict[str, tuple[int, float, str | None]] = {
    "style": (8, 16.0, None),
    "instructions": (16, 32.0, None),
    "domain": (32, 64.0, "all-linear"),
}
