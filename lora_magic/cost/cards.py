"""Cards by name: memory, speed and bandwidth, as their makers publish them; and this machine.

Knows numbers; imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """One card: bytes of memory, dense bf16 operations a second, bytes a second."""

    name: str
    memory: float
    flops: float
    bandwidth: float


CARDS: dict[str, Card] = {"h100": Card("h100", 80e9, 989e12, 3.35e12)}
