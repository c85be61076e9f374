"""What looks at a session's holdings and changes nothing: variants, counts, spectra, status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lora_magic.adapters.count import ParameterCount, planned
from lora_magic.adapters.live_adapter import Adapter, LiveAdapter, stackable
from lora_magic.adapters.spec import BASE_NAME, AdapterSpec
from lora_magic.adapters.targets import canonical
from lora_magic.compare.run import Variant
from lora_magic.errors import AdapterError, PromptError, StateError, listed, near
from lora_magic.lowrank.dense import Update
from lora_magic.lowrank.spectrum import Spectrum, spectrum_of

from .resolve import resolve_spec
from .session_state import SessionState
from .status import Status, machine, next_commands

#: What `status` suggests to ask; the embedded model knows the answer.
PROMPT = "What does a fox eat?"


def variants(state: SessionState, adapters: str | Sequence[str] | None) -> list[Variant]:
    """The base and the adapters named, or all of them, as a comparison's columns."""
    state.base.needs_tokenizer()
    names = list(state.attached) if adapters is None else adapter_names(adapters)
    if adapters is None and len(state.together) > 1:
        names.append(state.active)
    return [_variant(state, name) for name in dict.fromkeys([BASE_NAME, *names])]


def untrained(state: SessionState, names: Iterable[str]) -> set[str]:
    """Those of the names, "base" among them, whose head was drawn at load and never trained."""
    if not state.base.task.fresh:
        return set()
    histories = {name: attached.history for name, attached in state.attached.items()}
    new = {name for name, seen in histories.items() if not (seen.steps or seen.elsewhere)}
    return {BASE_NAME, *new} & set(names)


def room(state: SessionState, names: Sequence[str]) -> int:
    """Tokens that fit a prompt and its answer: the context, less the virtual tokens in force."""
    taken = [state.attached[name].tokens for name in names if name in state.attached]
    return state.base.context - max(taken, default=0)


def flat(prompts: Sequence[Any]) -> list[str]:
    """Prompts one after the other, given one by one, as a list, or as pandas' or numpy's column."""
    asked: list[str] = []
    for given in prompts:
        column = given.tolist() if hasattr(given, "tolist") else given
        asked += column if isinstance(column, list | tuple) else [column]
    odd = [prompt for prompt in asked if not isinstance(prompt, str)]
    if odd:
        raise PromptError(f"the prompt is a {type(odd[0]).__name__}; expected text.")
    return asked


def adapter_names(adapters: str | Sequence[str]) -> list[str]:
    """The names that were given, as a list or with commas; they need not be attached."""
    parts = adapters.split(",") if isinstance(adapters, str) else adapters
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise AdapterError(f"adapters {adapters!r}: expected names, as in adapters=['pirate'].")
    names = [part.strip() for part in parts]
    if not names or not all(names):
        raise AdapterError(
            f"adapters {adapters!r}: a name is blank; several are written without a space, "
            "as in --adapters calm,pirate; without the flag all are compared."
        )
    return names


def _variant(state: SessionState, name: str) -> Variant:
    if name == BASE_NAME:
        return Variant(BASE_NAME, {}, {}, state.form_of(BASE_NAME))
    form = state.form_of(name)
    if name == state.active and len(state.together) > 1:
        return Variant(name, state.standing, stackable(state.standing), form)
    attached = state.named(name)
    if name == state.merged:
        # What answers now is the merged copies, so they are what is shown.
        return Variant(name, state.slots.written, None, form)
    return Variant(name, attached.replacements, attached.stackable(), form)


def ratio(state: SessionState, name: str | None, flags: Mapping[str, Any]) -> ParameterCount:
    """The counts of an adapter as it is, or of one that `flags` of `attach` would make."""
    base = state.base
    there = _meant(state, name)
    if there is not None and all(value is None for value in flags.values()):
        return ParameterCount(there.name, there.spec, base.parameters, there.counts)
    spec = spec_of(state, name, flags)
    counts = planned(state.slots.pristine(), spec, base.task.head)
    return ParameterCount(None, spec, base.parameters, counts)


def spec_of(state: SessionState, name: str | None, flags: Mapping[str, Any]) -> AdapterSpec:
    """The spec of an adapter, or the active one, with what `flags` of `attach` would change in it;
    else that of a new one."""
    asked = {flag: value for flag, value in flags.items() if value is not None}
    spec = _as_if(_meant(state, name), asked, named=name is not None)
    return resolve_spec("plan", state.base.recipe, asked) if spec is None else spec


def _meant(state: SessionState, name: str | None) -> LiveAdapter | None:
    """The adapter of that name, else the active one, if one adapter alone is."""
    chosen = name or (state.active if state.active in state.attached else None)
    return state.named(chosen) if chosen else None


def _as_if(
    there: LiveAdapter | None, asked: Mapping[str, Any], *, named: bool
) -> AdapterSpec | None:
    """An adapter's spec with some of it changed; None where another method is asked about.

    That of the active one is left aside, unless it is named, if it does not read what is asked.
    """
    if there is None or "method" in asked:
        return None
    if not named and not all(there.method.reads(flag) for flag in asked):
        return None
    changed = dict(asked)
    if "targets" in asked:
        changed["targets"] = canonical(asked["targets"])
    return replace(there.spec, **{"rank_pattern": (), "alpha_pattern": (), **changed})


def spectrum(state: SessionState, names: Sequence[str], module: str | None) -> Spectrum:
    """The spectra of the adapters named, else of the active ones, else of all that have a ΔW.

    Raises `AdapterError` for a method without a ΔW, saying why.
    """
    _ = state.base
    every = [n for n, a in state.attached.items() if not a.method.no_spectrum]
    chosen = list(names) or list(state.together) or every
    if not chosen:
        raise StateError("no adapter is attached, so there is no ΔW; type: %lora attach NAME")
    for name in chosen:
        method = state.named(name).method
        if method.no_spectrum:
            raise AdapterError(
                f"{name} ({method.title}) has no spectrum: {method.no_spectrum}. "
                f"What it does shows in: %lora compare {PROMPT}"
            )
    updates: dict[str, Mapping[str, Update]] = {n: state.named(n).updates() for n in chosen}
    if module is not None:
        updates = {name: _only(found, module) for name, found in updates.items()}
    return spectrum_of(updates)


def _only(deltas: Mapping[str, Update], module: str) -> dict[str, Update]:
    """The deltas that `module` names: a path, its end, its parts in order (`0.q_proj`), or a piece.

    The first of these that matches anything decides.
    """
    ways = (
        lambda path: path == module or path.endswith(f".{module}"),
        lambda path: _in_order(module.split("."), path.split(".")),
        lambda path: module in path,
    )
    if not isinstance(module, str):
        raise AdapterError(f"--module {module!r}: expected a module's name.")
    for names in ways:
        found = {path: delta for path, delta in deltas.items() if names(path)}
        if found:
            return found
    raise AdapterError(
        f"--module {module}: the adapter has no such module; it has {listed(deltas)}."
        f"{near(module, deltas)}"
    )


def _in_order(parts: Sequence[str], path: Sequence[str]) -> bool:
    """Are all parts in the path, in this order, the last at its end?"""
    rest = iter(path)
    return path[-1] == parts[-1] and all(part in rest for part in parts)


def status(state: SessionState, adapters: Mapping[str, Adapter], unchanged: bool) -> Status:
    """What is loaded, attached, active and merged, and what to type next."""
    commands: Sequence[str] = ["%lora load demo"]
    if not state.empty:
        commands = next_commands(adapters, state.active, state.merged, PROMPT)
        if state.base.tokenizer is None:
            commands = [line for line in commands if not line.endswith(PROMPT)]
    return Status(
        machine=machine(),
        base=None if state.empty else state.record(),
        unchanged=unchanged,
        adapters=tuple(adapters.values()),
        active=state.active,
        merged=state.merged,
        next_commands=tuple(commands),
    )
