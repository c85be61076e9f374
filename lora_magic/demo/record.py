"""The record of a pretraining run as a picture: loss and right-fact score over tokens.

Knows the record's fields and how lines are drawn; trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def picture(told: Mapping[str, Any]) -> str:
    """An SVG text: the loss in the upper half, the share of right facts below, over tokens."""
    return ""
