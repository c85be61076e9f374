"""Looks inside ΔW: which adapters and modules are meant, their updates, and W0 beside them.

Knows the session's state; knows no formula and no display.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lora_magic.adapters.delta import outputs_first, start
from lora_magic.errors import AdapterError, StateError, listed, near
from lora_magic.lowrank.dense import Update
from lora_magic.lowrank.spectrum import Spectrum, spectrum_of

from .queries import prompt_of

if TYPE_CHECKING:
    from torch import Tensor

    from .session_state import SessionState

#: Adapter → module path → ΔW.
Updates = dict[str, Mapping[str, Update]]


def spectrum(state: SessionState, names: Sequence[str], module: str | None) -> Spectrum:
    """The spectra of the named adapters, else of the active ones, else of all that have a ΔW.

    Raises `AdapterError` for a method without a ΔW.
    """
    return spectrum_of(updates_of(state, chosen(state, names, "spectrum"), module))


def chosen(state: SessionState, names: Sequence[str], what: str) -> list[str]:
    """The named adapters, else the active ones, else all that have a ΔW.

    Raises `AdapterError` for a method without a ΔW, which has no `what` ("spectrum").
    """
    _ = state.base
    every = [n for n, a in state.attached.items() if not a.method.no_spectrum]
    found = list(names) or list(state.together) or every
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
    """ΔW of the adapters, of all modules or of those that `module` names."""
    updates: Updates = {name: state.named(name).updates() for name in names}
    if module is None:
        return updates
    return {name: _only(found, module) for name, found in updates.items()}


def weight_of(state: SessionState, path: str) -> Tensor:
    """W0 [d, k] of a module, in a number format wider than its own, on its device."""
    original = state.slots.original(path)
    return outputs_first(original, start(original))


def _only(deltas: Mapping[str, Update], module: str) -> dict[str, Update]:
    """The deltas of the matching modules: by a path or its end, else by parts in order
    (`0.q_proj`), else by any substring of a path."""
    if not isinstance(module, str):
        raise AdapterError(f"--module {module!r}: expected a module's name.")
    matches = (
        lambda path: path == module or path.endswith(f".{module}"),
        lambda path: _in_order(module.split("."), path.split(".")),
        lambda path: module in path,
    )
    for matching in matches:
        found = {path: delta for path, delta in deltas.items() if matching(path)}
        if found:
            return found
    raise AdapterError(
        f"--module {module}: no such module in the adapter, which has {listed(deltas)}."
        f"{near(module, deltas)}"
    )


def _in_order(parts: Sequence[str], path: Sequence[str]) -> bool:
    """Are all parts in the path, in this order, the last at its end?"""
    rest = iter(path)
    return path[-1] == parts[-1] and all(part in rest for part in parts)
