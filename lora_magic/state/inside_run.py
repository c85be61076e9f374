"""Reads an adapter from inside its run: gradient norms of A and B, and ΔW by its factors.

What is read, and how often, follows from counts alone, so that two runs read the same: all readings
together are to take less than 1 % of the run. Knows adapters and ΔW; knows no step of a run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]  # its stubs lack it

from lora_magic.adapters.delta import copy_in, factored_update, update_of
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.base.model import BaseModel
from lora_magic.lowrank.factors import singular_values
from lora_magic.lowrank.spectrum import effective_rank
from lora_magic.training.inside import ALL, Reading

#: Readings of a run, and a number that is few; modules that are followed at most, and those for
#: which the readings are reduced to few.
READINGS, FEW, MOST, LEAST = 25, 8, 16, 4

#: The share of a run's time that the readings are planned for: the estimates below may be wrong.
_SHARE = 0.007

# Seconds, measured on one core of a server, on which a product of 1024³ runs at 130 GFLOP/s.
# A step is estimated low: what each layer of the model costs, and its products with frozen weights.
_STEP, _LAYER = 2e-3, 1e-4
_RATES = {"cpu": 1e11, "cuda": 4e14}
# A reading is estimated high: for the gradients what each tensor and each number costs, for a
# module with factors what it costs and what each number of its QR does, for another one what its
# calls cost and each number of its ΔW. Between two steps nothing of it is in the caches.
_READING, _TENSOR, _NUMBER = 4e-4, 1e-5, 1e-9
_FACTORS, _QR = 8e-5, 6e-10
_CALLS, _DENSE = 3e-4, 3e-8
#: What a value from another device costs, besides.
_TRANSFER = 1.5e-4
#: Numbers of the largest dense ΔW that is followed: it is computed in float64.
_LARGEST = 2**24


class Recorder:
    """Reads one adapter of a base; `training.inside.Recorder` says when."""

    def __init__(self, base: BaseModel, attached: LiveAdapter) -> None:
        self._attached = attached
        self._device = base.device.type
        self._model: nn.Module = base.model
        self._base = list(base.fingerprint.tensors().values())
        self.base_tensors = len(self._base)
        self._layers = {
            path: layer
            for path, layer in attached.replacements.items()
            if _has_update(attached.originals[path], layer)
        }
        self.modules = len(self._layers)
        self._followed: tuple[str, ...] = ()

    def plan(self, steps: int, tokens: float) -> Sequence[int]:
        """The steps taken at each reading, evenly spaced, the first 0, the last all of them."""
        allowed = _SHARE * steps * self._step(tokens)
        ordered = self._largest_first()
        costs = [self._cost(path) for path in ordered]
        fixed, possible = self._fixed(), sum(map(math.isfinite, costs))
        readings, count = 2, 0
        for readings, least in _choices(min(READINGS, steps + 1)):
            count = _fitting(costs, allowed / readings - fixed)
            if count >= min(least, possible):
                break
        chosen = set(ordered[: max(count, min(1, possible))])
        self._followed = tuple(path for path in self._layers if path in chosen)
        return sorted({round(at * steps / (readings - 1)) for at in range(readings)})

    def _step(self, tokens: float) -> float:
        """Seconds of a step, at least: forward, and backward through the frozen weights."""
        modules: list[nn.Module] = list(self._model.modules())
        layers = sum(not module._modules for module in modules)
        # A tied head computes only the trained tokens.
        tables = {id(m._parameters.get("weight")) for m in modules if isinstance(m, nn.Embedding)}
        weights = sum(p.numel() for p in self._model.parameters() if id(p) not in tables)
        rate = _RATES.get(self._device, _RATES["cuda"])
        rate *= torch.get_num_threads() if self._device == "cpu" else 1
        return _STEP + _LAYER * layers + 4 * weights * tokens / rate

    def _fixed(self) -> float:
        """Seconds of a reading without any module."""
        own = self._attached.own.values()
        return _READING + sum(_TENSOR + _NUMBER * p.numel() for p in own)

    def _cost(self, path: str) -> float:
        """Seconds of a reading of one module."""
        far = 0.0 if self._device == "cpu" else _TRANSFER
        low = factored_update(self._layers[path])
        if low is None:
            size = self._size(path)
            return math.inf if size > _LARGEST else _CALLS + far + _DENSE * size
        return _FACTORS + far + _QR * sum(low.shape) * low.rank * (low.rank + 4)

    def _size(self, path: str) -> int:
        """The numbers of a module's ΔW."""
        # A quantised weight is packed.
        counted = (c.outputs * c.inputs for c in self._attached.counts if c.module == path)
        return next(counted, 0) or sum(p.numel() for p in self._layers[path].parameters())

    def _largest_first(self) -> list[str]:
        """The modules by size; of equal ones those far apart in the model first.

        Those with a dense ΔW come in reverse: what it costs is its size.
        """
        paths = list(self._layers)
        places = {path: _reversed_bits(at) for at, path in enumerate(paths)}

        def order(path: str) -> tuple[bool, int, int]:
            dense, size = factored_update(self._layers[path]) is None, self._size(path)
            return dense, size if dense else -size, places[path]

        return sorted(paths, key=order)

    def read(self, step: int, scale: float | None) -> list[Reading]:
        """All modules' gradients together, and each followed module's with its ΔW."""
        by_module = {} if scale is None else self._gradients(scale)
        asked = sum(tensor.requires_grad or tensor.grad is not None for tensor in self._base)
        together: dict[str, float] = {}
        for norms in by_module.values():
            for factor, norm in norms.items():
                together[factor] = math.hypot(together.get(factor, 0.0), norm)
        return [Reading(step, ALL, _finite(together), asked), *self._updates(step, by_module)]

    def _gradients(self, scale: float) -> dict[str, dict[str, float]]:
        """Norms in float64 by module and factor."""
        trained = [(at, p.grad) for at, p in self._attached.own.items() if p.grad is not None]
        if not trained:
            return {}
        # Some accelerators have no float64.
        wide = torch.float32 if self._device == "mps" else torch.float64
        with torch.no_grad():
            norms = torch._foreach_norm([gradient for _, gradient in trained], 2, wide)
            values = torch.stack([norm.to(wide) for norm in norms]).tolist()
        found: dict[str, dict[str, float]] = {}
        for ((path, part), _), value in zip(trained, values, strict=True):
            own, factor = found.setdefault(path, {}), _factor(part)
            own[factor] = math.hypot(own.get(factor, 0.0), value / scale)
        return found

    def _updates(self, step: int, gradients: Mapping[str, Mapping[str, float]]) -> list[Reading]:
        """The readings of the followed modules."""
        factors = {path: factored_update(self._layers[path]) for path in self._followed}
        low = {path: update for path, update in factors.items() if update is not None}
        try:
            found = dict(zip(low, singular_values(list(low.values())), strict=True))
        except LinAlgError:
            found = {}  # A weight is not finite: the run's own error names the step.
        return [
            self._reading(
                step, path, _finite(gradients.get(path, {})), found.get(path), path in low
            )
            for path in self._followed
        ]

    def _reading(
        self, step: int, path: str, own: dict[str, float], found: Tensor | None, factored: bool
    ) -> Reading:
        if found is not None:
            sigma = tuple(found.tolist())
            rank = effective_rank(sigma) or None
            return Reading(step, path, own, None, math.hypot(*sigma), rank, sigma)
        update = None if factored else update_of(self._attached.originals[path], self._layers[path])
        norm = None if update is None else update.norm()
        return Reading(step, path, own, norm=norm if norm is None or math.isfinite(norm) else None)


def recorder_of(base: BaseModel, attached: LiveAdapter) -> Recorder | None:
    """A recorder; None for a method without a ΔW."""
    return None if attached.method.no_spectrum else Recorder(base, attached)


def _has_update(original: nn.Module, layer: nn.Module) -> bool:
    """Does a layer change a matrix?"""
    if factored_update(layer) is not None:
        return True
    weight, copy = original._parameters.get("weight"), copy_in(layer)
    return weight is not None and weight.dim() == 2 and (copy is None or "weight" in copy.values)


def _choices(most: int) -> Iterator[tuple[int, int]]:
    """Numbers of readings, and of modules that must be affordable with them, the best first."""
    yield from ((readings, LEAST) for readings in range(most, FEW - 1, -1))
    yield from ((readings, 1) for readings in range(min(most, FEW), 1, -1))


def _fitting(costs: Sequence[float], allowed: float) -> int:
    """How many of the first costs are allowed, at most `MOST`."""
    count = 0
    while count < min(MOST, len(costs)) and costs[count] <= allowed:
        allowed -= costs[count]
        count += 1
    return count


def _finite(norms: Mapping[str, float]) -> dict[str, float]:
    return {factor: norm for factor, norm in norms.items() if math.isfinite(norm)}


def _factor(part: str) -> str:
    """Which factor a parameter is: PEFT's names, for embeddings too."""
    names = part.split(".")
    for factor in ("A", "B"):
        if f"lora_{factor}" in names or f"lora_embedding_{factor}" in names:
            return factor
    return "other"


def _reversed_bits(number: int) -> int:
    """The bits of a number below 2¹⁶ in reverse: 0, 1, 2, 3 … become places far apart."""
    return int(f"{number:016b}"[::-1], 2)
