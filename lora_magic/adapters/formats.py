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

from . import attach, bridge
from .attached import Attached
from .effect import PEFT_NAME
from .methods import METHODS
from .prefix import VirtualTokens
from .residual import Residual
from .slots import ROOT, Slots
from .spec import AdapterSpec

#: The type in the config of a method that PEFT does not have.
OWN_TYPE = "LORA_MAGIC"

_VIRTUAL = "prompt_embeddings"
_PREFIX = "base_model.model."


def write(base: BaseModel, slots: Slots, attached: Attached, folder: Path) -> None:
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


def _write_own(base: BaseModel, attached: Attached, folder: Path) -> None:
    config = {
        "peft_type": OWN_TYPE,
        "base_model_name_or_path": base.name,
        "spec": asdict(attached.spec),
    }
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / bridge.CONFIG_FILE).write_text(text + "\n", encoding="utf-8")
    bridge.write_tensors(attached.state(), folder)


def _extras(attached: Attached) -> tuple[dict[str, Tensor], list[str]]:
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


def _starts(attached: Attached) -> dict[str, Residual]:
    found = {path: getattr(m, "base_layer", None) for path, m in attached.replacements.items()}
    return {path: part for path, part in found.items() if isinstance(part, Residual)}


def _doubled(key: str, tensor: Tensor, starts: Mapping[str, Residual]) -> Tensor:
    """A trained factor and the frozen one that takes the start off again, in one."""
    path, _, part = key.removeprefix(_PREFIX).rpartition(".lora_")
    taken = starts[path]
    if part.startswith("A"):
        return torch.cat([tensor, taken.down])
    return torch.cat([tensor, -taken.up], dim=1)


def _doubled_config(spec: AdapterSpec) -> dict[str, Any]:
    """Rank 2r with the α that keeps the scale: α/r = 2α/2r, and α/√r = √2·α/√(2r)."""
    more = math.sqrt(2) if spec.rslora else 2
    alpha = spec.alpha * more
    return {
        "r": 2 * spec.rank,
        "lora_alpha": int(alpha) if alpha.is_integer() else alpha,
        "rank_pattern": {name: 2 * int(rank) for name, rank in spec.rank_pattern},
        "alpha_pattern": {name: more * value for name, value in spec.alpha_pattern},
    }


def read(
    base: BaseModel,
    slots: Slots,
    folder: Path,
    name: str,
    told: AdapterSpec | None,
    seed: int,
    state: Mapping[str, Tensor],
) -> Attached:
    """The adapter of a folder whose tensors have been read; `told` is its card's spec, if any.

    Raises `AdapterError` for a method that cannot be opened and tensors that do not fit.
    """
    if bridge.kind_of(folder) == OWN_TYPE:
        if told is None:
            raise AdapterError("the card lora_magic.json is missing, which says how it was made")
        return attach.from_tensors(base, slots, name, told, state)
    config = bridge.read_config(folder)
    spec = bridge.spec_of(config, seed)
    if spec.virtual_tokens:
        fresh = attach.create(base, slots, name, spec)
        (key,) = fresh.state()
        renamed = {key if k == _VIRTUAL else k: tensor for k, tensor in state.items()}
        return attach.from_tensors(base, slots, name, spec, renamed)
    if told is not None and told.init in ("pissa", "olora"):
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
) -> Attached:
    """PEFT's layers, with biases, norms and a head beside them."""
    saved_whole = bridge.saved_whole(folder)
    if told is not None:
        spec = replace(spec, norms=told.norms, init=told.init, seed=told.seed)
    elif saved_whole:
        spec = replace(spec, norms=_are_norms(base, saved_whole, folder))
    return attach.from_peft(base, slots, name, config, state, spec)


def _are_norms(base: BaseModel, saved_whole: list[str], folder: Path) -> bool:
    """Are norms saved whole in a foreign adapter? Refuses what is neither norm nor head."""
    head = set(base.task.head)
    names = [name for name in saved_whole if not any(_within(path, name) for path in head)]
    if base.task.classifies:
        # PEFT adds both of its names for a head, whichever the model has.
        names = [name for name in names if name not in ("classifier", "score")]
    odd = [name for name in names if "norm" not in name.lower() and not name.startswith("ln_")]
    if odd:
        raise AdapterError(
            f"it saves whole modules ({listed(odd)}), which is read only for norms and for a "
            "classifier's head"
        )
    return bool(names)


def _within(path: str, name: str) -> bool:
    parts, wanted = path.split("."), name.split(".")
    return any(parts[i : i + len(wanted)] == wanted for i in range(len(parts)))


def _with_start(
    base: BaseModel, slots: Slots, name: str, told: AdapterSpec, state: Mapping[str, Tensor]
) -> Attached:
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
            layer.base_layer = Residual(slots.original(path), taken)
    attached.spec = told
    return attach.finished(attached)


def _half(key: str, tensor: Tensor, which: int) -> Tensor:
    if ".lora_A." in key:
        return tensor.chunk(2)[which]
    return tensor.chunk(2, dim=1)[which] if ".lora_B." in key else tensor
