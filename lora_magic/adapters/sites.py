"""Where each method acts on a model: its modules, and the parameters of the base that it trains.

Knows module trees and specs; allocates nothing, so a model on the meta device is enough. Knows no
base, no slots and no session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lora_magic.base.quantise import quantised_bits
from lora_magic.errors import AdapterError, listed
from lora_magic.patterns import PatternError, matching

from . import bottleneck, bridge, trainable_copy
from .slots import ROOT
from .spec import ALL_LINEAR, ATTENTION, USUAL, AdapterSpec, first_rank, flag_of
from .targets import (
    ends_with,
    fits,
    is_attention,
    is_plain_lookup,
    is_transposed,
    leaf_names,
    refuse_rank,
    resolve,
)

#: Inits that compute A and B from W0.
FROM_WEIGHTS = ("pissa", "olora", "loftq")


@dataclass(frozen=True)
class Site:
    """One module that gets a method's layer.

    `rank` is that of A and B or of a bottleneck, 0 where there is none; `scales_inputs` is whether
    (IA)³ scales its inputs instead of its outputs.
    """

    path: str
    rank: int = 0
    scales_inputs: bool = False


def sites_of(model: nn.Module, spec: AdapterSpec, head: Iterable[str] = ()) -> tuple[Site, ...]:
    """The sites of a spec's layers, in the model's order, without a classifier's `head`.

    Raises `AdapterError` for targets that match nothing or that the method cannot adapt, and for a
    rank beyond a target's size.
    """
    if spec.method in ("prefix", "prompt"):
        return (Site(ROOT),)
    if spec.method in ("houlsby", "adapter-l"):
        paths = _bottlenecks(model, spec, head)
    elif spec.method in ("lora", "adalora", "ia3"):
        paths = _matrices(model, spec, head)
    else:
        paths = ()
    return tuple(Site(path, rank_at(spec, path), not is_attention(path)) for path in paths)


def rank_at(spec: AdapterSpec, path: str) -> int:
    """The rank at one target: that of the pattern that names it, matched as PEFT does, else the
    spec's. AdaLoRA's is its initial rank."""
    for name, rank in spec.rank_pattern:
        try:
            if matching(rf"(.*\.)?({name})", [path]):
                return int(rank)
        except PatternError as error:
            raise AdapterError(
                f"rank pattern {name[:60]!r}: {error}; for example: --rank-pattern q_proj=16"
            ) from None
    return first_rank(spec.rank) if spec.method == "adalora" else spec.rank


def trained_parameters(
    model: nn.Module, spec: AdapterSpec, sites: Iterable[Site], head: Iterable[str] = ()
) -> dict[str, list[str]]:
    """The base's own parameters that are trained, by module path: biases, norms, the head, or all.

    Raises `AdapterError` if the model has none of those that the spec names.
    """
    found: dict[str, dict[str, None]] = {}
    for part in _trained_parts(model, spec, {site.path for site in sites}, tuple(head)):
        for path, names in part.items():
            found.setdefault(path, {}).update(dict.fromkeys(names))
    return {path: list(names) for path, names in found.items()}


def _trained_parts(
    model: nn.Module, spec: AdapterSpec, targets: set[str], head: tuple[str, ...]
) -> Iterator[Mapping[str, list[str]]]:
    if spec.method == "full":
        yield trainable_copy.everything(model)
    if spec.method == "bitfit" or spec.bias != "none":
        biases = trainable_copy.biases(model, head)
        if not biases:
            bitfit = spec.method == "bitfit"
            raise AdapterError(
                f"{type(model).__name__} has no biases (like most models since Llama), so "
                f"{'BitFit' if bitfit else '--bias'} has nothing to train; "
                + ("type: %lora attach NAME --method ia3" if bitfit else "omit --bias.")
            )
        if spec.bias == "lora_only":
            biases = {path: names for path, names in biases.items() if path in targets}
        if not biases:
            raise AdapterError("--bias lora_only: no target has a bias; omit --bias.")
        yield biases
    if spec.norms:
        norms = trainable_copy.norms(model)
        if not norms:
            raise AdapterError(
                f"--norms: {type(model).__name__} has no norm with parameters; omit --norms."
            )
        yield norms
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
    paths = resolve(model, _scaled(model) if chosen else spec.targets, head)
    if spec.rank:
        paths = _adaptable(model, spec, paths)
    _refuse_patterns(paths, spec)
    embeddings = [p for p in paths if isinstance(model.get_submodule(p), nn.Embedding)]
    if embeddings and (spec.method != "lora" or spec.init in (*FROM_WEIGHTS, "eva")):
        raise AdapterError(
            f"{embeddings[0]} is an embedding, which {spec.variant} cannot adapt; "
            "plain LoRA can: --method lora"
        )
    own = [path for path in embeddings if not is_plain_lookup(model.get_submodule(path))]
    if own:
        raise AdapterError(
            f"{own[0]} is {type(model.get_submodule(own[0])).__name__}, an embedding that looks up "
            "other rows than those of its input ids, which LoRA does not support; remove it from "
            "--targets, or use --method full"
        )
    if spec.dora:
        _refuse_dora(model, paths)
    return paths


def _adaptable(model: nn.Module, spec: AdapterSpec, paths: Sequence[str]) -> tuple[str, ...]:
    """The targets without those that LoRA cannot adapt, which are refused if they were named.

    A rank can exceed the size of a small layer, such as a state-space model's; PEFT renames or
    refuses some layers.
    """
    # AdaLoRA's final rank: its initial one may exceed the size of a small module.
    ranks = {p: spec.rank if spec.method == "adalora" else rank_at(spec, p) for p in paths}
    refused = bridge.refused(model, leaf_names(paths))
    allowed = [path for path in paths if path.rpartition(".")[2] not in refused]
    if spec.targets in (ALL_LINEAR, ATTENTION):
        kept = tuple(path for path in allowed if fits(model, path, ranks[path]))
        if kept:
            return kept
    elif refused:
        raise AdapterError(f"--targets {spec.targets}: {'; '.join(refused.values())}.")
    refuse_rank(model, {path: ranks[path] for path in allowed or paths})
    return tuple(paths)


def _refuse_dora(model: nn.Module, paths: Iterable[str]) -> None:
    """Raise `AdapterError` where DoRA has no magnitude to train, or where PEFT's DoRA fails."""
    for path in paths:
        module = model.get_submodule(path)
        bits = quantised_bits(module)
        if bits == 8:
            raise AdapterError(
                f"--dora on {path} in 8 bits: PEFT's DoRA fails in the backward pass; load the "
                "base with --bits 4 or without --bits, or omit --dora."
            )
        weight: Any = module.weight
        # On the meta device there are no values.
        if bits is None and not weight.is_meta and _has_zero_output(module, weight):
            raise AdapterError(
                f"--dora on {path}: all weights of one of its outputs are 0 (for example "
                "padding of a vocabulary), so m/‖V‖ is 0/0; remove it from --targets, or omit "
                "--dora."
            )


def _has_zero_output(module: nn.Module, weight: Tensor) -> bool:
    return bool((weight.detach() == 0).all(dim=0 if is_transposed(module) else 1).any())


def _scaled(model: nn.Module) -> str:
    """The modules that (IA)³ scales in this architecture, as targets."""
    found = bridge.usual_targets(model)
    if not found:
        raise AdapterError(
            f"PEFT does not list which modules (IA)³ scales in {type(model).__name__}; name keys, "
            "values and the feed-forward's inner output: --targets k_proj,v_proj,down_proj"
        )
    return ",".join(found)


def _refuse_patterns(paths: Iterable[str], spec: AdapterSpec) -> None:
    """Raise `AdapterError` for a pattern that names no target: PEFT would ignore it."""
    for flag in ("rank_pattern", "alpha_pattern"):
        for name, value in getattr(spec, flag):
            if not any(ends_with(path, name) for path in paths):
                raise AdapterError(
                    f"--{flag_of(flag)} {name}={value:g}: no target ends with {name!r}; "
                    f"targets: {listed(paths, 4)}."
                )
