"""Makes an adapter on a base: from a spec, from PEFT's config, or from updates already computed.

Knows the base, its slots and what `build` makes; knows no files and no session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lora_magic.base.device import short_name
from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError, listed
from lora_magic.lowrank.factors import LowRank

from . import bridge
from .build import AdapterLayers, add_trained, build, layers_like, peft_layers
from .delta import factors_of
from .live_adapter import VIRTUAL, History, LiveAdapter
from .shapes import Shapes
from .sites import biases, norms
from .slots import Slots
from .spec import ALL_LINEAR, AdapterSpec
from .targets import resolve, shortest
from .trial import check_runs

#: The number formats of an adapter's tensors.
_NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

#: The prefix of a module's path in PEFT's files.
FILE_PREFIX = "base_model.model."


def create(base: BaseModel, slots: Slots, name: str, spec: AdapterSpec) -> LiveAdapter:
    """A fresh adapter, drawn from the spec's seed.

    Raises `AdapterError` for targets that match nothing, a rank beyond a target's size, and
    whatever else the method cannot do on this base.
    """
    return _started(_live(base, slots, name, spec, build(base, slots, spec)))


def from_config(
    base: BaseModel, slots: Slots, name: str, spec: AdapterSpec, config: Any
) -> LiveAdapter:
    """A fresh adapter with the layers of PEFT's config."""
    layers = add_trained(base, slots, spec, peft_layers(base, slots, spec, config))
    return _started(_live(base, slots, name, spec, layers))


def from_peft(
    base: BaseModel,
    slots: Slots,
    name: str,
    config: Any,
    state: Mapping[str, Tensor],
    spec: AdapterSpec,
) -> LiveAdapter:
    """An adapter from PEFT's config and the tensors of PEFT's file.

    Raises one `AdapterError` with every fault of the tensors.
    """
    attached = from_config(base, slots, name, spec, config)
    fill(base, slots, attached, state)
    return finished(attached)


def from_updates(
    base: BaseModel,
    slots: Slots,
    name: str,
    updates: Mapping[str, LowRank],
    trained: Mapping[str, Mapping[str, Tensor]],
    *,
    seed: int,
    parents: Sequence[LiveAdapter],
) -> LiveAdapter:
    """A plain LoRA whose ΔW are these updates, rank by module; the scale goes into B.

    `trained` are trained parameters of the base by module path and name: biases, norms and a head.
    The layers of the `parents` are copied, where they are plain LoRA, instead of made by PEFT.
    Raises `AdapterError` if there are no updates.
    """
    spec = _spec_of(base, slots.shapes, updates, trained, seed)
    ranks = {path: update.rank for path, update in updates.items()}
    layers = layers_like(base, slots, spec, ranks, parents)
    # Layers like those that ran before need no trial.
    attached = (
        create(base, slots, name, spec)
        if layers is None
        else _live(base, slots, name, spec, layers, trial=False)
    )
    copies = attached.trainable_copies()
    with torch.no_grad():
        for path, update in updates.items():
            down, up = factors_of(attached.replacements[path])
            down.copy_(update.down)
            up.copy_(update.up if update.scale == 1 else update.scale * update.up)
        for path, values in trained.items():
            for key, value in values.items():
                copies[path].values[key].copy_(value)
    attached.parents = tuple(parent.name for parent in parents)
    return finished(attached)


def _spec_of(
    base: BaseModel,
    shapes: Shapes,
    updates: Mapping[str, LowRank],
    trained: Mapping[str, Mapping[str, Tensor]],
    seed: int,
) -> AdapterSpec:
    if not updates:
        raise AdapterError("there is no ΔW to make an adapter from.")
    ranks = {path: update.rank for path, update in updates.items()}
    most = max(ranks.values())
    uneven = tuple((path, rank) for path, rank in ranks.items() if rank != most)
    return AdapterSpec(
        rank=most,
        alpha=float(most),
        targets=_targets(base, shapes, list(updates)),
        seed=seed,
        rank_pattern=uneven,
        alpha_pattern=tuple((path, float(rank)) for path, rank in uneven),
        **_bias_and_norms(base, shapes, set(updates), trained),
    )


def _targets(base: BaseModel, shapes: Shapes, paths: list[str]) -> str:
    """Targets that name these modules: `all-linear` where it means exactly these."""
    try:
        if set(resolve(shapes, ALL_LINEAR, base.task.head)) == set(paths):
            return ALL_LINEAR
    except AdapterError:  # no linear layer at all
        pass
    return ",".join(sorted(shortest(shapes, paths)))


def _bias_and_norms(
    base: BaseModel,
    shapes: Shapes,
    targets: set[str],
    trained: Mapping[str, Mapping[str, Tensor]],
) -> dict[str, Any]:
    """The spec's `bias` and `norms` that train these parameters, and few others."""
    own = {path: set(values) for path, values in trained.items() if path not in base.task.head}
    every_norm, every_bias = norms(shapes), biases(shapes)
    with_norms = any(names - set(every_bias.get(path, ())) for path, names in own.items())
    biased = {path for path in own if not (with_norms and path in every_norm)}
    kind = "lora_only" if biased <= targets else "all"
    return {"norms": with_norms, "bias": kind if biased else "none"}


def _live(
    base: BaseModel,
    slots: Slots,
    name: str,
    spec: AdapterSpec,
    layers: AdapterLayers,
    trial: bool = True,
) -> LiveAdapter:
    if layers.wrapper is not None:
        bridge.name_base(layers.wrapper, base.name)
    attached = LiveAdapter(
        name=name,
        spec=spec,
        wrapper=layers.wrapper,
        replacements=layers.replacements,
        originals={path: slots.original(path) for path in layers.replacements},
        base_parameters=base.parameters,
    )
    attached.collect(slots)
    # After the tensors are collected: a forward pass may add others (DoRA on 4 bits).
    if trial:
        check_runs(base.model, slots, layers.replacements, attached.method.title)
    attached.counts = tuple(
        count._replace(module=count.module or VIRTUAL, tensors=attached.parameters_at(path))
        for path, count in layers.formulas.items()
    )
    return attached


def _started(attached: LiveAdapter) -> LiveAdapter:
    """Record the adapter's tensors as the state that training starts from."""
    attached.start = attached.state()
    return attached


def finished(attached: LiveAdapter) -> LiveAdapter:
    """Record the adapter's tensors, now complete, and whether they have an effect."""
    attached.history = History(elsewhere=attached.has_effect())
    return _started(attached)


# The tensors of an adapter's file


def trained_tensors(attached: LiveAdapter) -> dict[str, Tensor]:
    """The trained parameters of the base under the names that PEFT's file gives them."""
    return {
        f"{FILE_PREFIX}{path}.{'' if copy is attached.replacements[path] else 'base_layer.'}"
        f"{key}": value
        for path, copy in attached.trainable_copies().items()
        for key, value in copy.values.items()
    }


def file_tensors(slots: Slots, attached: LiveAdapter) -> dict[str, Tensor]:
    """An adapter's tensors under the names of its file: PEFT's, or its own without PEFT."""
    if attached.wrapper is None:
        return dict(attached.tensors())
    layers = bridge.tensors(attached.wrapper, slots, attached.replacements)
    return {**layers, **trained_tensors(attached)}


def fill(
    base: BaseModel, slots: Slots, attached: LiveAdapter, tensors: Mapping[str, Tensor]
) -> None:
    """Write the tensors of a file into an adapter.

    Raises one `AdapterError` with every fault, before anything is written.
    """
    faults = faults_of(file_tensors(slots, attached), tensors)
    if faults:
        shown = listed([fault.replace(FILE_PREFIX, "", 1) for fault in faults], 5)
        raise AdapterError(f"adapter {attached.name!r} does not fit {base.name}: {shown}.")
    if attached.wrapper is None:
        attached.set_state(tensors)
        return
    trained = trained_tensors(attached)
    with torch.no_grad():
        for key, value in trained.items():
            value.copy_(tensors[key])
    # PEFT writes its own tensors, since it resizes AdaLoRA's layers to the ranks in the config.
    layers = {key: tensor for key, tensor in tensors.items() if key not in trained}
    bridge.set_tensors(attached.wrapper, slots, attached.replacements, layers)
    attached.collect(slots)


def faults_of_values(found: Mapping[str, Tensor]) -> list[str]:
    """The faults of a file's tensors that need no adapter to compare with."""
    return sorted(filter(None, (_fault_of_value(key, found[key]) for key in found)))


def _fault_of_value(key: str, tensor: Tensor) -> str:
    if tensor.dtype not in _NUMBERS:
        return f"{key} holds {short_name(tensor.dtype)}, expected fp32, fp16 or bf16"
    return "" if bool(tensor.isfinite().all()) else f"{key} holds NaN or infinity"


def faults_of(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """The faults of a file's tensors: missing, unexpected, wrong shape or type, NaN, infinity."""
    faults = [f"missing {key}" for key in expected if key not in found]
    faults += [f"unexpected {key}" for key in found if key not in expected]
    for key in expected.keys() & found.keys():
        shape, seen = tuple(expected[key].shape), tuple(found[key].shape)
        if shape != seen:
            faults.append(f"{key} is {seen}, expected {shape}")
        elif fault := _fault_of_value(key, found[key]):
            faults.append(fault)
    return sorted(faults)
