"""New adapters out of old ones: a weighted blend of several, or one at a smaller rank.

Both are plain LoRA, made from what the old adapters change: a ΔW by module, and beside it the
biases, norms and a classifier's head that they train themselves. Nothing of the old ones is shared.
Knows attached adapters and their updates; knows no session and not which adapter answers.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lora_magic.base.model import BaseModel
from lora_magic.checks import is_number, is_whole
from lora_magic.errors import AdapterError, listed, near
from lora_magic.frames import frame
from lora_magic.lowrank import combine as lowrank
from lora_magic.lowrank.dense import Update
from lora_magic.lowrank.factors import LowRank, precise
from lora_magic.lowrank.spectrum import energy_rank
from lora_magic.lowrank.truncate import lost_after, truncated

from . import attach, tuned
from .attached import Attached
from .effect import folded, update_of
from .slots import Slots
from .spec import seed_of
from .targets import carries_lora
from .tuned import Tuned

if TYPE_CHECKING:
    from pandas import DataFrame

#: How ΔW of several becomes one.
METHODS = ("sum", "ties", "dare", "magnitude")

#: The share of entries that is kept, unless given. That of TIES is its paper's (section 4); the
#: others keep more, since what is dropped at random has to be made up for by a rank again.
DENSITIES = {"ties": 0.2, "dare": 0.5, "magnitude": 0.5}

#: A share of ΔW below this is the rounding of float32.
_ROUNDING = 1e-6

#: The share of the energy Σσ² that a proposed rank keeps.
_ENOUGH = 0.95


@dataclass(frozen=True)
class Way:
    """How adapters are blended.

    `sum` is ΔW = Σ wᵢ·ΔWᵢ. `ties` (arXiv 2306.01708), `dare` (arXiv 2311.03099) and `magnitude` are
    said at `lora_magic.lowrank.combine`; they keep a share `density` of the entries, and `dare`
    draws its masks from `seed`, other ones for each module. `rank` cuts the result to the best
    approximation of that rank. Raises `AdapterError`, with every fault at once.
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
        if self.method not in METHODS:
            hint = near(str(self.method), METHODS).strip()
            told = f" ({hint})" if hint else ""
            yield f"--method {self.method}: expected one of {', '.join(METHODS)}{told}"
        yield _rank_fault(self.rank)
        if self.density is not None and self.method == "sum":
            yield "--density: a sum keeps every entry; it belongs to --method ties, dare, magnitude"
        elif self.density is not None and not _is_share(self.density):
            yield f"density {self.density!r}: expected a share above 0, at most 1: --density 0.5"
        if not is_whole(self.seed) or not 0 <= self.seed < 2**63:
            yield f"seed {self.seed!r}: expected a whole number from 0"

    @property
    def kept(self) -> float:
        """The share of entries kept."""
        return DENSITIES.get(self.method, 1.0) if self.density is None else self.density

    def of(self, path: str, parts: Sequence[tuple[float, Update]]) -> Update:
        """One ΔW out of those of a module."""
        if self.method == "ties":
            return lowrank.ties(parts, self.kept)
        if self.method == "dare":
            # Modules of one shape would get the same masks from the same seed.
            own = zlib.crc32(f"{self.seed} {path}".encode())
            return lowrank.dare(parts, self.kept, own)
        if self.method == "magnitude":
            return lowrank.magnitude(parts, self.kept)
        return lowrank.weighted_sum(parts)


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
        return lost_after(self.sigma, rank) if self.sigma else self.error


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
        return f"rank {self.enough}, of {self.before}, loses {_percent(lost)} of ΔW"

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def to_frame(self) -> DataFrame:
        """One row a module: module, rank_before, rank_after, norm (‖ΔW‖_F), error (a share)."""
        rows = [astuple(row)[:5] for row in self.modules]
        return frame(rows, ["module", "rank_before", "rank_after", "norm", "error"])

    def by_rank(self) -> DataFrame:
        """One row a rank: rank, error (overall), worst_error, worst_module."""
        return frame(self._by_rank(), ["rank", "error", "worst_error", "worst_module"])

    def _by_rank(self) -> list[tuple[int, float, float, str]]:
        found = []
        for rank in self.ranks:
            lost = [row.lost_at(rank) for row in self.modules]
            worst = max(range(len(lost)), key=lost.__getitem__)
            overall = _overall(self.modules, lost)
            found.append((rank, overall, lost[worst], self.modules[worst].module))
        return found

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        from lora_magic.views import compression

        bundle: dict[str, Any] = compression.bundle(
            line=self.line,
            command=self.command,
            ranks=[] if self.new is not None else self._by_rank(),
            modules=[astuple(row)[:5] for row in self.modules],
        )
        return bundle


# Blending


def blend(
    base: BaseModel,
    slots: Slots,
    new: str,
    parts: Sequence[tuple[float, Attached]],
    way: Way,
) -> Attached:
    """A new adapter whose ΔW is made of those of others, module by module, each with its weight.

    A sum without a rank is exact: the factors stand side by side, and where that is wider than the
    module, the same ΔW is written with as much as the module can have. Parameters trained
    themselves become θ0 + Σ wᵢ·(θᵢ − θ0), whatever the method. A part of weight 0 is left out.

    Raises `AdapterError` for a method without a ΔW, for a ΔW that is not low rank without `rank`,
    and for what is no number.
    """
    live = [(weight, attached) for weight, attached in parts if weight]
    if not live:
        raise AdapterError(
            f"blend {new}: every weight is 0, so nothing is left; type: %lora blend {new} "
            f"{parts[0][1].name}=1"
        )
    changes = [_changes(base, slots, attached, "blended") for _, attached in live]
    paths = dict.fromkeys(path for change in changes for path in change.matrices)
    updates, losses = {}, []
    for path in paths:
        here = [
            (weight, _finite(attached, path))
            for (weight, attached), change in zip(live, changes, strict=True)
            if path in change.matrices
        ]
        width = _width(new, path, here, way)
        total = way.of(path, here)
        updates[path] = _fitted(total, width)
        losses.append(_cut(path, total, updates[path]))
    weighed = [(weight, c) for (weight, _), c in zip(live, changes, strict=True)]
    made = attach.from_updates(
        base,
        slots,
        new,
        updates,
        _summed(slots, weighed),
        seed=way.seed,
        parents=tuple(attached.name for _, attached in parts),
    )
    lost = Compression(new, new, (*losses, *(row for c in changes for row in c.left)))
    return _signed(made, parts, _in_words(parts, way, lost), loss_in_words(lost))


def _width(new: str, path: str, parts: Sequence[tuple[float, Update]], way: Way) -> int:
    """The rank that a module's new ΔW may have: asked for, or that of all parts together."""
    if way.rank is not None:
        return way.rank
    if not all(isinstance(update, LowRank) for _, update in parts):
        raise AdapterError(
            f"blend {new}: a ΔW at {path} is not low rank (DoRA, (IA)³ and full fine-tuning have "
            "none that is), so say which rank to keep: --rank 8"
        )
    return min(sum(update.rank for _, update in parts), *parts[0][1].shape)


def _summed(
    slots: Slots, weighed: Sequence[tuple[float, _Changes]]
) -> dict[str, dict[str, Tensor]]:
    """θ0 + Σ w·(θ − θ0) of each parameter trained itself, by module path and name."""
    found: dict[str, dict[str, Tensor]] = {}
    for weight, change in weighed:
        for path, deltas in change.beside.items():
            held = found.setdefault(path, {})
            for name, delta in deltas.items():
                begin = held.get(name)
                if begin is None:
                    begin = precise(slots.original(path)._parameters[name])  # type: ignore[arg-type]  # it has it
                held[name] = begin + weight * delta
    return found


def _in_words(parts: Sequence[tuple[float, Attached]], way: Way, lost: Compression) -> str:
    """`0.7·a + 0.3·b`, and how where it is no plain sum."""
    words = " + ".join(f"{weight:g}·{a.name}" for weight, a in parts).replace("+ -", "− ")
    if way.method != "sum":
        words = f"{way.method}({words}, density {way.kept:g})"
    if way.rank is not None or way.method != "sum":
        words += f" at rank {lost.after}"
    forms = [(a.name, a.form) for _, a in parts if a.form is not None]
    if any(form != forms[0][1] for _, form in forms):
        words += f" in the prompt form of {forms[0][0]}"
    return words


# Compressing


def compress(
    base: BaseModel,
    slots: Slots,
    attached: Attached,
    new: str,
    *,
    rank: int | None = None,
    energy: float | None = None,
) -> tuple[Attached, Compression]:
    """A plain LoRA with the best approximation of each ΔW, and what that loses.

    By `rank`, the same for all modules; or by `energy`, the smallest rank of each module that holds
    this share of its Σσ². A module where ΔW = 0 keeps rank 1 with B = 0. No matrix of the rank is
    nearer in the Frobenius norm (Eckart and Young 1936). Biases, norms and a head go over as they
    are. Raises `AdapterError` for a method without a ΔW.
    """
    change = _changes(base, slots, attached, "compressed")
    updates: dict[str, LowRank] = {}
    rows = []
    for path in change.matrices:
        update = _finite(attached, path)
        row = _row(path, update)
        wanted = rank if rank is not None else energy_rank(row.sigma, energy or 1.0)
        # Also where it is narrow enough: ΔW = 0 needs no more than rank 1.
        updates[path] = _fitted(update, max(1, wanted)) if row.norm else _nothing(update)
        after = updates[path].rank
        rows.append(replace(row, rank_after=after, error=row.lost_at(after)))
    beside = _summed(slots, [(1.0, change)])
    made = attach.from_updates(
        base, slots, new, updates, beside, seed=seed_of(new), parents=(attached.name,)
    )
    told = Compression(attached.name, new, (*rows, *change.left), made.record().trainable)
    words = f"{attached.name} at rank {told.after}"
    return _signed(made, [(1.0, attached)], words, loss_in_words(told)), told


def evidence(base: BaseModel, slots: Slots, attached: Attached) -> Compression:
    """What an adapter would lose at each rank; nothing is made.

    Raises `AdapterError` for a method without a ΔW.
    """
    change = _changes(base, slots, attached, "compressed")
    rows = [_row(path, _finite(attached, path)) for path in change.matrices]
    return Compression(attached.name, None, (*rows, *change.left))


def check_size(rank: int | None, energy: float | None) -> None:
    """Raise `AdapterError` for a rank or a share of energy that cannot be, and for both at once."""
    if rank is not None and energy is not None:
        raise AdapterError("--rank and --energy at once; keep one of the two.")
    fault = _rank_fault(rank)
    if energy is not None and not _is_share(energy):
        fault = f"energy {energy!r}: expected a share above 0, at most 1, say --energy 0.95"
    if fault:
        raise AdapterError(f"{fault}.")


def default_name(name: str, rank: int | None, energy: float | None) -> str:
    """`pirate_r4`, or `pirate_e95` for an energy of 0.95."""
    if rank is not None:
        return f"{name}_r{rank}"
    return f"{name}_e{100 * (energy or 1.0):.10g}".replace(".", "_")


def loss_in_words(told: Compression) -> str:
    """`12.30% of ΔW lost (most in q_proj: 30.10%)`, and what was not carried."""
    if not told.modules or told.error <= _ROUNDING:
        return "nothing of ΔW lost"
    worst = told.worst
    most = f" (most in {worst.module}: {_percent(worst.error)})" if len(told.modules) > 1 else ""
    left = f", {listed(told.left, 3)} not carried" if told.left else ""
    return f"{_percent(told.error)} of ΔW lost{most}{left}"


# What an adapter changes


@dataclass(frozen=True, eq=False)
class _Changes:
    """What an adapter changes: matrices by path, other parameters as θ − θ0, and what is left."""

    matrices: tuple[str, ...]
    beside: dict[str, dict[str, Tensor]]
    left: tuple[ModuleLoss, ...]


def _changes(base: BaseModel, slots: Slots, attached: Attached, doing: str) -> _Changes:
    """Raises `AdapterError` for a method without a ΔW, saying why."""
    method = attached.method
    if method.no_spectrum:
        raise AdapterError(
            f"{attached.name} ({method.title}) cannot be {doing}: {method.no_spectrum}. It stays "
            f"as it is: %lora swap {attached.name}"
        )
    able = _able(base, slots)
    matrices, left = [], []
    beside: dict[str, dict[str, Tensor]] = {}
    for path, layer in attached.replacements.items():
        original = attached.originals[path]
        adapted = path not in base.task.head and _has_matrix(original, layer)
        if adapted:
            matrices.append(path)
        for name, value in _beside(original, layer):
            if name == "weight" and adapted:
                continue
            delta = precise(value) - precise(original._parameters[name])  # type: ignore[arg-type]  # it has it
            if not bool(delta.isfinite().all()):
                _refuse_diverged(attached, f"{path}.{name}")
            if name in able.get(path, ()):
                beside.setdefault(path, {})[name] = delta
            elif bool(delta.any()):
                left.append(ModuleLoss(f"{path}.{name}", 0, 0, float(delta.norm()), 1.0))
    return _Changes(tuple(matrices), beside, tuple(left))


def _able(base: BaseModel, slots: Slots) -> dict[str, set[str]]:
    """The parameters that a LoRA can train themselves: biases, norms, a classifier's head."""
    found: dict[str, set[str]] = {}
    with slots.held({}):
        biases = tuned.every_bias(base.model, base.task.head)
        for names in (biases, tuned.every_norm(base.model), _head(base)):
            for path, own in names.items():
                found.setdefault(path, set()).update(own)
    return found


def _head(base: BaseModel) -> dict[str, list[str]]:
    return {path: list(base.model.get_submodule(path)._parameters) for path in base.task.head}


def _has_matrix(original: nn.Module, layer: nn.Module) -> bool:
    """Does the layer change a matrix that PEFT's LoRA computes with as the module does?

    An embedding with a forward of its own (positions counted from 2, say) looks up other rows than
    those it is asked for; one that only scales them is known to PEFT.
    """
    if isinstance(layer, Tuned) and "weight" not in layer.values:
        return False
    if not isinstance(layer, Tuned):
        return True
    if isinstance(original, nn.Embedding) and not hasattr(original, "embed_scale"):
        return type(original).forward is nn.Embedding.forward
    return carries_lora(original)


def _beside(original: nn.Module, layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters of the base that a layer replaces, by name: θ."""
    inner = layer if isinstance(layer, Tuned) else getattr(layer, "base_layer", None)
    if isinstance(inner, Tuned):
        yield from inner.values.items()
    elif hasattr(layer, "ia3_l"):
        # Outputs are scaled with their bias.
        yield from ((n, v) for n, v in folded(original, layer).items() if n != "weight")


def _finite(attached: Attached, path: str) -> Update:
    """ΔW of one module, computed where it is needed: a dense one is as large as its weight."""
    update = update_of(attached.originals[path], attached.replacements[path])
    assert update is not None  # it is among the matrices
    if not update.finite:
        _refuse_diverged(attached, path)
    return update


def _refuse_diverged(attached: Attached, where: str) -> None:
    raise AdapterError(
        f"{attached.name} holds NaN or infinity in {where}; train it again with a smaller --lr, or "
        f"type: %lora detach {attached.name}"
    )


def _signed(
    made: Attached, parts: Sequence[tuple[float, Attached]], words: str, lost: str
) -> Attached:
    """The new adapter with its origin in words and the prompt form of its parents."""
    if not all(bool(tensor.isfinite().all()) for tensor in made.start.values()):
        raise AdapterError(
            f"{made.name}: its factors are beyond float32; expected smaller weights, as in a=0.7"
        )
    made.history = replace(made.history, made=words, lost=lost)
    made.form = next((a.form for _, a in parts if a.form is not None), None)
    return made


# Ranks and what they lose


def _fitted(update: Update, rank: int) -> LowRank:
    """The update itself where it is narrow enough, else its best approximation of the rank."""
    if isinstance(update, LowRank) and update.rank <= rank:
        return update
    if not update.norm():
        return _nothing(update)
    return truncated(update, rank)


def _nothing(update: Update) -> LowRank:
    """ΔW = 0 of rank 1 with B = 0; A is not, since two zero factors would never learn."""
    outputs, inputs = update.shape
    if isinstance(update, LowRank) and bool(update.down[0].any()):
        down = update.down.detach()[:1]
    else:
        down = torch.full((1, inputs), inputs**-0.5)
    return LowRank(down=down, up=down.new_zeros(outputs, 1), scale=1.0)


def _row(path: str, update: Update) -> ModuleLoss:
    sigma = tuple(update.singular_values().tolist())
    rank = min(update.rank, *update.shape)
    return ModuleLoss(path, rank, rank, math.hypot(*sigma), 0.0, sigma)


def _cut(path: str, update: Update, kept: LowRank) -> ModuleLoss:
    """The row of a module; its singular values are computed only where something was cut off."""
    if kept is update:
        return ModuleLoss(path, kept.rank, kept.rank, update.norm(), 0.0)
    row = _row(path, update)
    return replace(row, rank_after=kept.rank, error=row.lost_at(kept.rank))


def _overall(rows: Sequence[ModuleLoss], errors: Sequence[float]) -> float:
    whole = math.hypot(*(row.norm for row in rows))
    lost = math.hypot(*(row.norm * error for row, error in zip(rows, errors, strict=True)))
    return lost / whole if whole else 0.0


def _rank_fault(rank: object) -> str:
    if rank is None or (is_whole(rank) and rank >= 1):  # type: ignore[operator]  # a number
        return ""
    return f"rank {rank!r}: expected a whole number from 1, say --rank 8"


def _is_share(value: object) -> bool:
    return is_number(value) and 0 < value <= 1  # type: ignore[operator]  # a number


def _span(ranks: Sequence[int]) -> str:
    low, high = min(ranks), max(ranks)
    return str(low) if low == high else f"{low} to {high}"


def _percent(share: float) -> str:
    return f"{share:.2%}"
