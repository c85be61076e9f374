"""Which rank the evidence supports: an adapter truncated to each rank, measured on the same rows.

Knows losses and answers by row as numbers; knows no model and no session.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lora_magic.adapters.combine import Compression
from lora_magic.frames import frame
from lora_magic.numbers import figures, percent

from .bootstrap import Array, estimates

if TYPE_CHECKING:
    from pandas import DataFrame

#: The largest share of the adapter's gain that a smaller rank may lose.
TOLERATED = 0.01
#: A rank is supported if its excess is below that with this probability.
SURE = 0.95
#: With fewer rows even a sign test on all of them is less sure: 2^-4 is above 5 %.
FEWEST = 5
#: A truncation that loses a smaller share of ΔW is the adapter itself, but for rounding.
_ROUNDING = 1e-6

COLUMNS = (
    *("rank", "parameters", "lost", "loss", "excess", "low", "high", "share_of_gain"),
    "same_answers",
)


@dataclass(frozen=True)
class RankLoss:
    """An adapter truncated to one rank, beside the whole adapter on the same rows.

    `lost` is ‖ΔW − ΔW_r‖/‖ΔW‖, `loss` in nats per token (of a classifier: per row), `excess` is
    that minus the whole adapter's. `low` and `high` are the 5 % and the 95 % quantile of the paired
    bootstrap: the excess is below `high` with 95 % probability. `same` is the share of rows with
    the whole adapter's greedy answer; None if nothing was answered.
    """

    rank: int
    parameters: int
    lost: float
    loss: float
    excess: float
    low: float
    high: float
    same: float | None = None


@dataclass(frozen=True)
class RankEvidence:
    """An adapter truncated to each rank, and the smallest rank that keeps 99 % of its gain.

    `gain` is the base's loss minus the adapter's, and `gain_low` its 5 % quantile. `budget` is the
    truncation with `shared` ranks, which take no more parameters than `rank` in each module; None
    without a supported rank. `retrain` are the lines that check the rank by training at it. `rows`
    are those measured, `different` how many of them differ. `stopped` says that it was ended early.
    """

    adapter: str
    base_loss: float
    loss: float
    gain_low: float
    losses: tuple[RankLoss, ...]
    compression: Compression
    rows: int
    different: int
    seconds: float
    notes: tuple[str, ...] = ()
    budget: RankLoss | None = None
    shared: Mapping[str, int] | None = None
    retrain: tuple[str, ...] = ()
    stopped: bool = False

    @property
    def gain(self) -> float:
        """The base's loss minus the adapter's, in nats."""
        return self.base_loss - self.loss

    @property
    def tolerated(self) -> float:
        """The largest excess that a smaller rank may have, in nats: 1 % of the gain."""
        return TOLERATED * self.gain

    @property
    def full(self) -> int:
        """The largest rank of the adapter's modules."""
        return self.compression.ranks[-1]

    @property
    def smaller(self) -> tuple[RankLoss, ...]:
        """The ranks below the full one."""
        return tuple(one for one in self.losses if one.rank < self.full)

    @property
    def rank(self) -> int | None:
        """The smallest rank whose excess is at most 1 % of the gain with 95 % probability.

        None if no rank below the full one is supported.
        """
        if not self._gains:
            return None
        enough = [one.rank for one in self.smaller if self.is_enough(one)]
        return enough[0] if enough else None

    @property
    def too_few_rows(self) -> bool:
        """Could a rank below the full one be enough, if more rows showed it?"""
        if self.gain <= 0 or self.rank is not None:
            return False
        return not self._gains or any(one.excess <= self.tolerated for one in self.smaller)

    @property
    def rows_needed(self) -> int | None:
        """About how many rows would decide on the smallest rank that may be enough.

        The interval narrows with the root of the number of rows.
        """
        found = next((one for one in self.smaller if one.excess < self.tolerated), None)
        if not self.too_few_rows or not self._gains or found is None:
            return None
        factor = (found.high - found.excess) / (self.tolerated - found.excess)
        needed = max(self.rows * factor**2, self.rows + 1, FEWEST)
        unit = 10 ** max(0, math.floor(math.log10(needed)) - 1)
        return int(math.ceil(needed / unit) * unit)

    @property
    def _gains(self) -> bool:
        """Is the gain itself more than noise?"""
        return self.gain > 0 and self.gain_low > 0 and self.different >= FEWEST

    def is_enough(self, one: RankLoss) -> bool:
        """Is an excess at most 1 % of the gain with 95 % probability?"""
        return one.lost <= _ROUNDING or one.high <= self.tolerated

    def share(self, excess: float) -> str:
        """An excess as a share of the gain."""
        return percent(excess / self.gain) if self.gain > 0 else "–"

    @property
    def verdict(self) -> str:
        """The answer in one sentence."""
        name, rows = self.adapter, f"{self.rows:,} row{'s' * (self.rows != 1)}"
        losses = f"loss {figures(self.loss)}, the base's {figures(self.base_loss)}"
        if self.gain <= 0:
            return f"{name} gains nothing on these {rows} ({losses}), so no rank can be chosen"
        if self.rank is not None:
            most = next(one.high for one in self.losses if one.rank == self.rank)
            told = "its loss is not above the whole adapter's"
            if most > 0:
                told = f"it loses at most {self.share(most)} of the gain"
            return f"rank {self.rank} of {self.full} is enough for {name}: {told} (95 % confidence)"
        if self.different < FEWEST:
            return f"too few rows to choose a rank of {name}: give at least {FEWEST} that differ"
        if not self._gains:
            return f"too few rows: the gain of {name} on {rows} may be noise ({losses})"
        if self.too_few_rows:
            more = f"; about {self.rows_needed:,} would do" if self.rows_needed else ""
            return (
                f"too few rows: on {rows} no rank below {self.full} is sure to lose at most 1 % of "
                f"the gain of {name}{more}"
            )
        if not self.smaller:
            return f"{name} has rank {self.full}: there is no smaller one"
        best = min(self.smaller, key=lambda one: one.excess)
        return (
            f"{name} needs its rank {self.full}: the next best, rank {best.rank}, loses "
            f"{self.share(best.excess)} of the gain"
        )

    @property
    def command(self) -> str:
        """What to type next."""
        if self.rank is not None:
            return f"%lora compress {self.adapter} --rank {self.rank}"
        if self.gain <= 0:
            return f"%lora compress {self.adapter}"
        if self.too_few_rows:
            return f"%lora compress {self.adapter} --data MORE_ROWS"
        return f"%lora swap {self.adapter}"

    @property
    def budget_command(self) -> str:
        """What makes the adapter with a rank for each module; "" without a supported rank."""
        if self.budget is None:
            return ""
        return f"%lora compress {self.adapter} --budget {self.budget.rank}"

    @property
    def line(self) -> str:
        """The verdict, and what to type next."""
        return f"{self.verdict}; type: {self.command}"

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def to_frame(self) -> DataFrame:
        """One row per rank: the fields of `RankLoss`, and the excess as a share of the gain."""
        rows = [
            (
                *(one.rank, one.parameters, one.lost, one.loss, one.excess, one.low, one.high),
                one.excess / self.gain if self.gain > 0 else None,
                one.same,
            )
            for one in self.losses
        ]
        return frame(rows, COLUMNS)

    def by_module(self) -> DataFrame:
        """One row per module: module, rank, and the rank from the shared budget."""
        shared = self.shared or {}
        rows = [(m.module, m.rank_before, shared.get(m.module)) for m in self.compression.modules]
        return frame(rows, ["module", "rank", "shared"])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        from lora_magic.views import ranks

        return ranks.bundle(self)


@dataclass(frozen=True, eq=False)
class Measured:
    """Losses of base, whole adapter and truncations, in this order, on the same rows.

    `nats` and `tokens` [rows, 2 + truncations] are Σ −ln p and the tokens that it covers; `answers`
    [rows][1 + truncations] begin with the whole adapter's. `different` rows say different things.
    """

    nats: Array
    tokens: Array
    answers: Sequence[Sequence[object]]
    different: int

    def gain_low(self) -> float:
        """The 5 % quantile of the base's loss minus the adapter's."""
        drawn = self._drawn
        return float(np.quantile(drawn[:, 0] - drawn[:, 1], 1 - SURE))

    def loss(self, column: int) -> float:
        """Σ nats / Σ tokens."""
        return float(self.nats[:, column].sum() / self.tokens[:, column].sum())

    def rank(self, place: int, rank: int, parameters: int, lost: float) -> RankLoss:
        """What one of the truncations is worth."""
        column = 2 + place
        loss = self.loss(column)
        drawn = self._drawn[:, column] - self._drawn[:, 1]
        low, high = (float(value) for value in np.quantile(drawn, [1 - SURE, SURE]))
        same = [row[1 + place] == row[0] for row in self.answers]
        share = sum(same) / len(same) if same else None
        return RankLoss(rank, parameters, lost, loss, loss - self.loss(1), low, high, share)

    @cached_property
    def _drawn(self) -> Array:
        found = estimates(self.nats[:, None, :], self.tokens[:, None, :])[0]
        return found.resampled
