"""Where each method goes on a model: the layers that it stands for, and what of the base it trains.

Knows module trees and specs; allocates nothing, so that a model on the meta device will do. Knows
no base, no slots and no session.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lora_magic.base.quantise import quantised_bits
from lora_magic.errors import AdapterError, listed

from . import bottleneck, bridge, trainable_copy
from .slots import ROOT
from .spec import USUAL, AdapterSpec, first_rank
from .targets import is_attention, is_conv1d, looks_up_plainly, refuse_rank, resolve

#: Inits that compute A and B from W0.
FROM_WEIGHTS = ("pissa", "olora", "loftq")


@dataclass(frozen=True)
class Layer:
    """One layer that a method puts into the slot at `path`.

    `rank` is that of A and B or of a bottleneck, 0 where there is none; `inner` is whether (IA)³
    scales its inputs and not its outputs.
    """

    path: str
    rank: int = 0
    inner: bool = False


def layers_of(model: nn.Module, spec: AdapterSpec, head: Iterable[str] = ()) -> tuple[Layer, ...]:
    """The layers of a spec, in the model's order; `head` is a classifier's, which is left out.

    Raises `AdapterError` for targets that match nothing or that the method cannot take, and for a
    rank beyond a target's size.
    """
    if spec.method in ("prefix", "prompt"):
        return (Layer(ROOT),)
    if spec.method in ("houlsby", "adapter-l"):
        paths = _bottlenecks(model, spec, head)
    elif spec.method in ("lora", "adalora", "ia3"):
        paths = _matrices(model, spec, head)
    else:
        paths = ()
    return tuple(Layer(path, rank_of(spec, path), not is_attention(path)) for path in paths)


def rank_of(spec: AdapterSpec, path: str) -> int:
    """The rank at one target: that of the pattern that names it, as PEFT finds it, else the
    spec's; AdaLoRA's is the one that it begins with."""
    for name, rank in spec.rank_pattern:
        if re.fullmatch(rf"(.*\.)?({name})", path):
            return int(rank)
    return first_rank(spec.rank) if spec.method == "adalora" else spec.rank


def own_of(
    model: nn.Module, spec: AdapterSpec, layers: Iterable[Layer], head: Iterable[str] = ()
) -> dict[str, list[str]]:
    """Parameters of the base that are trained themselves, by module path: biases, norms, the head,
    or all of them. Raises `AdapterError` where there is none of what the spec asks for."""
    found: dict[str, dict[str, None]] = {}
    for part in _own_parts(model, spec, {layer.path for layer in layers}, tuple(head)):
        for path, names in part.items():
            found.setdefault(path, {}).update(dict.fromkeys(names))
    return {path: list(names) for path, names in found.items()}


def _own_parts(
    model: nn.Module, spec: AdapterSpec, targets: set[str], head: tuple[str, ...]
) -> Iterable[Mapping[str, list[str]]]:
    if spec.method == "full":
        yield trainable_copy.everything(model)
    if spec.method == "bitfit" or spec.bias == "all":
        yield trainable_copy.biases(model, head)
    if spec.bias == "lora_only":
        own = {path: n for path, n in trainable_copy.biases(model, head).items() if path in targets}
        if not own:
            raise AdapterError("--bias lora_only: no target has a bias; leave the flag away.")
        yield own
    if spec.norms:
        yield trainable_copy.norms(model)
    yield {path: _parameters(model.get_submodule(path)) for path in head}


def _parameters(module: nn.Module) -> list[str]:
    return [name for name, value in module._parameters.items() if value is not None]


def _bottlenecks(model: nn.Module, spec: AdapterSpec, head: Iterable[str]) -> tuple[str, ...]:
    if spec.targets != USUAL:
        return resolve(model, spec.targets, head)
    if spec.method == "houlsby":
        return tuple(bottleneck.after_projections(model, bottleneck.width_of(model)))
    return tuple(bottleneck.blocks(model))


def _matrices(model: nn.Module, spec: AdapterSpec, head: Iterable[str]) -> tuple[str, ...]:
    chosen = spec.method == "ia3" and spec.targets == USUAL
    wanted = _scaled(model) if chosen else spec.targets
    paths = resolve(model, wanted, head)
    _refuse_patterns(paths, spec)
    for path in paths if spec.rank else ():
        # What AdaLoRA ends with: it may begin with more than a small module has.
        refuse_rank(model, [path], spec.rank if spec.method == "adalora" else rank_of(spec, path))
    embeddings = [p for p in paths if isinstance(model.get_submodule(p), nn.Embedding)]
    if embeddings and (spec.method != "lora" or spec.init in (*FROM_WEIGHTS, "eva")):
        raise AdapterError(
            f"{embeddings[0]} is an embedding, which {spec.words} cannot adapt; "
            "plain LoRA can: --method lora"
        )
    own = [path for path in embeddings if not looks_up_plainly(model.get_submodule(path))]
    if own:
        raise AdapterError(
            f"{own[0]} is {type(model.get_submodule(own[0])).__name__}, an embedding that looks up "
            "other rows than it is asked for, which LoRA cannot follow; leave it out of --targets, "
            "or use --method full"
        )
    if spec.dora:
        _refuse_dora(model, paths)
    return paths


def _refuse_dora(model: nn.Module, paths: Iterable[str]) -> None:
    """Raise `AdapterError` where DoRA has no magnitude to train, or PEFT's breaks."""
    for path in paths:
        module = model.get_submodule(path)
        bits = quantised_bits(module)
        if bits == 8:
            raise AdapterError(
                f"--dora on {path} in 8 bits: PEFT's DoRA breaks there in the backward pass; load "
                "the base with --bits 4 or without, or leave --dora away."
            )
        weight: Any = module.weight
        # On the meta device there is nothing to look at.
        if bits is None and not weight.is_meta and _has_zero_output(module, weight):
            raise AdapterError(
                f"--dora on {path}: an output of it has weights that are all 0 (the padding of a "
                "vocabulary, say), and m/‖V‖ would be 0/0; leave it out of --targets, or leave "
                "--dora away."
            )


def _has_zero_output(module: nn.Module, weight: Tensor) -> bool:
    kept_transposed = is_conv1d(module) or isinstance(module, nn.Embedding)
    return bool((weight.detach() == 0).all(dim=0 if kept_transposed else 1).any())


def _scaled(model: nn.Module) -> str:
    """What (IA)³ scales in this architecture."""
    found = bridge.usual_targets(model)
    if not found:
        raise AdapterError(
            f"which modules (IA)³ scales in {type(model).__name__} is not known; name keys, "
            "values and the feed-forward's inner output: --targets k_proj,v_proj,down_proj"
        )
    return ",".join(found)


def _refuse_patterns(paths: Iterable[str], spec: AdapterSpec) -> None:
    """Raise `AdapterError` for a pattern that names none of the targets: PEFT passes it over."""
    patterns: dict[str, Any] = {
        "rank-pattern": spec.rank_pattern,
        "alpha-pattern": spec.alpha_pattern,
    }
    for flag, pattern in patterns.items():
        for name, value in pattern:
            if not any(path == name or path.endswith(f".{name}") for path in paths):
                raise AdapterError(
                    f"--{flag} {name}={value:g}: no target ends with {name!r}; "
                    f"targets: {listed(paths, 4)}."
                )
