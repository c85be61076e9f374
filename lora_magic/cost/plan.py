"""A plan: what a model, an adapter and a run cost, and whether they fit.

Knows the parts that the files beside it compute; knows no session.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CostPlan:
    """What `plan` found."""

    base_parameters: int
    trainable_parameters: int
