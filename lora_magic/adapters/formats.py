"""An adapter as a config and tensors: PEFT's format where PEFT has the method, else our own.

In PEFT's format biases, norms and heads are written as PEFT writes them (`bias`,
`modules_to_save`), and a start that is taken off the base's output (PiSSA, OLoRA) as the frozen
second half of a LoRA of rank 2r. In ours the tensors keep their names here and the spec is the
config. Knows layers and files; knows no cards and no session.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError, listed
from lora_magic.lowrank.factors import LowRank

from . import attach, bridge, trainable_copy
from .delta import PEFT_NAME
from .live_adapter import LiveAdapter
from .methods import METHODS
from .prefix import VirtualTokens
from .residual import Residual, subtract_init
from .slots import ROOT, Slots
from .spec import AdapterSpec, spec_from

#: The type in the config of a method that PEFT does not have.
OWN_TYPE = "LORA_MAGIC"

_VIRTUAL = "prompt_embeddings"
_PREFIX = "base_model.model."


def write(base: BaseModel, slots: Slots, attached: LiveAdapter, folder: Path) -> None:
    """Write config and tensors of an adapter into an empty folder."""
    if not METHODS[attached.spec.method].peft or (ROOT in attached.replacements and base.task.head):
        _write_own(base, attached, folder)
        return
    task_type = "SEQ_CLS" if base.task.classifies else "CAUSAL_LM"
    root = attached.replacements.get(ROOT)
    if isinstance(root, VirtualTokens):
        config = bridge.virtual_config(root, base.model, base.name, task_type=task_type)
        bridge.write(config, {_VIRTUAL: root.embedding}, folder)
        return
    state = bridge.tensors(attached.wrapper, slots, attached.replacements)
    extras, saved_whole = _extras(attached)
    changed: dict[str, Any] = {"modules_to_save": saved_whole or None}
    if attached.spec.method == "lora":
        changed["bias"] = attached.spec.bias
    starts = _starts(attached)
    if starts:
        state = {key: _doubled(key, tensor, starts) for key, tensor in state.items()}
        changed |= _doubled_config(attached.spec)
    config = bridge.written_config(attached.wrapper, task_type=task_type, **changed)
    bridge.write(config, {**state, **extras}, folder)


def _write_own(base: BaseModel, attached: LiveAdapter, folder: Path) -> None:
    config = {
        "peft_type": OWN_TYPE,
        "base_model_name_or_path": base.name,
        "spec": asdict(attached.spec),
    }
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / bridge.CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    bridge.write_tensors(attached.state(), folder)


def _extras(attached: LiveAdapter) -> tuple[dict[str, Tensor], list[str]]:
    """Parameters of the base trained themselves, by PEFT's names, and the modules saved whole."""
    tensors, saved_whole = {}, []
    for path, held in attach.tuned_of(attached).items():
        biases_only = attached.spec.bias != "none" and set(held.values) == {"bias"}
        below = "base_layer." if held is not attached.replacements[path] else ""
        for name, value in held.values.items():
            tensors[f"{_PREFIX}{path}.{below}{name}"] = value
        if not biases_only:
            saved_whole.append(path)
    return tensors, saved_whole


def _starts(attached: LiveAdapter) -> dict[str, Residual]:
    found = {path: getattr(m, "base_layer", None) for path, m in attached.replacements.items()}
    return {path: part for path, part in found.items() if isinstance(part, Residual)}


def _doubled(key: str, tensor: Tensor, starts: Mapping[str, Residual]) -> Tensor:
    """A trained factor and the frozen one that takes the start off again, in one."""
    path, _, part = key.removeprefix(_PREFIX).rpartition(".lora_")
    taken = starts[path]
    if part.startswith("A"):
        return torch.cat([tensor, taken.down])
    return torch.cat([tensor, -taken.up], dim=1)


def _doubled_spec(spec: AdapterSpec) -> AdapterSpec:
    """Rank 2r with the α that keeps the scale: α/r = 2α/2r, and α/√r = √2·α/√(2r)."""
    more = math.sqrt(2) if spec.rslora else 2
    return replace(
        spec,
        rank=2 * spec.rank,
        alpha=more * spec.alpha,
        rank_pattern=tuple((name, 2 * rank) for name, rank in spec.rank_pattern),
        alpha_pattern=tuple((name, more * value) for name, value in spec.alpha_pattern),
    )


def _doubled_config(spec: AdapterSpec) -> dict[str, Any]:
    doubled = _doubled_spec(spec)
    return {
        "r": doubled.rank,
        "lora_alpha": int(doubled.alpha) if doubled.alpha.is_integer() else doubled.alpha,
        "rank_pattern": {name: int(rank) for name, rank in doubled.rank_pattern},
        "alpha_pattern": dict(doubled.alpha_pattern),
    }


#: What a card and a config both say of an adapter.
_SAID_TWICE = (
    "method",
    "rank",
    "alpha",
    "rslora",
    "dora",
    "bias",
    "rank_pattern",
    "alpha_pattern",
    "virtual_tokens",
)


def _refuse_lies(told: AdapterSpec, config: AdapterSpec) -> None:
    """Raise `AdapterError` where a card says something else than the config beside it."""
    lies = [
        f"{name} {getattr(told, name)} in its card and {getattr(config, name)} in its config"
        for name in _SAID_TWICE
        if getattr(told, name) != getattr(config, name)
    ]
    if lies:
        raise AdapterError(f"it contradicts itself: {listed(lies, len(lies))}")


def _own_spec(folder: Path) -> AdapterSpec:
    """The spec in a config of ours; raises `AdapterError` for one that is none."""
    path = folder / bridge.CONFIG_FILE
    try:
        return spec_from(json.loads(path.read_text(encoding="utf-8"))["spec"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, AdapterError) as error:
        raise AdapterError(f"{path} holds no spec ({error})") from error


def read(
    base: BaseModel,
    slots: Slots,
    folder: Path,
    name: str,
    told: AdapterSpec | None,
    seed: int,
    state: Mapping[str, Tensor],
) -> LiveAdapter:
    """The adapter of a folder whose tensors have been read; `told` is its card's spec, if any.

    Raises `AdapterError` for a method that cannot be opened and tensors that do not fit.
    """
    with slots.using({}):
        return _read(base, slots, folder, name, told, seed, state)


def _read(
    base: BaseModel,
    slots: Slots,
    folder: Path,
    name: str,
    told: AdapterSpec | None,
    seed: int,
    state: Mapping[str, Tensor],
) -> LiveAdapter:
    if bridge.kind_of(folder) == OWN_TYPE:
        if told is None:
            raise AdapterError("the card lora_magic.json is missing, which says how it was made")
        _refuse_lies(told, _own_spec(folder))
        return attach.from_tensors(base, slots, name, told, state)
    config = bridge.read_config(folder)
    spec = bridge.spec_of(config, seed)
    starts = told is not None and told.init in ("pissa", "olora")
    if told is not None:
        _refuse_lies(_doubled_spec(told) if starts else told, spec)
    if spec.virtual_tokens:
        fresh = attach.create(base, slots, name, spec)
        (key,) = fresh.state()
        renamed = {key if k == _VIRTUAL else k: tensor for k, tensor in state.items()}
        return attach.from_tensors(base, slots, name, spec, renamed)
    if told is not None and starts:
        return _with_start(base, slots, name, told, state)
    return _plain(base, slots, name, folder, config, spec, told, state)


def _plain(
    base: BaseModel,
    slots: Slots,
    name: str,
    folder: Path,
    config: Any,
    spec: AdapterSpec,
    told: AdapterSpec | None,
    state: Mapping[str, Tensor],
) -> LiveAdapter:
    """PEFT's layers, with biases, norms and a head beside them."""
    saved = _saved_norms(base, bridge.saved_whole(folder))
    spec = replace(spec, norms=bool(saved))
    if told is not None:
        if told.norms != spec.norms:
            raise AdapterError("its card and its config do not agree on whether it trains norms")
        spec = replace(spec, init=told.init, seed=told.seed)
    copies = _copied_embeddings(base, state)
    state = {key: tensor for key, tensor in state.items() if key not in copies}
    if saved:
        state = {**_norms_as_they_are(base, saved), **state}
    return attach.from_peft(base, slots, name, bridge.own(config), state, spec)


def _saved_norms(base: BaseModel, saved_whole: list[str]) -> set[str]:
    """The paths of the norms that a config says are saved whole.

    Raises `AdapterError` for what is neither a norm nor a classifier's head.
    """
    head = set(base.task.head)
    names = [name for name in saved_whole if not any(_within(path, name) for path in head)]
    if base.task.classifies:
        # PEFT adds both of its names for a head, whichever the model has.
        names = [name for name in names if name not in ("classifier", "score")]
    norms = set(trainable_copy.every_norm(base.model))
    # As in PEFT, where "norm" also means every path that ends with it.
    matched = {n: {p for p, _ in base.model.named_modules() if p.endswith(n)} for n in names}
    odd = [name for name, paths in matched.items() if not paths or paths - norms]
    if odd:
        raise AdapterError(
            f"it saves whole modules ({listed(odd)}), which is read only for norms and for a "
            "classifier's head"
        )
    return {path for paths in matched.values() for path in paths}


def _norms_as_they_are(base: BaseModel, saved: set[str]) -> dict[str, Tensor]:
    """The base's own parameters of the norms that a foreign adapter did not train."""
    return {
        f"{_PREFIX}{path}.{name}": base.model.get_submodule(path).get_parameter(name)
        for path, names in trainable_copy.every_norm(base.model).items()
        if path not in saved
        for name in names
    }


def _copied_embeddings(base: BaseModel, state: Mapping[str, Tensor]) -> set[str]:
    """Tensors that are a copy of the base's own: PEFT writes an embedding that LoRA goes to."""
    own, ending = base.model.state_dict(), ".base_layer.weight"
    found = set()
    for key, tensor in state.items():
        there = own.get(key.removeprefix(_PREFIX).replace(ending, ".weight"))
        if there is None or not key.endswith(ending) or there.shape != tensor.shape:
            continue
        if torch.equal(tensor.to(there), there):
            found.add(key)
    return found


def _within(path: str, name: str) -> bool:
    parts, wanted = path.split("."), name.split(".")
    return any(parts[i : i + len(wanted)] == wanted for i in range(len(parts)))


def _with_start(
    base: BaseModel, slots: Slots, name: str, told: AdapterSpec, state: Mapping[str, Tensor]
) -> LiveAdapter:
    """A PiSSA or OLoRA adapter: the first half is trained, the second taken off the base."""
    attached = attach.create(base, slots, name, replace(told, init="default"))
    halves = {key: _half(key, tensor, 0) for key, tensor in state.items()}
    attach.load_peft(base, slots, attached, halves)
    for path in attached.replacements:
        layer: Any = attached.replacements[path]
        down, up = (f"{_PREFIX}{path}.lora_{part}.weight" for part in "AB")
        if down in state and up in state:
            scale = float(layer.scaling[PEFT_NAME])
            taken = LowRank(_half(down, state[down], 1), -_half(up, state[up], 1), scale)
            subtract_init(layer, slots.original(path), taken)
    attached.spec = told
    return attach.finished(attached)


def _half(key: str, tensor: Tensor, which: int) -> Tensor:
    if ".lora_A." in key:
        return tensor.chunk(2)[which]
    return tensor.chunk(2, dim=1)[which] if ".lora_B." in key else tensor
