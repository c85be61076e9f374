"""What an adapter learned, as tokens: the record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lens:
    """Not there yet."""
