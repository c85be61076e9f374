"""Makes an adapter on a base: from a spec, from a config and tensors, or from updates computed.

Knows the base, its slots and what `build` makes; knows no session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lora_magic.base.device import short_name
from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError, listed
from lora_magic.lowrank.factors import LowRank

from . import bridge
from .build import Built, build, peft_layers, whole
from .count import ModuleCount
from .delta import PEFT_NAME
from .live_adapter import History, LiveAdapter
from .methods import METHODS
from .prefix import VirtualTokens
from .slots import Slots
from .spec import ALL_LINEAR, AdapterSpec
from .targets import resolve, shortest
from .trainable_copy import TrainableCopy, every_bias, every_norm
from .trial import check_runs


def create(base: BaseModel, slots: Slots, name: str, spec: AdapterSpec) -> LiveAdapter:
    """A fresh adapter, drawn from the spec's seed.

    Raises `AdapterError` for targets that match nothing, a rank beyond a target's size, and
    whatever else the method cannot do on this base.
    """
    return _attached(base, slots, name, spec, build(base, slots, spec))


def from_peft(
    base: BaseModel,
    slots: Slots,
    name: str,
    config: Any,
    state: Mapping[str, Tensor],
    spec: AdapterSpec,
) -> LiveAdapter:
    """An adapter from the config and tensors of PEFT's file, for the layers that PEFT has.

    All faults of the tensors come in one `AdapterError`.
    """
    built = whole(base, slots, spec, peft_layers(base, slots, spec, config))
    attached = _attached(base, slots, name, spec, built)
    load_peft(base, slots, attached, state)
    return finished(attached)


def load_peft(
    base: BaseModel, slots: Slots, attached: LiveAdapter, state: Mapping[str, Tensor]
) -> None:
    """Write the tensors of PEFT's file into an adapter; all their faults in one `AdapterError`."""
    beside = {
        f"base_model.model.{path}.{'' if held is attached.replacements[path] else 'base_layer.'}"
        f"{key}": value
        for path, held in tuned_of(attached).items()
        for key, value in held.values.items()
    }
    expected = {**bridge.tensors(attached.wrapper, slots, attached.replacements), **beside}
    _refuse_faults(base, attached.name, expected, state)
    with torch.no_grad():
        for key, value in beside.items():
            value.copy_(state[key])
    own = {key: tensor for key, tensor in state.items() if key not in beside}
    bridge.set_tensors(attached.wrapper, slots, attached.replacements, own)
    attached.collect(slots)


def from_tensors(
    base: BaseModel, slots: Slots, name: str, spec: AdapterSpec, state: Mapping[str, Tensor]
) -> LiveAdapter:
    """An adapter from our own tensors, named as `LiveAdapter.tensors` names them."""
    attached = create(base, slots, name, spec)
    _refuse_faults(base, name, attached.state(), state)
    attached.set_state(state)
    return finished(attached)


def from_updates(
    base: BaseModel,
    slots: Slots,
    name: str,
    updates: Mapping[str, LowRank],
    tuned: Mapping[str, Mapping[str, Tensor]],
    *,
    seed: int,
    parents: tuple[str, ...],
) -> LiveAdapter:
    """A plain LoRA whose ΔW are these updates, rank by module; the scale goes into B.

    `tuned` are parameters of the base trained themselves, by module path and name: biases, norms
    and a head, and no others. Raises `AdapterError` for no updates.
    """
    with slots.using({}):
        spec = _spec_of(base, updates, tuned, seed)
    attached = create(base, slots, name, spec)
    with torch.no_grad():
        for path, update in updates.items():
            layer: Any = attached.replacements[path]
            down, up = _parts(layer)
            down.copy_(update.down)
            up.copy_(update.scale * update.up)
        beside = tuned_of(attached)
        for path, values in tuned.items():
            for key, value in values.items():
                beside[path].values[key].copy_(value)
    attached.parents = parents
    return finished(attached)


def _spec_of(
    base: BaseModel,
    updates: Mapping[str, LowRank],
    tuned: Mapping[str, Mapping[str, Tensor]],
    seed: int,
) -> AdapterSpec:
    if not updates:
        raise AdapterError("there is no ΔW to make an adapter of.")
    ranks = {path: update.rank for path, update in updates.items()}
    most = max(ranks.values())
    uneven = tuple((path, rank) for path, rank in ranks.items() if rank != most)
    return AdapterSpec(
        rank=most,
        alpha=float(most),
        targets=_named(base, list(updates)),
        seed=seed,
        rank_pattern=uneven,
        alpha_pattern=tuple((path, float(rank)) for path, rank in uneven),
        **_beside(base, set(updates), tuned),
    )


def _named(base: BaseModel, paths: list[str]) -> str:
    """Targets that name these modules, `all-linear` where that is what they are."""
    try:
        if set(resolve(base.model, ALL_LINEAR, base.task.head)) == set(paths):
            return ALL_LINEAR
    except AdapterError:  # no linear layer at all
        pass
    return ",".join(sorted(shortest(base.model, paths)))


def _beside(
    base: BaseModel, targets: set[str], tuned: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, Any]:
    """The flags of a spec that trains these parameters of the base, and few others."""
    own = {path: set(values) for path, values in tuned.items() if path not in base.task.head}
    known = every_norm(base.model)
    norms = any(names - set(every_bias(base.model).get(p, ())) for p, names in own.items())
    biased = {path for path in own if not (norms and path in known)}
    kind = "lora_only" if biased <= targets else "all"
    return {"norms": norms, "bias": kind if biased else "none"}


def _parts(layer: Any) -> tuple[Tensor, Tensor]:
    if PEFT_NAME in layer.lora_A:
        return layer.lora_A[PEFT_NAME].weight, layer.lora_B[PEFT_NAME].weight
    return layer.lora_embedding_A[PEFT_NAME], layer.lora_embedding_B[PEFT_NAME]


def tuned_of(attached: LiveAdapter) -> dict[str, TrainableCopy]:
    """The modules whose own parameters an adapter trains, by path: below PEFT's layers too."""
    found = {}
    for path, module in attached.replacements.items():
        inner = module if isinstance(module, TrainableCopy) else getattr(module, "base_layer", None)
        if isinstance(inner, TrainableCopy):
            found[path] = inner
    return found


def changes(attached: LiveAdapter) -> bool:
    """Does the adapter change any answer? A fresh LoRA does not: its B is zero."""
    layers = list(attached.replacements.values())
    if any(isinstance(layer, VirtualTokens) for layer in layers):
        return True
    if any(tuned.moved() for tuned in tuned_of(attached).values()):
        return True
    tensors = dict(attached.tensors())
    last = (
        ("lora_B.", "lora_embedding_B.") if attached.spec.method == "lora" else ("lora_E.", "up.")
    )
    nonzero = any(bool(t.count_nonzero()) for n, t in tensors.items() if any(p in n for p in last))
    return nonzero or any(bool((t != 1).any()) for n, t in tensors.items() if ".ia3_l." in n)


def _attached(
    base: BaseModel, slots: Slots, name: str, spec: AdapterSpec, built: Built
) -> LiveAdapter:
    if built.wrapper is not None:
        bridge.name_base(built.wrapper, base.name)
    attached = LiveAdapter(
        name=name,
        spec=spec,
        wrapper=built.wrapper,
        replacements=built.replacements,
        originals={path: slots.original(path) for path in built.replacements},
        form=None,
        counts=(),
        base_parameters=base.parameters,
    )
    attached.collect(slots)
    # After the tensors are collected: a forward pass may put others beside them (DoRA on 4 bits).
    check_runs(base.model, slots, built.replacements, METHODS[spec.method].title)
    held: dict[str, int] = {}
    for key, tensor in attached.tensors():
        path = _path_of(key, built.replacements)
        held[path] = held.get(path, 0) + tensor.numel()
    attached.counts = tuple(
        _with(count, held.get(path, 0)) for path, count in built.formulas.items()
    )
    attached.start = attached.state()
    return attached


def _path_of(key: str, paths: Mapping[str, object]) -> str:
    parts = key.split(".")
    for end in range(len(parts), 0, -1):
        if (path := ".".join(parts[:end])) in paths:
            return path
    return ""


def _with(count: ModuleCount, tensors: int) -> ModuleCount:
    return replace(count, module=count.module or "virtual tokens", tensors=tensors)


def finished(attached: LiveAdapter) -> LiveAdapter:
    """An adapter whose tensors have been read: this is where a training begins."""
    attached.start = attached.state()
    attached.history = History(elsewhere=changes(attached))
    return attached


def _refuse_faults(
    base: BaseModel, name: str, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> None:
    faults = [f.replace("base_model.model.", "", 1) for f in faults_of(expected, found)]
    if faults:
        raise AdapterError(f"adapter {name!r} does not fit {base.name}: {listed(faults, 12)}.")


def faults_of(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """What is wrong with tensors read: missing, unexpected, of another shape, no numbers."""
    faults = [f"missing {key}" for key in expected if key not in found]
    faults += [f"unexpected {key}" for key in found if key not in expected]
    for key in expected.keys() & found.keys():
        want, seen = tuple(expected[key].shape), tuple(found[key].shape)
        if want != seen:
            faults.append(f"{key} is {seen}, expected {want}")
        elif not found[key].is_floating_point():
            faults.append(
                f"{key} holds {short_name(found[key].dtype)}, expected fp32, fp16 or bf16"
            )
        elif not bool(found[key].isfinite().all()):
            faults.append(f"{key} holds NaN or infinity")
    return sorted(faults)
