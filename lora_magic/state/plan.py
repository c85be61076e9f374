"""`plan`: from the flags of load, attach and train to a plan of what they cost.

Knows recipes, flags and, if a base is loaded, its record; reads no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_magic.cost.plan import CostPlan
from lora_magic.errors import CommandError


def plan(session: Any, model: object, flags: Mapping[str, Any]) -> CostPlan:
    """The plan of a model, or of the loaded base without one."""
    raise CommandError("plan is not there yet")
