"""Where each method acts on a model: its modules, and the parameters of the base that it trains.

Knows shapes and specs, so a config alone is enough; knows no base, no slots and no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from lora_magic.errors import AdapterError, listed
from lora_magic.patterns import PatternError, matching

from .shapes import EMBEDDING, ROOT, ModuleShape, Shapes
from .spec import ALL_LINEAR, ATTENTION, USUAL, AdapterSpec, first_rank, flag_of
from .targets import ends_with, fits, is_attention, leaf_names, refuse_rank, resolve

_NORM = re.compile(r"norm|^ln(_|\d|$)", re.IGNORECASE)

#: Inits that compute A and B from W0.
FROM_WEIGHTS = ("pissa", "olora", "loftq")


class Site(NamedTuple):
    """One module that gets a method's layer.

    `rank` is that of A and B or of a bottleneck, 0 where there is none; `scales_inputs` is whether
    (IA)³ scales its inputs instead of its outputs.
    """

    path: str
    rank: int = 0
    scales_inputs: bool = False


def sites_of(shapes: Shapes, spec: AdapterSpec, head: Iterable[str] = ()) -> tuple[Site, ...]:
    """The sites of a spec's layers, in the model's order, without a classifier's `head`.

    Raises `AdapterError` for targets that match nothing or that the method cannot adapt, and for a
    rank beyond a target's size.
    """
    if spec.method in ("prefix", "prompt"):
        return (Site(ROOT),)
    if spec.method in ("houlsby", "adapter-l"):
        paths = _bottlenecks(shapes, spec, head)
    elif spec.method in ("lora", "adalora", "ia3"):
        paths = _matrices(shapes, spec, head)
    else:
        paths = ()
    if spec.method == "ia3":
        return tuple(Site(path, scales_inputs=not is_attention(path)) for path in paths)
    return tuple(Site(path, rank_at(spec, path)) for path in paths)


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
    shapes: Shapes, spec: AdapterSpec, sites: Iterable[Site], head: Iterable[str] = ()
) -> dict[str, list[str]]:
    """The base's own parameters that are trained, by module path: biases, norms, the head, or all.

    Raises `AdapterError` if the model has none of those that the spec names.
    """
    found: dict[str, list[str]] = {}
    for part in _trained_parts(shapes, spec, {site.path for site in sites}, tuple(head)):
        for path, names in part.items():
            known = found.setdefault(path, names)
            if known is not names:
                found[path] = [*known, *(name for name in names if name not in known)]
    return found


def _trained_parts(
    shapes: Shapes, spec: AdapterSpec, targets: set[str], head: tuple[str, ...]
) -> Iterator[Mapping[str, list[str]]]:
    if spec.method == "full":
        yield _everything(shapes)
    if spec.method == "bitfit" or spec.bias != "none":
        found = biases(shapes, head)
        if not found:
            bitfit = spec.method == "bitfit"
            raise AdapterError(
                f"{shapes.architecture} has no biases (like most models since Llama), so "
                f"{'BitFit' if bitfit else '--bias'} has nothing to train; "
                + ("use another method, for example --method ia3." if bitfit else "omit --bias.")
            )
        if spec.bias == "lora_only":
            found = {path: names for path, names in found.items() if path in targets}
        if not found:
            raise AdapterError("--bias lora_only: no target has a bias; omit --bias.")
        yield found
    if spec.norms:
        found = norms(shapes)
        if not found:
            raise AdapterError(
                f"--norms: {shapes.architecture} has no norm with parameters; omit --norms."
            )
        yield found
    yield {path: shapes.modules[path].names for path in head}


def biases(shapes: Shapes, without: Iterable[str] = ()) -> dict[str, list[str]]:
    """Every bias by module path, except those of the modules in `without`."""
    skipped = set(without)
    found = {
        path: [name for name in module.names if name == "bias" or name.endswith("_bias")]
        for path, module in _owned(shapes)
        if path not in skipped
    }
    return {path: names for path, names in found.items() if names}


def norms(shapes: Shapes) -> dict[str, list[str]]:
    """Every parameter of every norm by module path."""
    return {
        path: module.names
        for path, module in _owned(shapes)
        if _NORM.search(module.class_name) or _NORM.search(path.rpartition(".")[2])
    }


def _everything(shapes: Shapes) -> dict[str, list[str]]:
    """Every parameter by module path. Raises `AdapterError` for a quantised model."""
    for path, module in _owned(shapes):
        if module.bits:
            raise AdapterError(
                f"{path} is quantised ({module.class_name}), so it has no gradient; load the "
                "base without --bits for --method full, or use --method lora."
            )
    return {path: module.names for path, module in _owned(shapes)}


def _owned(shapes: Shapes) -> Iterator[tuple[str, ModuleShape]]:
    """The modules that own parameters, by path."""
    return ((path, m) for path, m in shapes.modules.items() if path and m.parameters)


def _bottlenecks(shapes: Shapes, spec: AdapterSpec, head: Iterable[str]) -> tuple[str, ...]:
    if spec.targets != USUAL:
        return resolve(shapes, spec.targets, head)
    return after_projections(shapes) if spec.method == "houlsby" else blocks(shapes)


def blocks(shapes: Shapes) -> tuple[str, ...]:
    """Lin's sites: the model's blocks. Raises `AdapterError` for a model without them."""
    if not shapes.blocks:
        raise AdapterError(
            f"{shapes.architecture} has no list of identical blocks for bottlenecks; name the "
            "modules: --targets o_proj,down_proj"
        )
    return shapes.blocks


def after_projections(shapes: Shapes) -> tuple[str, ...]:
    """Houlsby's sites: in each block the attention's and the feed-forward's output projection.

    Each is the last linear layer of its part with as many outputs as the residual stream is wide.
    Raises `AdapterError` for a block where one of the two is not found.
    """
    last: dict[tuple[str, bool], str] = {}
    for path, block in _in_blocks(shapes):
        module = shapes.modules[path]
        if module.carries_lora and module.kind != EMBEDDING and module.sides[0] == shapes.width:
            last[block, is_attention(path.removeprefix(block))] = path
    for block in shapes.blocks:
        for attention, missing in ((True, "attention"), (False, "feed-forward")):
            if (block, attention) not in last:
                raise AdapterError(
                    f"{block} has no {missing} output projection (a linear layer with "
                    f"{shapes.width} outputs); name the modules: --targets o_proj,down_proj"
                )
    return tuple(last[block, part] for block in blocks(shapes) for part in (True, False))


def _in_blocks(shapes: Shapes) -> Iterator[tuple[str, str]]:
    """The modules within blocks, each with its block's path."""
    known = set(shapes.blocks)
    depth = shapes.blocks[0].count(".") + 1 if known else 0
    for path in shapes.modules:
        block = ".".join(path.split(".")[:depth])
        if block in known and path != block:
            yield path, block


def _matrices(shapes: Shapes, spec: AdapterSpec, head: Iterable[str]) -> tuple[str, ...]:
    chosen = spec.method == "ia3" and spec.targets == USUAL
    paths = resolve(shapes, _scaled(shapes) if chosen else spec.targets, head)
    if spec.rank:
        paths = _adaptable(shapes, spec, paths)
    _refuse_patterns(paths, spec)
    embeddings = [path for path in paths if shapes.modules[path].kind == EMBEDDING]
    if embeddings and (spec.method != "lora" or spec.init in (*FROM_WEIGHTS, "eva")):
        raise AdapterError(
            f"{embeddings[0]} is an embedding, which {spec.variant} cannot adapt; "
            "plain LoRA can: --method lora"
        )
    own = [path for path in embeddings if not shapes.modules[path].plain_lookup]
    if own:
        raise AdapterError(
            f"{own[0]} is {shapes.modules[own[0]].class_name}, an embedding that looks up "
            "other rows than those of its input ids, which LoRA does not support; remove it from "
            "--targets, or use --method full"
        )
    eight = [path for path in paths if shapes.modules[path].bits == 8]
    if spec.dora and eight:
        raise AdapterError(
            f"--dora on {eight[0]} in 8 bits: PEFT's DoRA fails in the backward pass; load the "
            "base with --bits 4 or without --bits, or omit --dora."
        )
    return paths


def _adaptable(shapes: Shapes, spec: AdapterSpec, paths: Sequence[str]) -> tuple[str, ...]:
    """The targets without those that LoRA cannot adapt, which are refused if they were named.

    A rank can exceed the size of a small layer, such as a state-space model's; PEFT renames or
    refuses some layers.
    """
    # AdaLoRA's final rank: its initial one may exceed the size of a small module.
    ranks = {p: spec.rank if spec.method == "adalora" else rank_at(spec, p) for p in paths}
    refused = {n: why for n in leaf_names(paths) if (why := shapes.refused.get(n, ""))}
    allowed = [path for path in paths if path.rpartition(".")[2] not in refused]
    if spec.targets in (ALL_LINEAR, ATTENTION):
        kept = tuple(path for path in allowed if fits(shapes, path, ranks[path]))
        if kept:
            return kept
    elif refused:
        raise AdapterError(f"--targets {spec.targets}: {'; '.join(refused.values())}.")
    refuse_rank(shapes, {path: ranks[path] for path in allowed or paths})
    return tuple(paths)


def _scaled(shapes: Shapes) -> str:
    """The modules that (IA)³ scales in this architecture, as targets."""
    if not shapes.scaled:
        raise AdapterError(
            f"PEFT does not list which modules (IA)³ scales in {shapes.architecture}; name keys, "
            "values and the feed-forward's inner output: --targets k_proj,v_proj,down_proj"
        )
    return ",".join(shapes.scaled)


def _refuse_patterns(paths: Iterable[str], spec: AdapterSpec) -> None:
    """Raise `AdapterError` for a pattern that names no target: PEFT would ignore it."""
    for flag in ("rank_pattern", "alpha_pattern"):
        for name, value in getattr(spec, flag):
            if not any(ends_with(path, name) for path in paths):
                raise AdapterError(
                    f"--{flag_of(flag)} {name}={value:g}: no target ends with {name!r}; "
                    f"targets: {listed(paths, 4)}."
                )
