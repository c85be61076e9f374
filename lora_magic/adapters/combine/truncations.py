"""The truncations of an adapter to many ranks, as `compress` makes them, attached nowhere.

Knows one attached adapter and its updates; runs no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import nn

from lora_magic.adapters import attach
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.slots import Slots
from lora_magic.adapters.spec import seed_of
from lora_magic.adapters.trainable_copy import TrainableCopy, trainable_copies
from lora_magic.base.model import BaseModel
from lora_magic.lowrank.approximation import truncated
from lora_magic.lowrank.dense import Update
from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.stack import StackedLinear

from .changes import ModuleLoss, changes_of, finite, summed
from .compress import Compression, row_of, zero_update

#: Module path → ΔW truncated.
Truncated = dict[str, LowRank]


class Truncations:
    """ΔW of one adapter at any rank; each is decomposed once.

    Raises `AdapterError` for a method without a ΔW, and for an adapter that holds NaN or infinity.
    """

    def __init__(self, base: BaseModel, slots: Slots, attached: LiveAdapter) -> None:
        self._base, self._slots, self._attached = base, slots, attached
        self._change = changes_of(base, slots, attached, "compressed")

    @cached_property
    def report(self) -> Compression:
        """What each rank loses of ΔW."""
        rows = (row for row, _, _ in self._widest.values())
        return Compression(self._attached.name, None, (*rows, *self._change.dropped))

    @cached_property
    def ranks(self) -> tuple[int, ...]:
        """The ranks of the report; of a dense ΔW those with fewer parameters than its matrices."""
        updates = [update for _, update, _ in self._widest.values()]
        if all(isinstance(update, LowRank) for update in updates):
            return self.report.ranks
        entries = sum(update.shape[0] * update.shape[1] for update in updates)
        fewer = [rank for rank in self.report.ranks if self.parameters(rank) < entries]
        return tuple(fewer) or self.report.ranks[:1]

    def parameters(self, rank: int) -> int:
        """Σ r·(d + k) over the matrices."""
        rows = (row for row, _, _ in self._widest.values())
        return sum(min(rank, row.rank_before) * row.per_rank for row in rows)

    def is_whole(self, rank: int) -> bool:
        """Is the adapter at this rank the adapter itself?"""
        if self._change.dropped:
            return False
        return all(
            isinstance(update, LowRank) and update.rank <= rank
            for _, update, _ in self._widest.values()
        )

    def at(self, ranks: int | Mapping[str, int]) -> Truncated:
        """The updates that `compress` makes for a rank, or for a rank of each module; none at 0."""
        found = {}
        for path, (row, update, widest) in self._widest.items():
            rank = ranks if isinstance(ranks, int) else ranks[path]
            if isinstance(update, LowRank) and row.norm and update.rank <= rank:
                found[path] = update
            elif rank:
                found[path] = LowRank(widest.down[:rank], widest.up[:, :rank], widest.scale)
        return found

    @cached_property
    def copies(self) -> dict[str, TrainableCopy]:
        """The modules with the trained biases, norms and head, which every truncation keeps."""
        trained = summed(self._slots, [(1.0, self._change)])
        with self._slots.using({}):
            made = trainable_copies(self._base.model, trained)
        with torch.no_grad():
            for path, values in trained.items():
                for name, value in values.items():
                    made[path].values[name].copy_(value)
        return made

    def layers(self, updates: Truncated) -> dict[str, nn.Module]:
        """Modules with these updates, for linear layers."""
        return {
            **self.copies,
            **{p: StackedLinear(self._below(p), [u]) for p, u in updates.items()},
        }

    def adapter(self, updates: Truncated) -> LiveAdapter:
        """An adapter with these updates, for layers of any kind."""
        name = self._attached.name
        trained = summed(self._slots, [(1.0, self._change)])
        return attach.from_updates(
            self._base,
            self._slots,
            name,
            updates,
            trained,
            seed=seed_of(name),
            parents=[self._attached],
        )

    def _below(self, path: str) -> nn.Module:
        return self.copies.get(path) or self._slots.original(path)

    @cached_property
    def _widest(self) -> dict[str, tuple[ModuleLoss, Update, LowRank]]:
        """By path: the row, ΔW, and its best approximation of the largest rank; a smaller one is
        its first columns and rows."""
        found = {}
        for path in self._change.matrices:
            update = finite(self._attached, path)
            svd = update.svd()
            row = row_of(path, update, svd[1])
            whole = truncated(update, len(row.sigma), svd) if row.norm else zero_update(update)
            found[path] = (row, update, whole)
        return found
