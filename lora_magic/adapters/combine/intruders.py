"""A new adapter without the intruder dimensions of another: of the same rank, a plain LoRA.

Knows attached adapters and updates; knows no session, no rows and no display.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lora_magic.adapters import attach
from lora_magic.adapters.delta import outputs_first, start
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.slots import Slots
from lora_magic.adapters.spec import seed_of
from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError
from lora_magic.lowrank.combine import weighted_sum
from lora_magic.lowrank.dense import Update
from lora_magic.lowrank.factors import LowRank, precise
from lora_magic.lowrank.intruders import intruders, without
from lora_magic.numbers import percent

from .changes import changes_of, finite, summed, with_origin

#: The part of each intruder that is taken away: PEFT's `mitigation_lambda` of 0.75 keeps the rest.
#: The paper's figure 8 weighs forgetting less against the loss on the task.
SHARE = 0.25


@dataclass(frozen=True)
class ModuleRemoval:
    """One module before and after.

    `found` intruder dimensions were reduced and `left` still are some. `relative_norm` is ‖ΔW‖/‖W‖
    before (None for W = 0), `norm` is ‖ΔW‖, and `error` is ‖ΔW − ΔW'‖/‖ΔW‖, 0 for ΔW = 0.
    """

    module: str
    found: int
    left: int
    relative_norm: float | None
    norm: float
    error: float


def remove_intruders(
    base: BaseModel, slots: Slots, attached: LiveAdapter, new: str
) -> tuple[LiveAdapter, tuple[ModuleRemoval, ...]]:
    """An adapter with a quarter of every intruder taken away, cut to its rank, and what that did.

    As PEFT's `reduce_intruder_dimension` with its defaults. A module without intruders keeps its
    ΔW; biases, norms and a head are copied. Raises `AdapterError` for a method without a ΔW, or
    whose ΔW is not a product of factors, and for ΔW = 0.
    """
    change = changes_of(base, slots, attached, "freed of intruders")
    updates: dict[str, LowRank] = {}
    rows = []
    for path in change.matrices:
        updates[path], row = _reduced(attached, path)
        rows.append(row)
    if not any(row.norm for row in rows):
        raise AdapterError(
            f"{attached.name} is not trained yet: ΔW = 0 has no intruder dimensions; type: "
            f"%%lora_train {attached.name}"
        )
    made = attach.from_updates(
        base,
        slots,
        new,
        updates,
        summed(slots, [(1.0, change)]),
        seed=seed_of(new),
        parents=[attached],
    )
    origin = f"{attached.name} less its intruders"
    lost = f"{percent(changed(rows))} of ΔW changed"
    return with_origin(made, [(1.0, attached)], origin, lost), tuple(rows)


def changed(rows: list[ModuleRemoval] | tuple[ModuleRemoval, ...]) -> float:
    """√(Σ‖ΔW − ΔW'‖² / Σ‖ΔW‖²) over the modules."""
    norm = math.hypot(*(row.norm for row in rows))
    return math.hypot(*(row.error * row.norm for row in rows)) / norm if norm else 0.0


def _reduced(attached: LiveAdapter, path: str) -> tuple[LowRank, ModuleRemoval]:
    update = _factored(attached, path, finite(attached, path))
    original = attached.originals[path]
    weight = outputs_first(original, start(original))
    norm = update.norm()
    size = float(torch.linalg.matrix_norm(precise(weight)))
    found = intruders(weight, update)
    less = without(update, found, SHARE)
    error, left = 0.0, 0
    if found.part is not None:
        left = len(intruders(weight, less).places)
        error = weighted_sum([(1.0, update), (-1.0, less)]).norm() / norm
    row = ModuleRemoval(path, len(found.places), left, norm / size if size else None, norm, error)
    return less, row


def _factored(attached: LiveAdapter, path: str, update: Update) -> LowRank:
    if isinstance(update, LowRank):
        return update
    name = attached.name
    raise AdapterError(
        f"{name} ({attached.method.title}): ΔW of {path} is not a product of factors, which "
        f"--remove-intruders needs; type: %lora compress {name} --rank 8, and use it on {name}_r8"
    )
