"""Looks inside ΔW: which adapters and modules are meant, their updates, and W0 beside them.

Knows the session's state; knows no formula and no display.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from lora_magic.adapters.delta import copy_in, merged_update, outputs_first, start
from lora_magic.adapters.merge import weight_norm
from lora_magic.base.quantise import quantised_bits
from lora_magic.errors import AdapterError, StateError, listed, near
from lora_magic.lowrank.dense import Update
from lora_magic.lowrank.intruders import intruders
from lora_magic.lowrank.own import OwnSpectrum, own_spectrum
from lora_magic.lowrank.spectrum import (
    ModuleIntruders,
    ModuleWeight,
    Spectrum,
    check_measure,
    spectrum_of,
)

from .queries import prompt_of

if TYPE_CHECKING:
    from torch import Tensor

    from .session_state import SessionState

#: Adapter → module path → ΔW.
Updates = dict[str, Mapping[str, Update]]


#: Up to this d·k·min(d, k) the intruders of a module alone are looked for unasked: two seconds.
QUICK = 6e8


def spectrum(
    state: SessionState,
    names: Sequence[str],
    module: str | None,
    measure: str,
    marked: bool,
) -> Spectrum:
    """The spectra of the named adapters, else of the active ones, else of all that have a ΔW.

    W's own spectrum is beside that of a module alone. Intruders are looked for if they are to be
    `marked`, and in a module alone if that is quick. Raises `AdapterError` for a method without a
    ΔW and for an unknown measure.
    """
    check_measure(measure)
    asked = chosen(state, names, "spectrum")
    updates = updates_of(state, asked, module)
    found = replace(spectrum_of(updates), measure=measure)
    alone = len(found.modules) == 1
    shapes = {path: one.shape for deltas in updates.values() for path, one in deltas.items()}
    weights = [_weight(state, path, min(shape), alone) for path, shape in shapes.items()]
    marks = [
        _intruders(state, name, path, update)
        for name, deltas in updates.items()
        for path, update in deltas.items()
        if marked or measure == "intruders" or (alone and _quick(update))
    ]
    merged = state.merged if state.merged in updates else None
    stacked = _stacked(state, asked) if module is None else ()
    return replace(
        found,
        weights=tuple(weights),
        intruders=tuple(marks),
        merged=merged or "",
        stacked=tuple(dict.fromkeys(stacked)),
    )


def _stacked(state: SessionState, names: Sequence[str]) -> Iterator[str]:
    """Trained weights with more than two dimensions."""
    for name in names:
        for path, layer in state.named(name).replacements.items():
            copied = copy_in(layer)
            values = copied.values.items() if copied is not None else ()
            yield from (f"{path}.{part}" for part, value in values if value.dim() > 2)


def _quick(update: Update) -> bool:
    d, k = update.shape
    return d * k * min(d, k) <= QUICK


def _weight(state: SessionState, path: str, count: int, alone: bool) -> ModuleWeight:
    """‖W‖ of a module, and its own singular values if it is alone."""
    original = state.slots.original(path)
    key = ("norm", path)
    if key not in state.base_scores:
        packed = quantised_bits(original) is not None
        norm = torch.linalg.vector_norm(weight_of(state, path)) if packed else weight_norm(original)
        state.base_scores[key] = float(norm)
    sigma = tuple(own_of(state, path).sigma.tolist()) if alone else ()
    return ModuleWeight(path, float(state.base_scores[key]), count, sigma)


def own_of(state: SessionState, path: str) -> OwnSpectrum:
    """W's own spectrum, computed once: the base does not change while it is loaded."""
    key = ("own", path)
    if key not in state.base_scores:
        state.base_scores[key] = own_spectrum(weight_of(state, path))
    found: OwnSpectrum = state.base_scores[key]
    return found


def _intruders(state: SessionState, name: str, path: str, update: Update) -> ModuleIntruders:
    found = intruders(weight_of(state, path), update)
    sigma = [] if found.part is None else found.part.up.norm(dim=0).tolist()
    places = zip(found.places, sigma, strict=True)
    return ModuleIntruders(
        name, path, tuple((at + 1, value, found.cosines[at]) for at, value in places)
    )


def chosen(state: SessionState, names: Sequence[str], what: str) -> list[str]:
    """The named adapters, else the active ones, else all that have a ΔW.

    Raises `AdapterError` for a method without a ΔW, which has no `what` ("spectrum").
    """
    _ = state.base
    every = [n for n, a in state.attached.items() if not a.method.no_spectrum]
    found = list(names) or list(state.active_names) or every
    if not found:
        raise StateError("no adapter with a ΔW is attached; type: %lora attach NAME")
    for name in found:
        method = state.named(name).method
        if method.no_spectrum:
            look = f"%lora compare --adapters {name} {prompt_of(state.view())}"
            look = look if state.base.tokenizer is not None else f"%lora ratio {name}"
            raise AdapterError(
                f"{name} ({method.title}) has no {what}: {method.no_spectrum}. "
                f"To see what it does, type: {look}"
            )
    return found


def updates_of(state: SessionState, names: Sequence[str], module: str | None) -> Updates:
    """ΔW of the adapters, of all modules or of those that `module` names.

    That of a merged adapter is what is in the weights, rounding included.
    """
    updates: Updates = {
        name: _merged(state) if name == state.merged else state.named(name).updates()
        for name in names
    }
    if module is None:
        return updates
    return {name: _only(name, found, module) for name, found in updates.items()}


def _merged(state: SessionState) -> dict[str, Update]:
    found = {
        path: merged_update(state.slots.original(path), module)
        for path, module in state.slots.written.items()
    }
    return {path: update for path, update in found.items() if update is not None}


def weight_of(state: SessionState, path: str) -> Tensor:
    """W0 [d, k] of a module, in a number format wider than its own, on its device."""
    original = state.slots.original(path)
    return outputs_first(original, start(original))


def _only(name: str, deltas: Mapping[str, Update], module: str) -> dict[str, Update]:
    """The deltas of the matching modules: by a path or its end, else by parts in order
    (`0.q_proj`), else by whole parts (`layers.1`), else by any substring of a path."""
    if not isinstance(module, str) or not module.strip():
        raise AdapterError(f"--module {module!r}: expected a module's name.")
    matches = (
        lambda path: path == module or path.endswith(f".{module}"),
        lambda path: _in_order(module.split("."), path.split(".")),
        # Else layer 1 would bring layers 10 to 19 along.
        lambda path: f".{module}." in f".{path}.",
        lambda path: module in path,
    )
    for matching in matches:
        found = {path: delta for path, delta in deltas.items() if matching(path)}
        if found:
            return found
    raise AdapterError(
        f"--module {module}: no such module in {name}, which has {listed(deltas)}."
        f"{near(module, deltas)}"
    )


def _in_order(parts: Sequence[str], path: Sequence[str]) -> bool:
    """Are all parts in the path, in this order, the last at its end?"""
    rest = iter(path)
    return path[-1] == parts[-1] and all(part in rest for part in parts)
