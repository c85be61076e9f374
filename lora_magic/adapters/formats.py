"""An adapter as a config and tensors: PEFT's format where PEFT has the method, else our own.

In PEFT's format biases, norms and heads are written as PEFT writes them (`bias`,
`modules_to_save`), and an initialisation that is subtracted from the base's output (PiSSA, OLoRA)
as the frozen second half of a LoRA of rank 2r. In our own format the tensors keep their names and
the spec is the config. Knows layers, configs and tensors; knows no files, no cards and no session.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lora_magic.base.model import BaseModel
from lora_magic.errors import AdapterError, listed
from lora_magic.lowrank.factors import LowRank

from . import attach, bridge, fields
from .delta import scaling_of
from .files import CARD_FILE, AdapterFiles
from .formula import by_formula
from .inits import Residual, subtract_init
from .live_adapter import LiveAdapter
from .prefix import VirtualTokens
from .shapes import Shapes
from .sites import Site, norms, rank_at, sites_of, trained_parameters
from .slots import ROOT, Slots
from .spec import AdapterSpec, seed_of
from .targets import is_attention

#: The type in the config of a method that PEFT does not have.
OWN_TYPE = "LORA_MAGIC"

#: How many times more parameters than its weights a config may describe.
_MUCH, _FEW = 4, 1_000_000

#: Virtual tokens, as PEFT's file names them and as the adapter does.
_VIRTUAL, _EMBEDDING = "prompt_embeddings", "embedding"

_PREFIX = attach.FILE_PREFIX

#: The endings of the modules that PEFT saves with every classifier.
_HEADS = ("classifier", "score")

# Writing


def written(
    base: BaseModel, slots: Slots, attached: LiveAdapter
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config and the tensors that an adapter's files hold."""
    root = attached.replacements.get(ROOT)
    if not attached.method.peft or (root is not None and base.task.head):
        spec = {"peft_type": OWN_TYPE, "spec": asdict(attached.spec)}
        return {**spec, "base_model_name_or_path": base.name}, attached.state()
    changed: dict[str, Any] = {"task_type": "SEQ_CLS" if base.task.classifies else "CAUSAL_LM"}
    if isinstance(root, VirtualTokens):
        config = bridge.virtual_config(root, base.model, base.name)
        return bridge.file_config(config, **changed), {_VIRTUAL: root.embedding}
    changed["modules_to_save"] = _saved_modules(base, attached) or None
    tensors = attach.file_tensors(slots, attached)
    if attached.spec.method == "lora":
        changed["bias"] = attached.spec.bias
    inits = _subtracted(attached)
    if inits:
        tensors = {key: _doubled(key, tensor, inits) for key, tensor in tensors.items()}
        changed |= _doubled_config(attached.spec)
    return bridge.file_config(bridge.wrapper_config(attached.wrapper), **changed), tensors


def _saved_modules(base: BaseModel, attached: LiveAdapter) -> list[str]:
    """The modules that PEFT's config lists as saved in full: all that train more than a bias.

    PEFT wraps a classifier's `classifier` or `score` as a whole, and cannot wrap a part of what it
    has wrapped: for a head of several modules the whole is listed.
    """
    bias = attached.spec.bias != "none"
    copies = attached.trainable_copies()
    paths = [p for p, copy in copies.items() if not (bias and set(copy.values) == {"bias"})]
    wholes = [p for p, _ in base.model.named_modules() if base.task.classifies and _is_head(p)]
    inside = {p: next((w for w in wholes if p.startswith(f"{w}.")), p) for p in paths}
    return list(dict.fromkeys(inside.values()))


def _is_head(path: str) -> bool:
    """Does PEFT save the module at this path with every classifier?"""
    return path.endswith(_HEADS)


def _subtracted(attached: LiveAdapter) -> dict[str, Residual]:
    found = {path: getattr(m, "base_layer", None) for path, m in attached.replacements.items()}
    return {path: part for path, part in found.items() if isinstance(part, Residual)}


def _doubled(key: str, tensor: Tensor, inits: Mapping[str, Residual]) -> Tensor:
    """A trained factor, concatenated with the frozen one that subtracts the initialisation."""
    path, lora, part = key.removeprefix(_PREFIX).rpartition(".lora_")
    if not lora:
        return tensor
    if part.startswith("A"):
        return torch.cat([tensor, inits[path].down])
    return torch.cat([tensor, -inits[path].up], dim=1)


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


# Reading


@dataclass(frozen=True, eq=False)
class Plan:
    """The adapter that a folder describes, before anything is made.

    `spec` is the spec to build and `config` is PEFT's, None for our format. `tensors` have the
    names of `attach.file_tensors`. `frozen` are the factors that subtract the initialisation, by
    module, and `final_spec` is the adapter's spec afterwards.
    """

    spec: AdapterSpec
    final_spec: AdapterSpec
    config: Any
    tensors: Mapping[str, Tensor]
    frozen: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


def plan_of(
    base: BaseModel, slots: Slots, name: str, files: AdapterFiles, card: AdapterSpec | None
) -> Plan:
    """Decide what a folder's files describe; `card` is the spec of its card, if it has one.

    Raises `AdapterError` for a method that cannot be opened and for a card that contradicts the
    config.
    """
    if _kind_of(files.config) == OWN_TYPE:
        spec = _own_spec(files.config, card)
        _refuse_size(base, slots, spec, None, files.tensors)
        return Plan(spec, spec, None, files.tensors)
    config = bridge.read_config(files.config)
    spec = bridge.spec_of(config, seed_of(name) if card is None else card.seed)
    subtracts = card is not None and card.init in ("pissa", "olora")
    if card is not None:
        _refuse_contradictions(_doubled_spec(card) if subtracts else card, spec)
    _refuse_size(base, slots, spec, config, files.tensors)
    if spec.virtual_tokens:
        renamed = {_EMBEDDING if k == _VIRTUAL else k: t for k, t in files.tensors.items()}
        return Plan(spec, spec, None, renamed)
    if card is not None and subtracts:
        return _halved(card, files.tensors)
    with slots.using({}):
        return _peft_plan(base, slots.shapes, files, config, spec, card)


def _refuse_size(
    base: BaseModel, slots: Slots, spec: AdapterSpec, config: Any, tensors: Mapping[str, Tensor]
) -> None:
    """Raise `AdapterError` if the layers would be far larger than the tensors, before any is made.

    A config can name any rank. Smaller differences are told tensor by tensor.
    """
    head = base.task.head
    if config is None or spec.virtual_tokens:
        sites = sites_of(slots.shapes, spec, head)
    else:
        paths = _targeted(base, slots, config)
        sites = tuple(Site(path, rank_at(spec, path), not is_attention(path)) for path in paths)
    trained = trained_parameters(slots.shapes, spec, sites, head)
    counts = by_formula(slots.shapes, spec, sites, trained)
    described = sum(count.formula for count in counts.values())
    seen = sum(tensor.numel() for tensor in tensors.values())
    if described > _MUCH * seen + _FEW:
        what = f"rank {spec.rank:,}" if spec.rank else f"{spec.virtual_tokens:,} virtual tokens"
        raise AdapterError(
            f"its config describes {described:,} parameters ({what}), and its weights have "
            f"{seen:,}: its files do not belong together; copy the folder again"
        )


def _targeted(base: BaseModel, slots: Slots, config: Any) -> list[str]:
    """The modules that a config names, or may name: those that can carry a LoRA."""
    with slots.using({}):
        named = bridge.targeted(config, base.model)
    able = [path for path, module in slots.shapes.modules.items() if module.carries_lora]
    return [path for path in able if named is None or path in named]


def _kind_of(config: Any) -> str:
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if not isinstance(kind, str):
        raise AdapterError('adapter_config.json has no method; expected "peft_type": "LORA" in it')
    return kind


def _own_spec(config: Any, card: AdapterSpec | None) -> AdapterSpec:
    """The spec in a config of our own format."""
    if card is None:
        raise AdapterError(
            "its card lora_magic.json is missing; this method needs it: copy the whole folder again"
        )
    try:
        spec = fields.record(AdapterSpec, config.get("spec"))
    except (ValueError, AdapterError) as error:
        raise AdapterError(
            f"adapter_config.json has no valid spec ({error}); save the adapter again, or copy the "
            "folder again"
        ) from error
    _refuse_contradictions(card, spec)
    return card


#: The fields that a card and a config share.
_IN_BOTH = (
    *("method", "rank", "alpha", "rslora", "dora", "bias"),
    *("rank_pattern", "alpha_pattern", "virtual_tokens"),
)


def _refuse_contradictions(card: AdapterSpec, config: AdapterSpec) -> None:
    faults = [
        f"{name} {getattr(card, name)} in its card and {getattr(config, name)} in its config"
        for name in _IN_BOTH
        if getattr(card, name) != getattr(config, name)
    ]
    if faults:
        raise AdapterError(
            f"its files contradict each other: {listed(faults, len(faults))}; copy the folder "
            f"again, or remove {CARD_FILE} to open it without its card"
        )


def _peft_plan(
    base: BaseModel,
    shapes: Shapes,
    files: AdapterFiles,
    config: Any,
    spec: AdapterSpec,
    card: AdapterSpec | None,
) -> Plan:
    """PEFT's layers, with the biases, norms and head that are trained with them."""
    try:
        saved = _saved_norms(base, shapes, files.config.get("modules_to_save") or [])
    except AdapterError as error:
        raise AdapterError(f"{str(error).rstrip('.')}. {bridge.MERGE}") from error
    spec = replace(spec, norms=bool(saved))
    if card is not None:
        if card.norms != spec.norms:
            raise AdapterError("its card and its config disagree on whether it trains norms")
        spec = replace(spec, init=card.init, seed=card.seed)
    copies = _copied_embeddings(base, files.tensors)
    tensors = {key: tensor for key, tensor in files.tensors.items() if key not in copies}
    if saved:
        tensors = {**_other_norms(base, shapes, saved), **tensors}
    tensors = {**_other_head(base, files.config.get("modules_to_save") or []), **tensors}
    targets = card.targets if card is not None and card.targets else spec.targets
    return Plan(
        spec, replace(spec, targets=targets), bridge.capturable(config, base.model), tensors
    )


def _saved_norms(base: BaseModel, shapes: Shapes, saved_modules: list[str]) -> set[str]:
    """The paths of the norms that a config lists as saved in full.

    Raises `AdapterError` for a module that is neither a norm nor a classifier's head.
    """
    names = [n for n in saved_modules if not any(_within(path, n) for path in base.task.head)]
    if base.task.classifies:
        # PEFT lists both of its names for a head, whichever the model has.
        names = [name for name in names if name not in _HEADS]
    able = norms(shapes).keys()
    # As in PEFT, where "norm" also means every path that ends with it.
    matched = {n: {p for p in shapes.modules if p.endswith(n)} for n in names}
    odd = [name for name, paths in matched.items() if not paths or paths - able]
    if odd:
        raise AdapterError(
            f"it saves whole modules ({listed(odd)}); only norms and a classifier's head can be "
            "saved that way"
        )
    return {path for paths in matched.values() for path in paths}


def _other_norms(base: BaseModel, shapes: Shapes, saved: set[str]) -> dict[str, Tensor]:
    """The base's own parameters of the norms that an adapter did not train."""
    return {
        f"{_PREFIX}{path}.{name}": base.model.get_submodule(path).get_parameter(name)
        for path, names in norms(shapes).items()
        if path not in saved
        for name in names
    }


def _other_head(base: BaseModel, saved_modules: list[str]) -> dict[str, Tensor]:
    """The base's own parameters of the parts of its head that an adapter did not train."""
    found: dict[str, Tensor] = {}
    for path in base.task.head:
        parents = [path[: end.start()] for end in re.finditer(r"\.|$", path)]
        saved = any(parent.endswith(tuple(saved_modules)) for parent in parents)
        if not saved and path not in base.task.fresh:
            own = base.model.get_submodule(path).named_parameters(recurse=False)
            found |= {f"{_PREFIX}{path}.{name}": value for name, value in own}
    return found


def _copied_embeddings(base: BaseModel, tensors: Mapping[str, Tensor]) -> set[str]:
    """Tensors that are a copy of the base's own: PEFT writes an adapted embedding in full."""
    own, ending = base.model.state_dict(), ".base_layer.weight"
    found = set()
    for key, tensor in tensors.items():
        original = own.get(key.removeprefix(_PREFIX).replace(ending, ".weight"))
        if original is None or not key.endswith(ending) or original.shape != tensor.shape:
            continue
        if torch.equal(tensor.to(original), original):
            found.add(key)
    return found


def _within(path: str, name: str) -> bool:
    return f".{name}." in f".{path}."


def _halved(card: AdapterSpec, tensors: Mapping[str, Tensor]) -> Plan:
    """PiSSA or OLoRA: the first half of each factor is trained, the second is subtracted."""
    halves = {
        key: tensor.chunk(2, dim=0 if ".lora_A." in key else 1)
        for key, tensor in tensors.items()
        if tensor.dim() == 2 and (".lora_A." in key or ".lora_B." in key)
    }
    trained = {key: halves[key][0] if key in halves else t for key, t in tensors.items()}
    frozen = {}
    for key, down in halves.items():
        up = halves.get(key.replace(".lora_A.", ".lora_B."), ())
        if ".lora_A." in key and len(down) == len(up) == 2:
            path = key.removeprefix(_PREFIX).partition(".lora_A.")[0]
            frozen[path] = (down[1], -up[1])
    return Plan(replace(card, init="default"), card, None, trained, frozen)


def make(base: BaseModel, slots: Slots, name: str, plan: Plan) -> LiveAdapter:
    """The adapter of a plan. Raises one `AdapterError` for all tensors that do not fit."""
    if plan.config is None:
        attached = attach.create(base, slots, name, plan.spec)
    else:
        attached = attach.from_config(base, slots, name, plan.spec, plan.config)
    attach.fill(base, slots, attached, plan.tensors)
    for path, (down, up) in plan.frozen.items():
        layer = attached.replacements[path]
        subtract_init(layer, slots.original(path), LowRank(down, up, scaling_of(layer)))
    attached.spec = plan.final_spec
    return attach.finished(attached)
