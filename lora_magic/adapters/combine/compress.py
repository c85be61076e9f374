"""A new adapter of a smaller rank, what it loses of each ΔW, and the evidence for choosing a rank.

Knows attached adapters, updates and numbers; knows no session.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lora_magic.adapters import attach
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.slots import Slots
from lora_magic.adapters.spec import seed_of
from lora_magic.base.model import BaseModel
from lora_magic.checks import is_number, is_whole
from lora_magic.errors import AdapterError, listed
from lora_magic.frames import frame
from lora_magic.lowrank.approximation import truncated_and_sigma
from lora_magic.lowrank.dense import Update
from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.spectrum import energy_rank
from lora_magic.numbers import percent

from .changes import ModuleLoss, changes_of, finite, summed, with_origin

if TYPE_CHECKING:
    from pandas import DataFrame

#: A share of ΔW below this is the rounding of float32.
_ROUNDING = 1e-6

#: The share of the energy Σσ² that a proposed rank keeps.
_ENOUGH = 0.95


def compress(
    base: BaseModel,
    slots: Slots,
    attached: LiveAdapter,
    new: str,
    *,
    rank: int | None = None,
    energy: float | None = None,
    budget: int | None = None,
) -> tuple[LiveAdapter, Compression]:
    """A plain LoRA with the best approximation of each ΔW, and what that loses.

    With `rank`, the same rank for all modules; with `energy`, for each module the smallest rank
    that keeps this share of its Σσ²; with `budget`, the ranks of `shared_out`, and no factors where
    that is 0. Otherwise a module with ΔW = 0 gets rank 1 with B = 0. No matrix of that rank is
    nearer in the Frobenius norm (Eckart and Young 1936). Biases, norms and a head are copied
    unchanged. Raises `AdapterError` for a method without a ΔW.
    """
    change = changes_of(base, slots, attached, "compressed")
    shared = {} if budget is None else shared_out(evidence(base, slots, attached).modules, budget)
    updates: dict[str, LowRank] = {}
    rows = []
    for path in change.matrices:
        update = finite(attached, path)
        svd = update.svd()
        if shared.get(path) == 0:
            rows.append(without(row_of(path, update, svd[1])))
            continue
        chosen = shared.get(path, rank)
        chosen = energy_rank(svd[1].tolist(), energy or 1.0) if chosen is None else chosen
        updates[path], row = fitted(path, update, max(1, chosen), svd)
        rows.append(row)
    trained = summed(slots, [(1.0, change)])
    made = attach.from_updates(
        base,
        slots,
        new,
        updates,
        trained,
        seed=seed_of(new),
        parents=[attached],
    )
    report = Compression(attached.name, new, (*rows, *change.dropped), made.record().trainable)
    origin = f"{attached.name} at rank {report.after}"
    return with_origin(made, [(1.0, attached)], origin, loss_of(report)), report


def evidence(base: BaseModel, slots: Slots, attached: LiveAdapter) -> Compression:
    """What an adapter would lose at each rank, without making one.

    Raises `AdapterError` for a method without a ΔW.
    """
    change = changes_of(base, slots, attached, "compressed")
    rows = []
    for path in change.matrices:
        update = finite(attached, path)
        rows.append(row_of(path, update, update.singular_values()))
    return Compression(attached.name, None, (*rows, *change.dropped))


def check_size(rank: int | None, energy: float | None, budget: int | None = None) -> None:
    """Raise `AdapterError` for an invalid rank, share of energy or budget, and for two of them."""
    sizes = {"--rank": rank, "--energy": energy, "--budget": budget}
    given = [flag for flag, value in sizes.items() if value is not None]
    if len(given) > 1:
        raise AdapterError(f"{' and '.join(given)} exclude each other; use one of them.")
    fault = rank_fault(rank) or rank_fault(budget, "budget")
    if energy is not None and not is_share(energy):
        fault = f"energy {energy!r}: expected a share above 0, at most 1, for example --energy 0.95"
    if fault:
        raise AdapterError(f"{fault}.")


def default_name(
    name: str, rank: int | None, energy: float | None, budget: int | None = None
) -> str:
    """`pirate_r4`, `pirate_b4` for a budget of 4, or `pirate_e95` for an energy of 0.95."""
    if rank is not None or budget is not None:
        return f"{name}_r{rank}" if budget is None else f"{name}_b{budget}"
    return f"{name}_e{100 * (energy or 1.0):.10g}".replace(".", "_")


@dataclass(frozen=True)
class Compression:
    """An adapter at a smaller rank, or the evidence for choosing one.

    `new` is the name of the new adapter, None if none was made: then both ranks of a module are the
    same. Biases, norms and a head are copied unchanged and count as no loss.
    """

    adapter: str
    new: str | None
    modules: tuple[ModuleLoss, ...]
    parameters: int = 0

    @property
    def error(self) -> float:
        """What is lost overall, √(Σ‖ΔW − ΔW'‖² / Σ‖ΔW‖²), with what a LoRA cannot represent."""
        return _overall(self.modules, [row.error for row in self.modules])

    @property
    def worst(self) -> ModuleLoss:
        """The module that loses the largest share of its ΔW."""
        return max(self.modules, key=lambda row: row.error)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Parameters that the adapter changes and a LoRA cannot represent."""
        return tuple(row.module for row in self.modules if not row.has_factors)

    @property
    def ranks(self) -> tuple[int, ...]:
        """The ranks in the evidence: all up to 16, else powers of two and the largest."""
        most = max(row.rank_before for row in self.modules)
        if most <= 16:
            return tuple(range(1, most + 1))
        return (*(2**power for power in range((most - 1).bit_length())), most)

    @property
    def enough(self) -> int:
        """The smallest of these ranks that keeps 95 % of the energy that a LoRA can represent."""
        matrices = [row for row in self.modules if row.has_factors]
        for rank in self.ranks:
            if _overall(matrices, [row.lost_at(rank) for row in matrices]) ** 2 <= 1 - _ENOUGH:
                return rank
        return self.ranks[-1]

    @property
    def before(self) -> str:
        """The ranks of its modules: `8`, or `3 to 7`."""
        return _span([row.rank_before for row in self.modules if row.has_factors])

    @property
    def after(self) -> str:
        """The ranks of the new adapter's modules."""
        return _span([row.rank_after for row in self.modules if row.has_factors])

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
        count = sum(row.has_factors for row in self.modules)
        return (
            f"{self.new}: {self.adapter} at rank {self.after} (instead of {self.before}) on "
            f"{count} module{'s' * (count != 1)}, {self.parameters:,} parameters; {loss_of(self)}; "
            f"to use it: {self.command}"
        )

    @property
    def _evidence(self) -> str:
        if not any(row.norm for row in self.modules):
            return "not trained yet, ΔW = 0"
        if self.enough == self.ranks[-1]:
            return f"rank {self.before}; no smaller common rank keeps 95 % of the energy of ΔW"
        lost = _overall(self.modules, [row.lost_at(self.enough) for row in self.modules])
        return f"rank {self.enough} instead of {self.before} loses {percent(lost)} of ΔW"

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def to_frame(self) -> DataFrame:
        """One row per module: module, rank_before, rank_after, norm (‖ΔW‖_F), error (a share)."""
        rows = [astuple(row)[:5] for row in self.modules]
        return frame(rows, ["module", "rank_before", "rank_after", "norm", "error"])

    def by_rank(self) -> DataFrame:
        """One row per rank: rank, error (overall), worst_error, worst_module."""
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

    def error_at(self, ranks: Mapping[str, int]) -> float:
        """What is lost overall with a rank for each matrix."""
        lost = [
            row.lost_at(ranks[row.module]) if row.has_factors else row.error for row in self.modules
        ]
        return _overall(self.modules, lost)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        from lora_magic.views import compression

        return compression.bundle(self)


def loss_of(report: Compression) -> str:
    """`12.30% of ΔW lost (most in q_proj: 30.10%)`, and what a LoRA cannot represent."""
    if not report.modules or report.error <= _ROUNDING:
        return "no ΔW lost"
    worst = report.worst
    most = f" (most in {worst.module}: {percent(worst.error)})" if len(report.modules) > 1 else ""
    rest = f", {listed(report.dropped, 3)} dropped" if report.dropped else ""
    return f"{percent(report.error)} of ΔW lost{most}{rest}"


def fitted(
    path: str, update: Update, rank: int, svd: tuple[Tensor, Tensor, Tensor] | None = None
) -> tuple[LowRank, ModuleLoss]:
    """The update itself if its rank is small enough, else its best approximation of that rank.

    With the module's row; ΔW is decomposed once, and only if it is truncated. `svd` is its `svd()`,
    if it is known: then ΔW = 0 becomes rank 1.
    """
    fits = isinstance(update, LowRank) and update.rank <= rank
    if svd is None and isinstance(update, LowRank) and fits:
        return update, ModuleLoss(path, update.rank, update.rank, update.norm(), 0.0)
    kept, sigma = truncated_and_sigma(update, rank, svd)
    before = row_of(path, update, sigma)
    if not before.norm:
        kept = zero_update(update)
    elif isinstance(update, LowRank) and fits:
        kept = update
    return kept, replace(before, rank_after=kept.rank, error=before.lost_at(kept.rank))


def shared_out(rows: Sequence[ModuleLoss], rank: int) -> dict[str, int]:
    """A rank for each matrix, from one budget: the parameters that `rank` in each of them takes.

    The directions with the largest σ² per parameter (d + k for each) are kept, as long as the
    budget lasts; among matrices of one shape these are the largest σ. Σσ² kept is never less than
    with `rank` in each matrix. A rank may be 0.
    """
    matrices = [row for row in rows if row.has_factors]
    even = {row.module: min(rank, row.rank_before) for row in matrices}
    left = sum(even[row.module] * row.per_rank for row in matrices)
    worth = [
        (sigma**2 / row.per_rank, place, row)
        for row in matrices
        for place, sigma in enumerate(row.sigma, start=1)
        if sigma > _ROUNDING * row.norm
    ]
    ranks = dict.fromkeys(even, 0)
    for _, place, row in sorted(worth, key=lambda one: -one[0]):
        # A direction is kept only after those before it in its matrix.
        if row.per_rank <= left and ranks[row.module] == place - 1:
            ranks[row.module], left = place, left - row.per_rank

    report = Compression("", None, tuple(matrices))
    return ranks if report.error_at(ranks) < report.error_at(even) else even


def without(row: ModuleLoss) -> ModuleLoss:
    """The row of a module that gets no factors."""
    return replace(row, rank_after=0, error=row.lost_at(0))


def zero_update(update: Update) -> LowRank:
    """ΔW = 0 of rank 1 with B = 0; A is not 0, since two zero factors would never learn."""
    outputs, inputs = update.shape
    if isinstance(update, LowRank) and bool(update.down[0].any()):
        down = update.down.detach()[:1]
    else:
        device = update.up.device if isinstance(update, LowRank) else update.delta.device
        down = torch.full((1, inputs), inputs**-0.5, device=device)
    return LowRank(down=down, up=down.new_zeros(outputs, 1), scale=1.0)


def row_of(path: str, update: Update, singular_values: Tensor) -> ModuleLoss:
    """A module's row before truncation."""
    sigma = tuple(singular_values.tolist())
    rank = min(update.rank, *update.shape)
    return ModuleLoss(path, rank, rank, math.hypot(*sigma), 0.0, sigma, sum(update.shape))


def _overall(rows: Sequence[ModuleLoss], errors: Sequence[float]) -> float:
    norm = math.hypot(*(row.norm for row in rows))
    lost = math.hypot(*(row.norm * error for row, error in zip(rows, errors, strict=True)))
    return lost / norm if norm else 0.0


def rank_fault(rank: object, flag: str = "rank") -> str:
    """What is wrong with a rank; empty if nothing is."""
    if rank is None or (is_whole(rank) and rank >= 1):  # type: ignore[operator]  # a number
        return ""
    return f"{flag} {rank!r}: expected a whole number from 1, for example --{flag} 8"


def is_share(value: object) -> bool:
    """Is this a share above 0, at most 1?"""
    return is_number(value) and 0 < value <= 1  # type: ignore[operator]  # a number


def _span(ranks: Sequence[int]) -> str:
    low, high = min(ranks), max(ranks)
    return str(low) if low == high else f"{low} to {high}"
