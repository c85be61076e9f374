"""The layers of each method, made fresh on a base: one function per method.

Knows the base, the layers and the bridge to PEFT; knows no names of adapters and no session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.model import BaseModel
from lora_magic.base.quantise import quantised_bits
from lora_magic.errors import AdapterError, listed

from . import bottleneck, bridge, prefix
from .delta import PEFT_NAME, factors_of
from .formula import ModuleCount, by_formula, width_at
from .inits import init_from_weights
from .methods import METHODS
from .read_shapes import is_transposed
from .sites import FROM_WEIGHTS, Site, sites_of, trained_parameters
from .slots import ROOT, Slots
from .spec import AdapterSpec
from .trainable_copy import shallow_copy, trainable_copies


@dataclass
class AdapterLayers:
    """The modules of one adapter by path, and its counts by formula; `wrapper` is PEFT's, if any.

    `sites` are those of the method's own layers; the other replacements are trainable copies of the
    base's modules.
    """

    replacements: dict[str, nn.Module]
    sites: tuple[Site, ...] = ()
    formulas: dict[str, ModuleCount] = field(default_factory=dict)
    wrapper: Any = None


def build(base: BaseModel, slots: Slots, spec: AdapterSpec) -> AdapterLayers:
    """The layers of a spec, initialised from its seed, with a classifier's head.

    Raises `AdapterError` if the method cannot run on this base, which is then unchanged.
    """
    method = METHODS[spec.method]
    if method.not_quantised and any(quantised_bits(m) for m in base.model.modules()):
        raise AdapterError(
            f"--method {method.name} on a quantised base: {method.not_quantised}; load it without "
            "--bits, or use --method lora."
        )
    with slots.using({}), torch.random.fork_rng():
        torch.manual_seed(spec.seed)
        return add_trained(base, slots, spec, _BUILDERS[spec.method](base, slots, spec))


def add_trained(
    base: BaseModel, slots: Slots, spec: AdapterSpec, layers: AdapterLayers
) -> AdapterLayers:
    """Add the parameters of the base that the spec trains, and the counts by formula.

    Every adapter trains a classifier's head and keeps its own.
    """
    model, head = base.model, base.task.head
    with slots.using({}):
        names = trained_parameters(slots.shapes, spec, layers.sites, head)
        for path, copy in trainable_copies(model, names).items():
            layer: Any = layers.replacements.setdefault(path, copy)
            if layer is not copy:
                layer.base_layer = copy
        layers.formulas = by_formula(slots.shapes, spec, layers.sites, names)
    return layers


def peft_layers(base: BaseModel, slots: Slots, spec: AdapterSpec, config: Any) -> AdapterLayers:
    """The layers that PEFT makes from a config."""
    wrapper, replacements = bridge.capture(base.model, slots, config, spec.seed)
    if spec.dora:
        for path, layer in replacements.items():
            _separate_quantised(slots.original(path), layer)
            _recompute_magnitude(layer)
    for path, layer in replacements.items():
        if quantised_bits(slots.original(path)):
            layer.register_forward_hook(_as_input)
    sites = tuple(_site(spec, path, layer) for path, layer in replacements.items())
    return AdapterLayers(dict(replacements), sites, wrapper=wrapper)


def layers_like(
    base: BaseModel, slots: Slots, spec: AdapterSpec, ranks: Mapping[str, int], like: Iterable[Any]
) -> AdapterLayers | None:
    """The layers of a plain LoRA with these ranks by path, copied from those of other adapters.

    Their factors hold anything. None if a path has no plain LoRA layer to copy. `like` are attached
    adapters.
    """
    patterns: dict[str, nn.Module] = {}
    wrapper: Any = None
    for attached in like:
        plain = {
            p: m for p, m in attached.replacements.items() if p in ranks and bridge.is_plain(m)
        }
        patterns = {**plain, **patterns}
        wrapper = attached.wrapper if wrapper is None and plain else wrapper
    if patterns.keys() != ranks.keys():
        return None
    paths = [path for path in slots.paths() if path in ranks]
    made = {p: bridge.copied_layer(patterns[p], slots.original(p), ranks[p]) for p in paths}
    config = bridge.config_for(spec, slots.shapes, paths, _task_type(base))
    sites = tuple(Site(path, rank=ranks[path]) for path in paths)
    layers = AdapterLayers(made, sites, wrapper=bridge.copied_wrapper(wrapper, config, paths))
    return add_trained(base, slots, spec, layers)


def _as_input(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """A quantised layer's output in the number format of its input, as the base's own returns it.

    PEFT's (IA)³ on 4 bits and AdaLoRA on 8 return float32, which the next layer in 16 bits refuses.
    """
    return output.to(inputs[0].dtype) if inputs else output


def _site(spec: AdapterSpec, path: str, layer: Any) -> Site:
    if spec.method == "ia3":
        return Site(path, scales_inputs=bool(layer.is_feedforward))
    return Site(path, rank=int(layer.r[PEFT_NAME]))


def _peft(base: BaseModel, slots: Slots, spec: AdapterSpec) -> AdapterLayers:
    """LoRA and its variants, AdaLoRA and (IA)³."""
    paths = [site.path for site in sites_of(slots.shapes, spec, base.task.head)]
    if spec.dora:
        refuse_zero_outputs(slots, paths)
    config = bridge.config_for(spec, slots.shapes, paths, _task_type(base))
    layers = peft_layers(base, slots, spec, config)
    found = set(layers.wrapper.base_model.targeted_module_names)
    if found != set(paths):
        raise AdapterError(
            f"PEFT and --targets disagree on {listed(sorted(found ^ set(paths)))}; "
            "name the modules by their paths."
        )
    if spec.init in FROM_WEIGHTS:
        for path in paths:
            init_from_weights(base, slots, spec.init, path, layers.replacements[path])
    return layers


def _task_type(base: BaseModel) -> str | None:
    return None if base.task.classifies else "CAUSAL_LM"


def refuse_zero_outputs(slots: Slots, paths: Iterable[str]) -> None:
    """Raise `AdapterError` where DoRA has no magnitude to train: m/‖V‖ would be 0/0."""
    for path in paths:
        module = slots.original(path)
        weight: Any = module.weight
        inputs = 0 if is_transposed(module) else 1
        if not quantised_bits(module) and bool((weight.detach() == 0).all(dim=inputs).any()):
            raise AdapterError(
                f"--dora on {path}: all weights of one of its outputs are 0 (for example "
                "padding of a vocabulary), so m/‖V‖ is 0/0; remove it from --targets, or omit "
                "--dora."
            )


def _recompute_magnitude(layer: Any) -> None:
    """Compute DoRA's magnitude m = ‖W0‖ again: PEFT rounds it to the base's number format, so a
    base in bfloat16 would change its output before the first step."""
    down, up = factors_of(layer)
    magnitude = layer.lora_magnitude_vector[PEFT_NAME]
    with torch.no_grad():
        magnitude.update_layer(
            base_layer=layer.get_base_layer(),
            lora_A=down,
            lora_B=up,
            scaling=layer.scaling[PEFT_NAME],
        )
    magnitude.requires_grad_(False)


def _separate_quantised(original: nn.Module, layer: Any) -> None:
    """Give DoRA on 4 bits its own base layer: PEFT replaces the weight in each forward pass."""
    if quantised_bits(original):
        layer.base_layer = shallow_copy(original)


# The methods that PEFT does not have, or not in this form


def _virtual(base: BaseModel, slots: Slots, spec: AdapterSpec) -> AdapterLayers:
    """Prefix and prompt tuning, initialised from words of the base's vocabulary."""
    model = base.model
    name = prefix.cache_name(model, METHODS[spec.method].title)
    if spec.virtual_tokens >= base.context:
        raise AdapterError(
            f"--virtual-tokens {spec.virtual_tokens}: the base's context is {base.context} tokens; "
            "use fewer, for example --virtual-tokens 10."
        )
    root: prefix.VirtualTokens
    if spec.method == "prompt":
        words = prefix.drawn_words(model, spec.virtual_tokens)
        root = prefix.Prompt(prefix.embedding(words), name)
    else:
        keys, layers, heads = prefix.drawn_cache(model, name, spec.virtual_tokens)
        root = prefix.Prefix(prefix.embedding(keys), name, layers, heads)
    return AdapterLayers({ROOT: root}, (Site(ROOT),))


def _bottlenecks(base: BaseModel, slots: Slots, spec: AdapterSpec) -> AdapterLayers:
    """Houlsby's layers and Lin's."""
    sites = sites_of(slots.shapes, spec, base.task.head)
    made: dict[str, nn.Module] = {}
    for site in sites:
        original = slots.original(site.path)
        width = width_at(slots.shapes, site.path)
        norm = spec.method == "adapter-l"
        made[site.path] = bottleneck.Bottleneck(original, width, site.rank, norm=norm)
    return AdapterLayers(made, sites)


def _none(base: BaseModel, slots: Slots, spec: AdapterSpec) -> AdapterLayers:
    """BitFit and full fine-tuning: no layers, only the base's own parameters."""
    return AdapterLayers({})


_BUILDERS: dict[str, Callable[[BaseModel, Slots, AdapterSpec], AdapterLayers]] = {
    **dict.fromkeys(("lora", "adalora", "ia3"), _peft),
    **dict.fromkeys(("prefix", "prompt"), _virtual),
    **dict.fromkeys(("houlsby", "adapter-l"), _bottlenecks),
    **dict.fromkeys(("bitfit", "full"), _none),
}
