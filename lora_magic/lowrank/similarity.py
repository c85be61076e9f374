"""How far the directions of updates overlap: the record."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Similarity:
    """Not there yet."""
