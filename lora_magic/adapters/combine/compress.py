"""A new adapter of a smaller rank, the nearest there is, and what each rank would lose.

Knows attached adapters; knows no session.
"""

from __future__ import annotations

from dataclasses import replace

from lora_magic.adapters import attach
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.slots import Slots
from lora_magic.adapters.spec import seed_of
from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError
from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.spectrum import energy_rank

from .changes import changes_of, finite, signed, summed
from .truncation import Compression, fitted, is_share, loss_in_words, nothing, rank_fault, row_of


def compress(
    base: BaseModel,
    slots: Slots,
    attached: LiveAdapter,
    new: str,
    *,
    rank: int | None = None,
    energy: float | None = None,
) -> tuple[LiveAdapter, Compression]:
    """A plain LoRA with the best approximation of each ΔW, and what that loses.

    By `rank`, the same for all modules; or by `energy`, the smallest rank of each module that holds
    this share of its Σσ². A module where ΔW = 0 keeps rank 1 with B = 0. No matrix of the rank is
    nearer in the Frobenius norm (Eckart and Young 1936). Biases, norms and a head go over as they
    are. Raises `AdapterError` for a method without a ΔW.
    """
    change = changes_of(base, slots, attached, "compressed")
    updates: dict[str, LowRank] = {}
    rows = []
    for path in change.matrices:
        update = finite(attached, path)
        row = row_of(path, update)
        wanted = rank if rank is not None else energy_rank(row.sigma, energy or 1.0)
        # Also where it is narrow enough: ΔW = 0 needs no more than rank 1.
        updates[path] = fitted(update, max(1, wanted)) if row.norm else nothing(update)
        after = updates[path].rank
        rows.append(replace(row, rank_after=after, error=row.lost_at(after)))
    beside = summed(slots, [(1.0, change)])
    made = attach.from_updates(
        base, slots, new, updates, beside, seed=seed_of(new), parents=(attached.name,)
    )
    told = Compression(attached.name, new, (*rows, *change.left), made.record().trainable)
    words = f"{attached.name} at rank {told.after}"
    return signed(made, [(1.0, attached)], words, loss_in_words(told)), told


def evidence(base: BaseModel, slots: Slots, attached: LiveAdapter) -> Compression:
    """What an adapter would lose at each rank; nothing is made.

    Raises `AdapterError` for a method without a ΔW.
    """
    change = changes_of(base, slots, attached, "compressed")
    rows = [row_of(path, finite(attached, path)) for path in change.matrices]
    return Compression(attached.name, None, (*rows, *change.left))


def check_size(rank: int | None, energy: float | None) -> None:
    """Raise `AdapterError` for a rank or a share of energy that cannot be, and for both at once."""
    if rank is not None and energy is not None:
        raise AdapterError("--rank and --energy at once; keep one of the two.")
    fault = rank_fault(rank)
    if energy is not None and not is_share(energy):
        fault = f"energy {energy!r}: expected a share above 0, at most 1, say --energy 0.95"
    if fault:
        raise AdapterError(f"{fault}.")


def default_name(name: str, rank: int | None, energy: float | None) -> str:
    """`pirate_r4`, or `pirate_e95` for an energy of 0.95."""
    if rank is not None:
        return f"{name}_r{rank}"
    return f"{name}_e{100 * (energy or 1.0):.10g}".replace(".", "_")
