"""What an adapter of a smaller rank loses, module by module.

Knows updates and numbers; knows no adapter and no base.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from lora_magic.checks import is_number, is_whole
from lora_magic.errors import listed
from lora_magic.frames import frame
from lora_magic.lowrank.approximation import truncated, truncation_error
from lora_magic.lowrank.dense import Update
from lora_magic.lowrank.factors import LowRank
from lora_magic.numbers import percent

if TYPE_CHECKING:
    from pandas import DataFrame

#: A share of ΔW below this is the rounding of float32.
_ROUNDING = 1e-6

#: The share of the energy Σσ² that a proposed rank keeps.
_ENOUGH = 0.95


@dataclass(frozen=True)
class ModuleLoss:
    """What one module's ΔW lost, as Frobenius norms.

    `norm` is ‖ΔW‖ before, `error` is ‖ΔW − ΔW'‖/‖ΔW‖, 0 for ΔW = 0; `sigma` are ΔW's singular
    values, largest first. A parameter that a LoRA cannot carry has no ranks and the error 1.
    """

    module: str
    rank_before: int
    rank_after: int
    norm: float
    error: float
    sigma: tuple[float, ...] = field(default=(), repr=False)

    @property
    def carried(self) -> bool:
        """Is it a matrix that the LoRA has factors for?"""
        return self.rank_before > 0

    def lost_at(self, rank: int) -> float:
        """The error of the best approximation of a rank (Eckart and Young 1936)."""
        return truncation_error(self.sigma, rank) if self.sigma else self.error


@dataclass(frozen=True)
class Compression:
    """An adapter at a smaller rank, or the evidence for choosing one.

    `new` is the name of the adapter made, None where nothing was made: then both ranks of a module
    are the same. Biases, norms and a head go over as they are and count as nothing lost.
    """

    adapter: str
    new: str | None
    modules: tuple[ModuleLoss, ...]
    parameters: int = 0

    @property
    def error(self) -> float:
        """What is lost overall, √(Σ‖ΔW − ΔW'‖² / Σ‖ΔW‖²), with what is not carried."""
        return _overall(self.modules, [row.error for row in self.modules])

    @property
    def worst(self) -> ModuleLoss:
        """The module that loses the largest share of its ΔW."""
        return max(self.modules, key=lambda row: row.error)

    @property
    def left(self) -> tuple[str, ...]:
        """Parameters that the adapter changes and a LoRA cannot carry."""
        return tuple(row.module for row in self.modules if not row.carried)

    @property
    def ranks(self) -> tuple[int, ...]:
        """The ranks that evidence is told for: each up to 16, else powers of two and the whole."""
        most = max(row.rank_before for row in self.modules)
        if most <= 16:
            return tuple(range(1, most + 1))
        return (*(2**power for power in range((most - 1).bit_length())), most)

    @property
    def enough(self) -> int:
        """The smallest of these ranks that keeps 95 % of the energy of what can be carried."""
        held = [row for row in self.modules if row.carried]
        for rank in self.ranks:
            if _overall(held, [row.lost_at(rank) for row in held]) ** 2 <= 1 - _ENOUGH:
                return rank
        return self.ranks[-1]

    @property
    def before(self) -> str:
        """The ranks that its modules have: `8`, or `3 to 7`."""
        return _span([row.rank_before for row in self.modules if row.carried])

    @property
    def after(self) -> str:
        """The ranks that the new one's modules have."""
        return _span([row.rank_after for row in self.modules if row.carried])

    @property
    def command(self) -> str:
        """What to type next."""
        if self.new is not None:
            return f"%lora swap {self.new}"
        if not any(row.norm for row in self.modules):
            return f"%%lora_train {self.adapter}"
        size = f"--rank {self.enough}" if self.enough < self.ranks[-1] else f"--energy {_ENOUGH}"
        return f"%lora compress {self.adapter} {size}"

    @property
    def line(self) -> str:
        """The receipt in one line."""
        if self.new is None:
            return f"{self.adapter}: {self._evidence}; type: {self.command}"
        count = sum(row.carried for row in self.modules)
        return (
            f"{self.new}: {self.adapter} at rank {self.after} (it has {self.before}) on {count} "
            f"module{'s' * (count != 1)}, {self.parameters:,} parameters; {loss_in_words(self)}; "
            f"to use it: {self.command}"
        )

    @property
    def _evidence(self) -> str:
        if not any(row.norm for row in self.modules):
            return "not trained yet, ΔW = 0"
        if self.enough == self.ranks[-1]:
            return f"rank {self.before}, and no smaller one for all keeps 95 % of the energy of ΔW"
        lost = _overall(self.modules, [row.lost_at(self.enough) for row in self.modules])
        return f"rank {self.enough}, of {self.before}, loses {percent(lost)} of ΔW"

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def to_frame(self) -> DataFrame:
        """One row a module: module, rank_before, rank_after, norm (‖ΔW‖_F), error (a share)."""
        rows = [astuple(row)[:5] for row in self.modules]
        return frame(rows, ["module", "rank_before", "rank_after", "norm", "error"])

    def by_rank(self) -> DataFrame:
        """One row a rank: rank, error (overall), worst_error, worst_module."""
        return frame(self.ranked(), ["rank", "error", "worst_error", "worst_module"])

    def ranked(self) -> list[tuple[int, float, float, str]]:
        """The rows of `by_rank`."""
        found = []
        for rank in self.ranks:
            lost = [row.lost_at(rank) for row in self.modules]
            worst = max(range(len(lost)), key=lost.__getitem__)
            overall = _overall(self.modules, lost)
            found.append((rank, overall, lost[worst], self.modules[worst].module))
        return found

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        from lora_magic.views import compression

        return compression.bundle(self)


def loss_in_words(told: Compression) -> str:
    """`12.30% of ΔW lost (most in q_proj: 30.10%)`, and what was not carried."""
    if not told.modules or told.error <= _ROUNDING:
        return "nothing of ΔW lost"
    worst = told.worst
    most = f" (most in {worst.module}: {percent(worst.error)})" if len(told.modules) > 1 else ""
    left = f", {listed(told.left, 3)} not carried" if told.left else ""
    return f"{percent(told.error)} of ΔW lost{most}{left}"


def fitted(update: Update, rank: int) -> LowRank:
    """The update itself where it is narrow enough, else its best approximation of the rank."""
    if isinstance(update, LowRank) and update.rank <= rank:
        return update
    if not update.norm():
        return nothing(update)
    return truncated(update, rank)


def nothing(update: Update) -> LowRank:
    """ΔW = 0 of rank 1 with B = 0; A is not, since two zero factors would never learn."""
    outputs, inputs = update.shape
    if isinstance(update, LowRank) and bool(update.down[0].any()):
        down = update.down.detach()[:1]
    else:
        down = torch.full((1, inputs), inputs**-0.5)
    return LowRank(down=down, up=down.new_zeros(outputs, 1), scale=1.0)


def row_of(path: str, update: Update) -> ModuleLoss:
    """A module's row before anything is cut off."""
    sigma = tuple(update.singular_values().tolist())
    rank = min(update.rank, *update.shape)
    return ModuleLoss(path, rank, rank, math.hypot(*sigma), 0.0, sigma)


def cut(path: str, update: Update, kept: LowRank) -> ModuleLoss:
    """The row of a module; its singular values are computed only where something was cut off."""
    if kept is update:
        return ModuleLoss(path, kept.rank, kept.rank, update.norm(), 0.0)
    row = row_of(path, update)
    return replace(row, rank_after=kept.rank, error=row.lost_at(kept.rank))


def _overall(rows: Sequence[ModuleLoss], errors: Sequence[float]) -> float:
    whole = math.hypot(*(row.norm for row in rows))
    lost = math.hypot(*(row.norm * error for row, error in zip(rows, errors, strict=True)))
    return lost / whole if whole else 0.0


def rank_fault(rank: object) -> str:
    """What is wrong with a rank that was asked for; empty where nothing is."""
    if rank is None or (is_whole(rank) and rank >= 1):  # type: ignore[operator]  # a number
        return ""
    return f"rank {rank!r}: expected a whole number from 1, say --rank 8"


def is_share(value: object) -> bool:
    """Is this a share above 0, at most 1?"""
    return is_number(value) and 0 < value <= 1  # type: ignore[operator]  # a number


def _span(ranks: Sequence[int]) -> str:
    low, high = min(ranks), max(ranks)
    return str(low) if low == high else f"{low} to {high}"
