"""Makes new adapters from a session's others: blend and compress.

Knows the names and the weights as typed; the adapters room knows how adapters are combined.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lora_magic.adapters import combine
from lora_magic.adapters.combine import Compression, Way
from lora_magic.adapters.live_adapter import Adapter, LiveAdapter
from lora_magic.adapters.spec import check_name, seed_of
from lora_magic.checks import is_number
from lora_magic.errors import AdapterError
from lora_magic.export.script.steps import Blended, Compressed

from .resolve import parts_of
from .session_state import SessionState

Weights = str | Mapping[str, float]

#: Rank, energy and budget of `compress`, of which one is given, or none.
Size = tuple[int | None, float | None, int | None]


def blend(
    state: SessionState,
    new: str,
    weights: Weights,
    *,
    method: str,
    rank: int | None,
    density: float | None,
    seed: int | None,
    replace: bool,
) -> Adapter:
    """Attach an adapter made from others, without activating it."""
    base = state.base
    state.refuse_while_merged("blend")
    if isinstance(new, str) and "=" in new:
        raise AdapterError(
            f"blend {new}: the new adapter's name comes first; type: %lora blend NEW a=0.7 b=0.3"
        )
    given = weights if isinstance(weights, str) and weights else "a=0.7 b=0.3"
    check_name(new, "%lora blend", f" {given}")
    if seed is not None and method != "dare":
        raise AdapterError("--seed: only --method dare is random; omit the flag.")
    way = Way(method, rank, density, seed_of(new) if seed is None else seed)
    parts = [(weight, state.named(name)) for weight, name in _parts(new, weights)]
    _refuse_taken(state, new, tuple(attached.name for _, attached in parts), replace)
    made = combine.blend(base, state.slots, new, parts, way)
    made.steps = (
        Blended(
            tuple((weight, one.name, one.steps) for weight, one in parts),
            *(method, rank, way.kept if method != "sum" else None, way.seed),
        ),
    )
    return _attach(state, made, replace).record()


def compress(
    state: SessionState,
    name: str | None,
    new: str | None,
    size: Size,
    *,
    replace: bool,
) -> Compression:
    """Attach an adapter of a smaller rank; without a size, report what each rank loses."""
    combine.check_size(*size)
    attached = state.named_or_active(name, "compress")
    rank, energy, budget = size
    flag = _flag(size)
    if not flag:
        _refuse_new(attached.name, new)
        return combine.evidence(state.base, state.slots, attached)
    state.refuse_while_merged("compress")
    called = combine.default_name(attached.name, *size) if new is None else new
    check_name(called, f"%lora compress {attached.name}", f" {flag}")
    _refuse_taken(state, called, (attached.name,), replace)
    made, record = combine.compress(
        state.base, state.slots, attached, called, rank=rank, energy=energy, budget=budget
    )
    made.steps = (Compressed(attached.name, attached.steps, *size),)
    _attach(state, made, replace)
    return record


def remove_intruders(
    state: SessionState,
    name: str | None,
    new: str | None,
    size: Size,
    *,
    replace: bool,
) -> tuple[LiveAdapter, LiveAdapter, tuple[combine.ModuleRemoval, ...]]:
    """Attach an adapter without the intruder dimensions of another: both, and what that did.

    Raises `AdapterError` for a size, which would change the rank.
    """
    attached = state.named_or_active(name, "compress")
    if _flag(size):
        raise AdapterError(
            "--remove-intruders keeps the rank, so it does not go with another size; type: "
            f"%lora compress {attached.name} --remove-intruders"
        )
    state.refuse_while_merged("compress")
    called = f"{attached.name}_no_intruders" if new is None else new
    check_name(called, f"%lora compress {attached.name}", " --remove-intruders")
    _refuse_taken(state, called, (attached.name,), replace)
    made, rows = combine.remove_intruders(state.base, state.slots, attached, called)
    made.steps = (Compressed(attached.name, attached.steps, *size, intruders=True),)
    return attached, _attach(state, made, replace), rows


def check_evidence(state: SessionState, name: str | None, new: str | None, size: Size) -> None:
    """Raise `AdapterError` for a size or a new name where the rows are to show a rank."""
    attached = state.named_or_active(name, "compress")
    if flag := _flag(size):
        raise AdapterError(
            f"compress {attached.name}: the rows are to show which rank is enough, so omit {flag}; "
            f"to make the adapter, omit the rows: %lora compress {attached.name} {flag}"
        )
    _refuse_new(attached.name, new)


def refuse_reading(**flags: Any) -> None:
    """Raise `AdapterError` for a flag about rows where there are none."""
    given = [flag for flag, value in flags.items() if value is not None and value is not False]
    if given:
        flag = given[0].strip("_").replace("_", "-")
        raise AdapterError(
            f"compress: --{flag} is about rows, and there are none; type: %lora compress NAME "
            "--data VAR"
        )


def _flag(size: Size) -> str:
    """The flag of a size as it is typed, with another value for what is no number, "" without."""
    usual = {"--rank": 8, "--energy": 0.95, "--budget": 8}
    found = [
        f"{flag} {value if is_number(value) else example}"
        for (flag, example), value in zip(usual.items(), size, strict=True)
        if value is not None
    ]
    return found[0] if found else ""


def _refuse_new(name: str, new: str | None) -> None:
    """Raise `AdapterError` for the name of a new adapter without a size."""
    if new is not None:
        raise AdapterError(
            f"compress {name} {new} needs a size; type: %lora compress {name} {new} --rank 4, or "
            f"omit {new} to see what each rank loses."
        )


def _parts(new: str, weights: Weights) -> Sequence[tuple[float, str]]:
    """Weights and names; a name without a weight gets weight 1. Raises `AdapterError`."""
    example = f"%lora blend {new} a=0.7 b=0.3"
    if isinstance(weights, str):
        words = re.sub(r"\s*=\s*", "=", weights).replace(",", " ").split()
        parts = parts_of(",".join(words)) or [(1.0, word) for word in words]
    elif isinstance(weights, Mapping):
        parts = [(weight, name) for name, weight in weights.items()]
    else:
        raise AdapterError(f"weights {weights!r}: expected names and numbers, as in {example}")
    if not parts:
        raise AdapterError(f"blend {new} needs adapters and weights; type: {example}")
    for weight, name in parts:
        if not is_number(weight) or not math.isfinite(weight):
            raise AdapterError(f"weight {weight!r} of {name}: expected a number, as in {example}")
    return [(float(weight), name) for weight, name in parts]


def _refuse_taken(state: SessionState, new: str, parents: tuple[str, ...], replace: bool) -> None:
    """Raise `AdapterError` if another adapter, not made from these parents, has the name."""
    existing = state.attached.get(new)
    if existing is not None and existing.parents != parents and not replace:
        raise AdapterError(f"{new!r} is already attached; choose another name, or add --replace.")


def _attach(state: SessionState, made: LiveAdapter, replace: bool) -> LiveAdapter:
    """Attach a new adapter, or return the attached one if it began in the same state."""
    existing = state.attached.get(made.name)
    if existing is not None and not replace:
        if _same(existing, made):
            return existing
        raise AdapterError(
            f"{made.name!r} is already attached: made from the same adapters, but with other flags "
            "or before they changed; add --replace, or choose another name."
        )
    with state.all_or_nothing():
        active = state.active == made.name
        state.keep(made)
        if active:
            state.activate(made.name)
    return made


def _same(one: LiveAdapter, other: LiveAdapter) -> bool:
    """Do two adapters have the same initial state, bit for bit?"""
    return one.spec == other.spec and all(
        key in one.start and torch.equal(tensor, one.start[key])
        for key, tensor in other.start.items()
    )
