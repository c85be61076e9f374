"""The layers of each method, made fresh on a base: one function a method.

Knows the base, the layers and the bridge to PEFT; knows no names of adapters and no session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.model import BaseModel
from lora_magic.base.quantise import count, quantised_bits
from lora_magic.errors import AdapterError, listed
from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.loftq import residual_factors

from . import bottleneck, bridge, prefix, residual, tuned
from .count import ModuleCount
from .count import bottleneck as bottleneck_count
from .count import low_rank as low_rank_count
from .effect import PEFT_NAME, outputs_first, start
from .methods import METHODS
from .slots import ROOT, Slots
from .spec import AdapterSpec
from .targets import refuse_rank, resolve, shape_of
from .tuned import Tuned

#: Targets that the method chooses by the architecture.
USUAL = "usual"


@dataclass
class Built:
    """What a method puts into the slots, and its counts by formula; `wrapper` is PEFT's, if any."""

    replacements: dict[str, nn.Module]
    formulas: dict[str, ModuleCount] = field(default_factory=dict)
    wrapper: Any = None


def build(base: BaseModel, slots: Slots, spec: AdapterSpec) -> Built:
    """The replacements of a spec, drawn from its seed; a classifier's head is among them.

    Raises `AdapterError` for what the base cannot carry, with the base as it was.
    """
    method = METHODS[spec.method]
    if method.not_quantised and any(quantised_bits(m) for m in base.model.modules()):
        raise AdapterError(
            f"--method {method.name} on a quantised base: {method.not_quantised}; load it without "
            "--bits, or use --method lora."
        )
    with slots.held({}), torch.random.fork_rng():
        torch.manual_seed(spec.seed)
        return with_head(base, _BUILDERS[spec.method](base, slots, spec))


def with_head(base: BaseModel, built: Built) -> Built:
    """The same with a classifier's head, which every adapter trains and keeps as its own."""
    _tune(base, built, {path: _own(base.model, path) for path in base.task.head})
    return built


def peft_layers(base: BaseModel, slots: Slots, spec: AdapterSpec, config: Any) -> Built:
    """PEFT's layers of a config, with what the spec asks for besides."""
    wrapper, replacements = bridge.capture(base.model, slots, config, spec.seed)
    built = Built(dict(replacements), wrapper=wrapper)
    for path, module in replacements.items():
        outputs, inputs = shape_of(slots.original(path))
        layer: Any = module
        if spec.dora:
            _keep_apart(slots.original(path), layer)
        if spec.method == "ia3":
            told = inputs if layer.is_feedforward else outputs
            built.formulas[path] = _counted(path, outputs, inputs, 0, told)
        else:
            rank = int(layer.r[PEFT_NAME])
            formula = low_rank_count(outputs, inputs, rank, spec)
            built.formulas[path] = _counted(path, outputs, inputs, rank, formula)
    with slots.held({}):
        if spec.bias != "none":
            _tune(base, built, _biases(base, spec, replacements))
        if spec.norms:
            _tune(base, built, tuned.norms(base.model))
    return built


def _counted(path: str, outputs: int, inputs: int, rank: int, formula: int) -> ModuleCount:
    return ModuleCount(path, outputs, inputs, rank, formula, 0)


def _peft(base: BaseModel, slots: Slots, spec: AdapterSpec) -> Built:
    """LoRA and its variants, AdaLoRA and (IA)³."""
    paths = _targets(base, spec)
    kind = None if base.task.classifies else "CAUSAL_LM"
    built = peft_layers(base, slots, spec, bridge.config_for(spec, base.model, paths, kind))
    found = set(built.wrapper.base_model.targeted_module_names)
    if found != set(paths):
        raise AdapterError(
            f"PEFT and --targets disagree on {listed(sorted(found ^ set(paths)))}; "
            "name the modules by their paths."
        )
    if spec.init in _BEGINNINGS:
        for path in paths:
            _begin_at(base, slots, spec, path, built.replacements[path])
    return built


def _keep_apart(original: nn.Module, layer: Any) -> None:
    """Give DoRA on 4 bits a base layer of its own: PEFT writes the weight anew at each forward."""
    bits = quantised_bits(original)
    if bits == 8:
        raise AdapterError(
            "--dora on a base of 8 bits: PEFT's DoRA breaks there in the backward pass; load the "
            "base with --bits 4 or without, or leave --dora away."
        )
    if bits is not None:
        layer.base_layer = tuned.shell(original)


def _targets(base: BaseModel, spec: AdapterSpec) -> tuple[str, ...]:
    model, head = base.model, base.task.head
    if spec.method != "ia3":
        paths = resolve(model, spec.targets, head)
        ranks = [spec.rank, *(int(rank) for _, rank in spec.rank_pattern)]
        if spec.method == "lora" and not spec.rank_pattern:
            refuse_rank(model, paths, max(ranks))
        _refuse_patterns(paths, spec)
    else:
        wanted = spec.targets
        if wanted == USUAL:
            wanted = ",".join(bridge.usual_targets(model))
        if not wanted:
            raise AdapterError(
                f"which modules (IA)³ scales in {type(model).__name__} is not known; name keys, "
                "values and the feed-forward's inner output: --targets k_proj,v_proj,down_proj"
            )
        paths = resolve(model, wanted, head)
    embeddings = [p for p in paths if isinstance(model.get_submodule(p), nn.Embedding)]
    if embeddings and (spec.method != "lora" or spec.init in _BEGINNINGS):
        raise AdapterError(
            f"{embeddings[0]} is an embedding, which {spec.words} cannot adapt; "
            "plain LoRA can: --method lora"
        )
    return paths


def _refuse_patterns(paths: Iterable[str], spec: AdapterSpec) -> None:
    """Raise `AdapterError` for a pattern that names none of the targets: PEFT passes it over."""
    for flag in ("rank_pattern", "alpha_pattern"):
        for name, value in getattr(spec, flag):
            if not any(path == name or path.endswith(f".{name}") for path in paths):
                raise AdapterError(
                    f"--{flag.replace('_', '-')} {name}={value:g}: no target ends with {name!r}; "
                    f"targets: {listed(paths, 4)}."
                )


# Where LoRA starts from W0


def _principal(base: BaseModel, slots: Slots, path: str, rank: int, scaling: float) -> LowRank:
    return residual.principal(_weight(slots, path), rank, scaling)


def _orthonormal(base: BaseModel, slots: Slots, path: str, rank: int, scaling: float) -> LowRank:
    return residual.orthonormal(_weight(slots, path), rank, scaling)


def _lost_to_rounding(
    base: BaseModel, slots: Slots, path: str, rank: int, scaling: float
) -> LowRank:
    original = slots.original(path)
    if quantised_bits(original) is None:
        raise AdapterError(
            f"--init loftq starts from what rounding took off the weights, and {path} is not "
            "quantised; type: %lora load MODEL --bits 4, or leave --init away."
        )
    whole = base.source_weight(path)
    down, up = residual_factors(whole, start(original), rank, scaling)
    return LowRank(down, up, scaling)


_BEGINNINGS: dict[str, Callable[[BaseModel, Slots, str, int, float], LowRank]] = {
    "pissa": _principal,
    "olora": _orthonormal,
    "loftq": _lost_to_rounding,
}


def _weight(slots: Slots, path: str) -> Tensor:
    original = slots.original(path)
    return outputs_first(original, start(original))


def _begin_at(base: BaseModel, slots: Slots, spec: AdapterSpec, path: str, layer: Any) -> None:
    """Give a LoRA layer its start; PiSSA's and OLoRA's is taken off the base's output again."""
    rank, scaling = int(layer.r[PEFT_NAME]), float(layer.scaling[PEFT_NAME])
    first = _BEGINNINGS[spec.init](base, slots, path, rank, scaling)
    with torch.no_grad():
        layer.lora_A[PEFT_NAME].weight.copy_(first.down)
        layer.lora_B[PEFT_NAME].weight.copy_(first.up)
    if spec.init != "loftq":
        now = LowRank(layer.lora_A[PEFT_NAME].weight, layer.lora_B[PEFT_NAME].weight, scaling)
        layer.base_layer = residual.Residual(slots.original(path), now)


# What PEFT lacks


def _virtual(base: BaseModel, slots: Slots, spec: AdapterSpec) -> Built:
    """Prefix and prompt tuning; both start from words of the base's own vocabulary."""
    model = base.model
    prefix.refuse_without_cache(model, METHODS[spec.method].title)
    if spec.virtual_tokens >= base.context:
        raise AdapterError(
            f"--virtual-tokens {spec.virtual_tokens}: the base's context is {base.context} tokens."
        )
    root: prefix.VirtualTokens
    if spec.method == "prompt":
        root = prefix.Prompt(prefix.embedding(prefix.drawn_words(model, spec.virtual_tokens)))
    else:
        keys, layers, heads = prefix.drawn_cache(model, spec.virtual_tokens)
        root = prefix.Prefix(prefix.embedding(keys), layers, heads)
    held = root.embedding.numel()
    formula = prefix.formula(model, spec.method, spec.virtual_tokens)
    return Built({ROOT: root}, {ROOT: ModuleCount(ROOT, held, 1, 0, formula, held)})


def _houlsby(base: BaseModel, slots: Slots, spec: AdapterSpec) -> Built:
    model = base.model
    if spec.targets == USUAL:
        paths = tuple(bottleneck.after_projections(model, bottleneck.width_of(base.model)))
    else:
        paths = resolve(model, spec.targets, base.task.head)
    widths = {path: shape_of(model.get_submodule(path))[0] for path in paths}
    return _bottlenecks(slots, spec, widths, norm=False)


def _adapter_l(base: BaseModel, slots: Slots, spec: AdapterSpec) -> Built:
    model = base.model
    if spec.targets != USUAL:
        paths = resolve(model, spec.targets, base.task.head)
        widths = {path: shape_of(model.get_submodule(path))[0] for path in paths}
    else:
        widths = dict.fromkeys(bottleneck.blocks(model), bottleneck.width_of(base.model))
    return _bottlenecks(slots, spec, widths, norm=True)


def _bottlenecks(slots: Slots, spec: AdapterSpec, widths: Mapping[str, int], norm: bool) -> Built:
    layers = {
        path: bottleneck.Bottleneck(slots.original(path), width, spec.rank, norm=norm)
        for path, width in widths.items()
    }
    formulas = {
        path: _counted(path, width, width, 0, bottleneck_count(width, spec.rank, norm))
        for path, width in widths.items()
    }
    return Built(dict(layers), formulas)


def _bitfit(base: BaseModel, slots: Slots, spec: AdapterSpec) -> Built:
    built = Built({})
    _tune(base, built, tuned.biases(base.model, base.task.head))
    return built


def _full(base: BaseModel, slots: Slots, spec: AdapterSpec) -> Built:
    built = Built({})
    _tune(base, built, tuned.everything(base.model))
    return built


_BUILDERS: dict[str, Callable[[BaseModel, Slots, AdapterSpec], Built]] = {
    "lora": _peft,
    "adalora": _peft,
    "ia3": _peft,
    "prefix": _virtual,
    "prompt": _virtual,
    "houlsby": _houlsby,
    "adapter-l": _adapter_l,
    "bitfit": _bitfit,
    "full": _full,
}


# Parameters of the base trained themselves


def _biases(
    base: BaseModel, spec: AdapterSpec, replacements: Mapping[str, nn.Module]
) -> dict[str, list[str]]:
    found = tuned.biases(base.model, base.task.head)
    if spec.bias == "all":
        return found
    own = {path: names for path, names in found.items() if path in replacements}
    if not own:
        raise AdapterError("--bias lora_only: no target has a bias; leave the flag away.")
    return own


def _own(model: nn.Module, path: str) -> list[str]:
    parameters = model.get_submodule(path)._parameters
    return [name for name, value in parameters.items() if value is not None]


def _tune(base: BaseModel, built: Built, names: Mapping[str, list[str]]) -> None:
    """Train these parameters of the base as well: below PEFT's layer where one stands."""
    names = {
        path: [n for n in wanted if not _tuned_already(built, path, n)]
        for path, wanted in names.items()
    }
    made = tuned.tune(base.model, {path: wanted for path, wanted in names.items() if wanted})
    counted: set[int] = set()
    for path, module in made.items():
        there = built.replacements.get(path)
        sizes = [v.numel() for v in module.values.values() if id(v) not in counted]
        counted |= {id(value) for value in module.values.values()}
        if there is None:
            built.replacements[path] = module
        elif isinstance(there, Tuned):
            there.values.update(module.values)
        else:
            there.base_layer = module
        known = built.formulas.get(path) or _counted(path, sum(sizes), 1, 0, 0)
        more = sum(_sizes(base.model, path, names[path], sizes))
        built.formulas[path] = ModuleCount(
            path, known.outputs, known.inputs, known.rank, known.formula + more, 0
        )


def _tuned_already(built: Built, path: str, name: str) -> bool:
    there: Any = built.replacements.get(path)
    inner = there if isinstance(there, Tuned) else getattr(there, "base_layer", None)
    return isinstance(inner, Tuned) and name in inner.values


def _sizes(model: nn.Module, path: str, names: Iterable[str], held: list[int]) -> list[int]:
    """The sizes of a module's parameters in the base; nothing for one counted at its tied twin."""
    if not held:
        return []
    module = model.get_submodule(path)
    return [count(value) for n in names if (value := module._parameters[n]) is not None]
