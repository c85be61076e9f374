"""A plan: a stacked picture of memory, and tables.

Knows numbers and words; knows no model.
"""

from __future__ import annotations

from typing import Any


def bundle(plan: Any) -> dict[str, Any]:
    """The display of a plan."""
    return {"text/plain": plan.line}
