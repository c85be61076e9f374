"""A new adapter whose ΔW combines those of others, each with its weight.

Knows attached adapters; knows no session and not which adapter is active.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lora_magic.adapters import attach
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.methods import BLENDS
from lora_magic.adapters.slots import Slots
from lora_magic.base.model import BaseModel
from lora_magic.checks import is_whole
from lora_magic.errors import AdapterError, near
from lora_magic.lowrank import combine as lowrank
from lora_magic.lowrank.dense import Update
from lora_magic.lowrank.factors import LowRank

from .changes import changes_of, finite, summed, with_origin
from .compress import Compression, fitted, is_share, loss_of, rank_fault

#: The default share of entries kept. That of TIES is its paper's (section 4); the others keep more,
#: since entries dropped at random need a higher rank.
DENSITIES = {"ties": 0.2, "dare": 0.5, "magnitude": 0.5}


@dataclass(frozen=True)
class Way:
    """How adapters are blended.

    `sum` is ΔW = Σ wᵢ·ΔWᵢ. `ties` (arXiv 2306.01708), `dare` (arXiv 2311.03099) and `magnitude` are
    described in `lora_magic.lowrank.combine`; they keep a share `density` of the entries.
    `dare` draws its masks from `seed`, different ones for each module. `rank` replaces the result
    by its best approximation of that rank. Raises one `AdapterError` with every fault.
    """

    method: str = "sum"
    rank: int | None = None
    density: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        faults = [fault for fault in self._faults() if fault]
        if faults:
            raise AdapterError("; ".join(faults) + ".")

    def _faults(self) -> Iterator[str]:
        if self.method not in BLENDS:
            hint = near(str(self.method), BLENDS).strip()
            hint = f" ({hint})" if hint else ""
            yield f"--method {self.method}: expected one of {', '.join(BLENDS)}{hint}"
        yield rank_fault(self.rank)
        if self.density is not None and self.method == "sum":
            yield "--density: a sum keeps every entry; use it with --method ties, dare or magnitude"
        elif self.density is not None and not is_share(self.density):
            yield (
                f"density {self.density!r}: expected a share above 0, at most 1, for example "
                "--density 0.5"
            )
        if not is_whole(self.seed) or not 0 <= self.seed < 2**63:
            yield f"seed {self.seed!r}: expected a whole number from 0"

    @property
    def kept(self) -> float:
        """The share of entries kept."""
        return DENSITIES.get(self.method, 1.0) if self.density is None else self.density

    def of(self, path: str, parts: Sequence[tuple[float, Update]]) -> Update:
        """One ΔW from those of a module."""
        if self.method == "ties":
            return lowrank.ties(parts, self.kept)
        if self.method == "dare":
            # Modules of one shape would get the same masks from the same seed.
            own = zlib.crc32(f"{self.seed} {path}".encode())
            return lowrank.dare(parts, self.kept, own)
        if self.method == "magnitude":
            return lowrank.magnitude(parts, self.kept)
        return lowrank.weighted_sum(parts)


def blend(
    base: BaseModel,
    slots: Slots,
    new: str,
    parts: Sequence[tuple[float, LiveAdapter]],
    way: Way,
) -> LiveAdapter:
    """A new adapter whose ΔW combines those of others, module by module, each with its weight.

    A sum without a rank is exact: the factors are concatenated, and refactored if that is wider
    than the module. Trained parameters become θ0 + Σ wᵢ·(θᵢ − θ0), whatever the method. A part of
    weight 0 is ignored.

    Raises `AdapterError` for a method without a ΔW, for a ΔW that is not low rank without `rank`,
    and for NaN or infinity.
    """
    live = [(weight, attached) for weight, attached in parts if weight]
    if not live:
        raise AdapterError(
            f"blend {new}: every weight is 0; type: %lora blend {new} {parts[0][1].name}=1"
        )
    changes = [changes_of(base, slots, attached, "blended") for _, attached in live]
    paths = dict.fromkeys(path for change in changes for path in change.matrices)
    updates, losses = {}, []
    for path in paths:
        here = [
            (weight, finite(attached, path))
            for (weight, attached), change in zip(live, changes, strict=True)
            if path in change.matrices
        ]
        width = _width(new, path, here, way)
        total = way.of(path, here)
        updates[path], lost = fitted(path, total, width)
        losses.append(lost)
    weighed = [(weight, c) for (weight, _), c in zip(live, changes, strict=True)]
    made = attach.from_updates(
        base,
        slots,
        new,
        updates,
        summed(slots, weighed),
        seed=way.seed,
        parents=[attached for _, attached in parts],
    )
    report = Compression(new, new, (*losses, *(row for c in changes for row in c.dropped)))
    return with_origin(made, parts, _origin(parts, way, report), loss_of(report))


def _width(new: str, path: str, parts: Sequence[tuple[float, Update]], way: Way) -> int:
    """The largest rank of a module's new ΔW: `rank`, or that of all parts together."""
    if way.rank is not None:
        return way.rank
    if not all(isinstance(update, LowRank) for _, update in parts):
        raise AdapterError(
            f"blend {new}: a ΔW at {path} is not low rank (as with DoRA, (IA)³, full fine-tuning); "
            "add the rank to keep, for example --rank 8"
        )
    return min(sum(update.rank for _, update in parts), *parts[0][1].shape)


def _origin(parts: Sequence[tuple[float, LiveAdapter]], way: Way, lost: Compression) -> str:
    """`0.7·a + 0.3·b`, with the method if it is not a plain sum."""
    words = " + ".join(f"{weight:g}·{a.name}" for weight, a in parts).replace("+ -", "− ")
    if way.method != "sum":
        words = f"{way.method}({words}, density {way.kept:g})"
    if way.rank is not None or way.method != "sum":
        words += f" at rank {lost.after}"
    forms = [(a.name, a.form) for _, a in parts if a.form is not None]
    if any(form != forms[0][1] for _, form in forms):
        words += f" in the prompt form of {forms[0][0]}"
    return words
