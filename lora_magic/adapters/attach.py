"""Makes an adapter on a base: from a spec, or from a config and tensors that exist.

Knows the base, its slots and the bridge to PEFT; knows no session.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError, listed

from . import bridge
from .attached import Attached, History, delta_of
from .count import ModuleCount
from .slots import Slots
from .spec import AdapterSpec
from .targets import refuse_rank, resolve, shape_of


def create(base: BaseModel, slots: Slots, name: str, spec: AdapterSpec) -> Attached:
    """A fresh LoRA adapter: A drawn from the spec's seed, B zero.

    Raises `AdapterError` for targets that match nothing and a rank beyond a target's size.
    """
    with slots.held({}):
        paths = resolve(base.model, spec.targets)
        refuse_rank(base.model, paths, spec.rank)
        config = bridge.config_for(spec, base.model, paths)
    attached = _captured(base, slots, name, spec, config)
    if set(attached.replacements) != set(paths):
        odd = sorted(set(paths) ^ set(attached.replacements))
        raise AdapterError(f"attach {name}: PEFT and --targets disagree on {listed(odd)}.")
    return attached


def restore(
    base: BaseModel,
    slots: Slots,
    name: str,
    config: Any,
    state: dict[str, Tensor],
    seed: int,
) -> Attached:
    """An adapter from PEFT's config and tensors; all faults of the tensors in one error."""
    attached = _captured(base, slots, name, bridge.spec_of(config, seed), config)
    expected = bridge.tensors(attached.wrapper, slots, attached.replacements)
    faults = [fault.replace("base_model.model.", "", 1) for fault in _faults(expected, state)]
    if faults:
        raise AdapterError(f"adapter {name!r} does not fit {base.name}: {listed(faults, 4)}.")
    bridge.set_tensors(attached.wrapper, slots, attached.replacements, state)
    attached.start = attached.state()
    changes = any(bool(delta.up.count_nonzero()) for delta in attached.deltas().values())
    attached.history = History(elsewhere=changes)
    return attached


def _captured(base: BaseModel, slots: Slots, name: str, spec: AdapterSpec, config: Any) -> Attached:
    wrapper, replacements = bridge.capture(base.model, slots, config, spec.seed)
    config.base_model_name_or_path = base.name
    attached = Attached(
        name=name,
        spec=spec,
        wrapper=wrapper,
        replacements=replacements,
        form=None,
        counts=tuple(_count(slots, path, module) for path, module in replacements.items()),
        base_parameters=base.parameters,
    )
    attached.start = attached.state()
    return attached


def _count(slots: Slots, path: str, module: Any) -> ModuleCount:
    outputs, inputs = shape_of(slots.original(path))
    held = sum(p.numel() for part, p in module.named_parameters() if part.startswith("lora_"))
    return ModuleCount(path, outputs, inputs, delta_of(module).rank, held)


def _faults(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    faults = [f"missing {key}" for key in expected if key not in found]
    faults += [f"unexpected {key}" for key in found if key not in expected]
    for key in expected.keys() & found.keys():
        want, seen = tuple(expected[key].shape), tuple(found[key].shape)
        if want != seen:
            faults.append(f"{key} is {seen}, expected {want}")
        elif not bool(found[key].isfinite().all()):
            faults.append(f"{key} holds NaN or infinity")
    return sorted(faults)
