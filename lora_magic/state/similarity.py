"""Compares adapters by their ΔW: common directions, angles, amplification of W, intruders.

Knows the session's state; knows no display. One module is in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import torch

from lora_magic.adapters.delta import own_factors
from lora_magic.errors import AdapterError, listed
from lora_magic.lowrank.dense import DenseUpdate, Update
from lora_magic.lowrank.factors import precise
from lora_magic.lowrank.intruders import intruders
from lora_magic.lowrank.own import EXACT, OwnSpectrum, own_spectrum
from lora_magic.lowrank.similarity import (
    FACTORS,
    FIRST,
    Amplified,
    Intruding,
    Overlap,
    Similarity,
    side_of,
)
from lora_magic.lowrank.subspace import Directions, amplification, cosine, directions, overlap

from . import inside

if TYPE_CHECKING:
    from torch import Tensor

    from lora_magic.adapters.live_adapter import LiveAdapter

    from .session_state import SessionState

#: Values of φ that one record holds; more modules and pairs have fewer directions each.
VALUES = 1_000_000

#: Multiplications in decompositions of W that one call takes: about 25 s of one core.
WORK = 6e10

#: Columns of the subspace that the largest singular values of a larger W take, at most.
_LARGEST = 800

#: Below this angle's cosine two rows of A are different; their length depends on the scale.
_EQUAL = 1 - 1e-6


def similarity(
    state: SessionState, names: Sequence[str], module: str | None, side: str
) -> Similarity:
    """The record of the named adapters, else of the active ones, else of all that have a ΔW.

    Raises `AdapterError` for a method without a ΔW or without the factor that `side` names, for a
    name given twice, for a ΔW that is not finite and for adapters without a common module, and
    `CommandError` for another side.
    """
    side = side_of(side)
    chosen = inside.chosen(state, names, "directions of ΔW")
    _refuse_twice(chosen)
    updates = inside.updates_of(state, chosen, module)
    _refuse_diverged(updates)
    if side in FACTORS:
        updates = {name: _with_factors(state, name, updates, side) for name in chosen}
    return _Work(state, chosen, updates, side, named=module is not None).done()


def _with_factors(
    state: SessionState, name: str, updates: inside.Updates, side: str
) -> dict[str, Update]:
    """The updates of an adapter's modules with factors: a classifier's head has none.

    Raises `AdapterError` if no module has.
    """
    attached = state.named(name)
    found = {
        path: update
        for path, update in updates[name].items()
        if own_factors(attached.replacements[path]) is not None
    }
    if not found:
        raise AdapterError(
            f"{name} ({attached.method.title}) has no factor {side} in {listed(updates[name], 1)}: "
            f"its sides are inputs and outputs; type: %lora similarity {','.join(updates)} --side "
            "inputs"
        )
    return found


def _refuse_twice(names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise AdapterError(
            f"{twice} is named twice: φ of an adapter with itself is 1. Name two adapters, or one "
            f"for its amplification: %lora similarity {twice}"
        )


def _refuse_diverged(updates: inside.Updates) -> None:
    broken = {
        name: [path for path, update in found.items() if not update.finite]
        for name, found in updates.items()
    }
    for name, paths in broken.items():
        if paths:
            raise AdapterError(
                f"ΔW of {name} is not finite in {listed(paths, 3)}: training diverged. Train again "
                f"with a lower learning rate: %%lora_train {name} --lr 1e-4"
            )


@dataclass(frozen=True, eq=False)
class _Part:
    """One module of one adapter: ΔW, its first directions, and those of the compared side."""

    update: Update
    found: Directions
    compared: Tensor
    count: int


class _Work:
    """One comparison, module by module."""

    def __init__(
        self,
        state: SessionState,
        names: Sequence[str],
        updates: inside.Updates,
        side: str,
        *,
        named: bool,
    ) -> None:
        self._state, self._names, self._updates = state, names, updates
        self._side, self._named = side, named
        self._pairs = list(combinations(names, 2))
        self._attached = {name: state.named(name) for name in names}
        self._paths = list(dict.fromkeys(path for found in updates.values() for path in found))
        shared = [_common(updates, pair) for pair in self._pairs]
        self._refuse_apart(shared)
        count = sum(map(len, shared))
        self._most = min(FIRST, max(1, math.isqrt(VALUES // max(1, count))))
        self._overlaps: list[Overlap] = []
        self._amplified: list[Amplified] = []
        self._intruding: list[Intruding] = []
        self._cut, self._left_out, self._spent = 0, 0, 0.0

    def done(self) -> Similarity:
        """The record."""
        for path in self._paths:
            self._module(path)
        order = {pair: place for place, pair in enumerate(self._pairs)}
        return Similarity(
            adapters=tuple(self._names),
            side=self._side,
            overlaps=tuple(sorted(self._overlaps, key=lambda o: order[o.first, o.second])),
            amplified=tuple(sorted(self._amplified, key=lambda a: self._names.index(a.adapter))),
            intruding=tuple(self._intruding),
            notes=tuple(self._notes()),
        )

    def _module(self, path: str) -> None:
        parts = {
            name: self._part(name, path, found[path])
            for name, found in self._updates.items()
            if path in found
        }
        weight = inside.weight_of(self._state, path)
        norm = float(torch.linalg.matrix_norm(precise(weight)))
        for first, second in self._pairs:
            if first in parts and second in parts:
                found = (first, second, path)
                self._overlaps.append(self._overlap(*found, parts[first], parts[second], norm))
        own = self._own(path, weight)
        if own is None:
            self._left_out += 1
            return
        for name, part in parts.items():
            amplified = amplification(weight, own.sigma, part.found, FIRST)
            self._amplified.append(Amplified(name, path, amplified))
        if len(self._names) == 1:
            self._add_intruders(path, weight, parts[self._names[0]])

    def _part(self, name: str, path: str, update: Update) -> _Part:
        found = directions(update)
        first = Directions(found.outputs[:, :FIRST].clone(), found.sigma, found.inputs[:, :FIRST])
        if self._side == "inputs":
            return _Part(update, first, first.inputs, found.count)
        if self._side == "outputs":
            return _Part(update, first, first.outputs, found.count)
        own = own_factors(self._attached[name].replacements[path])
        assert own is not None  # the others are left out
        factor = own.down if self._side == "A" else own.up
        of_factor = directions(DenseUpdate(factor))
        columns = of_factor.inputs if self._side == "A" else of_factor.outputs
        return _Part(update, first, columns, of_factor.count)

    def _overlap(
        self, first: str, second: str, path: str, one: _Part, other: _Part, norm: float
    ) -> Overlap:
        most = self._most
        self._cut = max(self._cut, one.count, other.count)
        phi = overlap(one.compared[:, :most], other.compared[:, :most])
        rows = tuple(map(tuple, phi.clamp(0, 1).tolist())) if phi.numel() else ()
        changes = tuple(float(torch.linalg.vector_norm(part.found.sigma)) for part in (one, other))
        return Overlap(
            first=first,
            second=second,
            module=path,
            shape=one.update.shape,
            dim=len(one.compared),
            counts=(one.count, other.count),
            phi=rows,
            cosine=cosine(one.update, other.update),
            changes=(changes[0], changes[1]),
            weight=norm,
        )

    def _own(self, path: str, weight: Tensor) -> OwnSpectrum | None:
        """W's own spectrum, kept while the base is loaded; None where it would take too long."""
        key = ("own", path)
        if key not in self._state.base_scores:
            small = min(weight.shape)
            self._spent += weight.numel() * (small if small <= EXACT else _LARGEST)
            if self._spent > WORK and not self._named and self._amplified:
                return None
            self._state.base_scores[key] = own_spectrum(weight)
        found: OwnSpectrum = self._state.base_scores[key]
        return found

    def _add_intruders(self, path: str, weight: Tensor, part: _Part) -> None:
        self._spent += 4 * weight.numel() * min(weight.shape)
        if self._spent > WORK:
            return
        found = intruders(weight, part.update)
        self._intruding.append(Intruding(self._names[0], path, found.cosines, found.places))

    def _refuse_apart(self, shared: Sequence[Sequence[str]]) -> None:
        """Raise `AdapterError` for a pair without a common module."""
        for (first, second), paths in zip(self._pairs, shared, strict=True):
            if not paths:
                raise AdapterError(
                    f"{first} and {second} have no module in common: {first} has "
                    f"{listed(self._updates[first], 2)}, {second} has "
                    f"{listed(self._updates[second], 2)}. To see one alone, type: "
                    f"%lora similarity {first}"
                )

    def _notes(self) -> Iterator[str]:
        for first, second in self._pairs:
            yield from self._same_start(first, second)
            one, other = self._updates[first], self._updates[second]
            for name, own, rest in ((first, one, other), (second, other, one)):
                alone = len(own.keys() - rest.keys())
                if alone:
                    several = f"{alone} module{'s' * (alone != 1)}"
                    yield f"{several} that only {name} adapts: left out of φ"
        if self._cut > self._most:
            yield f"φ of the first {self._most} of {self._cut} directions"
        if self._left_out:
            yield (
                f"amplification of {len(self._paths) - self._left_out} of {len(self._paths)} "
                "modules, since it takes long; for another: --module NAME"
            )
        examined = len(self._intruding)
        if len(self._names) == 1 and examined < len(self._paths) - self._left_out:
            yield (
                f"intruders of {examined} of {len(self._paths)} modules, since that takes long; "
                f"for another: %lora spectrum {self._names[0]} --module NAME --intruders"
            )

    def _same_start(self, first: str, second: str) -> Iterator[str]:
        """A warning if two adapters start from the same A: then φ of the inputs shows that."""
        paths = _common(self._updates, (first, second))
        one, other = self._attached[first], self._attached[second]
        same = paths if _one_draw(one, other) else [p for p in paths if _same_a(one, other, p)]
        if same:
            where = "" if len(same) == len(paths) else f" in {len(same)} of {len(paths)} modules"
            made = one.parents or other.parents
            remedy = "" if made else ": attach one of them with another --seed"
            yield (
                f"{first} and {second} start from the same A{where}, so that a high φ of the inputs"
                f" shows their start, not what they learned{remedy}"
            )


def _common(updates: inside.Updates, pair: tuple[str, str]) -> list[str]:
    first, second = (updates[name] for name in pair)
    return [path for path in first if path in second]


def _one_draw(one: LiveAdapter, other: LiveAdapter) -> bool:
    """Do the specs say that one draw made both A? An opened adapter's initial state is its own."""
    names = ("method", "seed", "rank", "init", "targets", "rank_pattern")
    has_a = one.method.name in ("lora", "adalora")
    return has_a and all(getattr(one.spec, n) == getattr(other.spec, n) for n in names)


def _same_a(one: LiveAdapter, other: LiveAdapter, path: str) -> bool:
    """Are the random factors that both adapters start from equal, up to rank and scale?"""
    starts = [_start_of(attached.start, path) for attached in (one, other)]
    if any(start is None for start in starts):
        return False
    rows = [start / start.norm(dim=1, keepdim=True) for start in starts if start is not None]
    count = min(map(len, rows))
    cosines = (rows[0][:count] * rows[1][:count]).sum(1).abs()
    return bool((cosines > _EQUAL).all())


def _start_of(start: Mapping[str, Tensor], path: str) -> Tensor | None:
    """A [r, k] of a module in an adapter's initial state; for an embedding B as [r, d], whose A is
    0 there. None without any, or with a row of 0."""
    for key, value in start.items():
        if key.startswith(f"{path}.lora_A."):
            return _rows(value)
        if key.startswith(f"{path}.lora_embedding_B."):
            return _rows(value.mT)
    return None


def _rows(value: Tensor) -> Tensor | None:
    rows = precise(value)
    return rows if len(rows) and bool(rows.any(dim=1).all()) else None
