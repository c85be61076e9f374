"""The layers of each method, made fresh on a base: one function a method.

Knows the base, the layers and the bridge to PEFT; knows no names of adapters and no session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.model import BaseModel
from lora_magic.base.quantise import quantised_bits
from lora_magic.errors import AdapterError, listed
from lora_magic.lowrank.approximation import residual_factors
from lora_magic.lowrank.factors import LowRank

from . import bottleneck, bridge, prefix, residual, trainable_copy
from .count import ModuleCount, by_formula, width_at
from .delta import PEFT_NAME, outputs_first, start
from .methods import METHODS
from .sites import FROM_WEIGHTS, Layer, layers_of, own_of
from .slots import ROOT, Slots
from .spec import AdapterSpec


@dataclass
class Built:
    """What a method puts into the slots, and its counts by formula; `wrapper` is PEFT's, if any.

    `layers` are the method's own among the replacements; the others hold trained parameters of the
    base.
    """

    replacements: dict[str, nn.Module]
    layers: tuple[Layer, ...] = ()
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
    with slots.using({}), torch.random.fork_rng():
        torch.manual_seed(spec.seed)
        return whole(base, slots, spec, _BUILDERS[spec.method](base, slots, spec))


def whole(base: BaseModel, slots: Slots, spec: AdapterSpec, built: Built) -> Built:
    """The same with what the spec trains of the base itself, and with its counts by formula.

    A classifier's head is among it: every adapter trains it and keeps it as its own.
    """
    with slots.using({}):
        own = own_of(base.model, spec, built.layers, base.task.head)
        _tune(base.model, built, own)
        built.formulas = by_formula(base.model, spec, built.layers, base.task.head)
    return built


def peft_layers(base: BaseModel, slots: Slots, spec: AdapterSpec, config: Any) -> Built:
    """PEFT's layers of a config."""
    wrapper, replacements = bridge.capture(base.model, slots, config, spec.seed)
    if spec.dora:
        for path, layer in replacements.items():
            _keep_apart(slots.original(path), layer)
            _whole_magnitude(layer)
    layers = tuple(_told(spec, path, layer) for path, layer in replacements.items())
    return Built(dict(replacements), layers, wrapper=wrapper)


def _told(spec: AdapterSpec, path: str, layer: Any) -> Layer:
    """What PEFT's layer says of itself."""
    if spec.method == "ia3":
        return Layer(path, inner=bool(layer.is_feedforward))
    return Layer(path, rank=int(layer.r[PEFT_NAME]))


def _peft(base: BaseModel, slots: Slots, spec: AdapterSpec) -> Built:
    """LoRA and its variants, AdaLoRA and (IA)³."""
    paths = [layer.path for layer in layers_of(base.model, spec, base.task.head)]
    kind = None if base.task.classifies else "CAUSAL_LM"
    built = peft_layers(base, slots, spec, bridge.config_for(spec, base.model, paths, kind))
    found = set(built.wrapper.base_model.targeted_module_names)
    if found != set(paths):
        raise AdapterError(
            f"PEFT and --targets disagree on {listed(sorted(found ^ set(paths)))}; "
            "name the modules by their paths."
        )
    if spec.init in FROM_WEIGHTS:
        for path in paths:
            _begin_at(base, slots, spec, path, built.replacements[path])
    return built


def _whole_magnitude(layer: Any) -> None:
    """Take DoRA's magnitude m = ‖W0‖ anew: PEFT rounds it to the base's number format, so that a
    base in bfloat16 would answer otherwise before the first step."""
    if PEFT_NAME in layer.lora_A:
        down, up = layer.lora_A[PEFT_NAME].weight, layer.lora_B[PEFT_NAME].weight
    else:
        down, up = layer.lora_embedding_A[PEFT_NAME], layer.lora_embedding_B[PEFT_NAME]
    magnitude = layer.lora_magnitude_vector[PEFT_NAME]
    with torch.no_grad():
        magnitude.update_layer(
            base_layer=layer.get_base_layer(),
            lora_A=down,
            lora_B=up,
            scaling=layer.scaling[PEFT_NAME],
        )
    magnitude.requires_grad_(False)


def _keep_apart(original: nn.Module, layer: Any) -> None:
    """Give DoRA on 4 bits a base layer of its own: PEFT writes the weight anew at each forward."""
    if quantised_bits(original):
        layer.base_layer = trainable_copy.shell(original)


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
    whole = base.stored_weight(path)
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
        residual.subtract_init(layer, slots.original(path), now)


# What PEFT lacks


def _virtual(base: BaseModel, slots: Slots, spec: AdapterSpec) -> Built:
    """Prefix and prompt tuning; both start from words of the base's own vocabulary."""
    model = base.model
    name = prefix.cache_name(model, METHODS[spec.method].title)
    if spec.virtual_tokens >= base.context:
        raise AdapterError(
            f"--virtual-tokens {spec.virtual_tokens}: the base's context is {base.context} tokens; "
            "say --virtual-tokens 10."
        )
    root: prefix.VirtualTokens
    if spec.method == "prompt":
        words = prefix.drawn_words(model, spec.virtual_tokens)
        root = prefix.Prompt(prefix.embedding(words), name)
    else:
        keys, layers, heads = prefix.drawn_cache(model, name, spec.virtual_tokens)
        root = prefix.Prefix(prefix.embedding(keys), name, layers, heads)
    return Built({ROOT: root}, (Layer(ROOT),))


def _bottlenecks(base: BaseModel, slots: Slots, spec: AdapterSpec) -> Built:
    """Houlsby's layers and Lin's."""
    layers = layers_of(base.model, spec, base.task.head)
    made: dict[str, nn.Module] = {}
    for layer in layers:
        original = slots.original(layer.path)
        width = width_at(base.model, original)
        norm = spec.method == "adapter-l"
        made[layer.path] = bottleneck.Bottleneck(original, width, layer.rank, norm=norm)
    return Built(made, layers)


def _nothing_new(base: BaseModel, slots: Slots, spec: AdapterSpec) -> Built:
    """BitFit and full fine-tuning: no layers, only the base's own parameters."""
    return Built({})


_BUILDERS: dict[str, Callable[[BaseModel, Slots, AdapterSpec], Built]] = {
    "lora": _peft,
    "adalora": _peft,
    "ia3": _peft,
    "prefix": _virtual,
    "prompt": _virtual,
    "houlsby": _bottlenecks,
    "adapter-l": _bottlenecks,
    "bitfit": _nothing_new,
    "full": _nothing_new,
}


def _tune(model: nn.Module, built: Built, names: Mapping[str, list[str]]) -> None:
    """Train these parameters of the base as well: below the method's layer where one stands."""
    for path, module in trainable_copy.tune(model, names).items():
        there: Any = built.replacements.get(path)
        if there is None:
            built.replacements[path] = module
        else:
            there.base_layer = module
