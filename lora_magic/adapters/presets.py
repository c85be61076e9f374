"""Rank, alpha and targets for a use: `attach --for style|instructions|domain`.

Knows numbers and names only.
"""

from __future__ import annotations

#: Virtual tokens of a prefix or prompt by default.
VIRTUAL_TOKENS = 10

#: `--for`: rank, alpha and targets by use; None keeps the base's own targets. A starting point: a
#: style needs few directions, a domain many.
PRESETS: dict[str, tuple[int, float, str | None]] = {
    "style": (8, 16.0, None),
    "instructions": (16, 32.0, None),
    "domain": (32, 64.0, "all-linear"),
}
