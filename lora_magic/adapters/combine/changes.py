"""What an adapter changes, split into what a LoRA can represent and what it cannot.

Knows attached adapters and their layers; makes none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from lora_magic.adapters.delta import copy_in, merged_parameters, update_of
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.shapes import ModuleShape
from lora_magic.adapters.sites import biases, norms
from lora_magic.adapters.slots import Slots
from lora_magic.adapters.trainable_copy import TrainableCopy
from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError
from lora_magic.lowrank.approximation import truncation_error
from lora_magic.lowrank.dense import Update
from lora_magic.lowrank.factors import is_finite, precise


@dataclass(frozen=True)
class ModuleLoss:
    """What one module's ΔW lost, as Frobenius norms.

    `norm` is ‖ΔW‖ before, `error` is ‖ΔW − ΔW'‖/‖ΔW‖, 0 for ΔW = 0; `sigma` are ΔW's singular
    values, largest first, and `per_rank` is d + k, the parameters that each rank takes. A parameter
    that a LoRA cannot represent has no ranks and the error 1.
    """

    module: str
    rank_before: int
    rank_after: int
    norm: float
    error: float
    sigma: tuple[float, ...] = field(default=(), repr=False)
    per_rank: int = field(default=0, repr=False)

    @property
    def has_factors(self) -> bool:
        """Is it a matrix that the LoRA has factors for?"""
        return self.rank_before > 0

    def lost_at(self, rank: int) -> float:
        """The error of the best approximation of a rank (Eckart and Young 1936)."""
        return truncation_error(self.sigma, rank) if self.sigma else self.error


@dataclass(frozen=True, eq=False)
class Changes:
    """Paths of changed matrices, and trained parameters as θ − θ0.

    `dropped` are the changes that a LoRA cannot represent.
    """

    matrices: tuple[str, ...]
    trained: dict[str, dict[str, Tensor]]
    dropped: tuple[ModuleLoss, ...]


def changes_of(base: BaseModel, slots: Slots, attached: LiveAdapter, doing: str) -> Changes:
    """What an adapter changes; raises `AdapterError` for a method without a ΔW."""
    method = attached.method
    if method.no_spectrum:
        raise AdapterError(
            f"{attached.name} ({method.title}) cannot be {doing}: {method.no_spectrum}. Use it "
            f"unchanged: %lora swap {attached.name}"
        )
    trainable = _trainable(base, slots)
    matrices, dropped = [], []
    trained: dict[str, dict[str, Tensor]] = {}
    for path, layer in attached.replacements.items():
        original = attached.originals[path]
        adapted = path not in base.task.head and _has_matrix(slots.shapes.modules[path], layer)
        if adapted:
            matrices.append(path)
        for name, value in _trained_values(original, layer):
            if name == "weight" and adapted:
                continue
            delta = precise(value) - precise(original.get_parameter(name))
            if not bool(delta.isfinite().all()):
                _refuse_diverged(attached, f"{path}.{name}")
            if (path, name) in trainable:
                trained.setdefault(path, {})[name] = delta
            elif bool(delta.any()):
                dropped.append(ModuleLoss(f"{path}.{name}", 0, 0, float(delta.norm()), 1.0))
    return Changes(tuple(matrices), trained, tuple(dropped))


def _trainable(base: BaseModel, slots: Slots) -> set[tuple[str, str]]:
    """The parameters of the base that a LoRA can train: biases, norms, a classifier's head."""
    shapes = slots.shapes
    head = {path: shapes.modules[path].names for path in base.task.head}
    parts = (biases(shapes, head), norms(shapes), head)
    return {(path, name) for part in parts for path, names in part.items() for name in names}


def _has_matrix(original: ModuleShape, layer: nn.Module) -> bool:
    """Does the layer change a matrix that a LoRA of PEFT can change too?

    An embedding with its own forward (such as positions counted from 2) looks up other rows.
    """
    if not isinstance(layer, TrainableCopy):
        return True
    return "weight" in layer.values and original.carries_lora and original.plain_lookup


def _trained_values(original: nn.Module, layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters of the base that a layer replaces, by name: θ."""
    copy = copy_in(layer)
    if copy is not None:
        yield from copy.values.items()
    elif hasattr(layer, "ia3_l"):
        # (IA)³ scales the bias with the outputs.
        yield from ((n, v) for n, v in merged_parameters(original, layer).items() if n != "weight")


def finite(attached: LiveAdapter, path: str) -> Update:
    """ΔW of one module, computed on demand: a dense one is as large as its weight."""
    update = update_of(attached.originals[path], attached.replacements[path])
    assert update is not None  # it is among the matrices
    if not update.finite:
        _refuse_diverged(attached, path)
    return update


def _refuse_diverged(attached: LiveAdapter, where: str) -> None:
    raise AdapterError(
        f"{attached.name} holds NaN or infinity in {where}; train it again with a smaller --lr, or "
        f"type: %lora detach {attached.name}"
    )


def summed(slots: Slots, weighed: Sequence[tuple[float, Changes]]) -> dict[str, dict[str, Tensor]]:
    """θ0 + Σ w·(θ − θ0) of each trained parameter, by module path and name."""
    found: dict[str, dict[str, Tensor]] = {}
    for weight, change in weighed:
        for path, deltas in change.trained.items():
            sums = found.setdefault(path, {})
            for name, delta in deltas.items():
                if name not in sums:
                    sums[name] = precise(slots.original(path).get_parameter(name))
                sums[name] = sums[name] + weight * delta
    return found


def with_origin(
    made: LiveAdapter, parts: Sequence[tuple[float, LiveAdapter]], origin: str, lost: str
) -> LiveAdapter:
    """The new adapter with its origin and the prompt form of its parents."""
    if not all(map(is_finite, made.start.values())):
        raise AdapterError(
            f"{made.name}: its factors are beyond float32; use smaller weights, for example a=0.7"
        )
    made.history = replace(made.history, made=origin, lost=lost)
    made.form = next((a.form for _, a in parts if a.form is not None), None)
    return made
