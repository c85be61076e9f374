"""Target modules: from names, keywords and patterns to the paths of a model's modules.

Knows shapes and how people name parts of a model; knows no adapter, no PEFT and no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lora_magic.errors import AdapterError, listed, near
from lora_magic.patterns import PatternError, matching

from .shapes import EMBEDDING, ROOT, ModuleShape, Shapes
from .spec import ALL_LINEAR, ATTENTION, PATTERN


def is_router(path: str, has_experts: bool) -> bool:
    """Does the module at this path choose experts? Only among experts is a `gate` a router."""
    parts = f".{path}."
    lowered = parts.lower()
    named = "router." in lowered or "expert_gate." in lowered
    return named or (has_experts and ".gate." in parts)


def is_attention(path: str) -> bool:
    """Is this a part of an attention layer, by its path?"""
    lowered = path.lower()
    return "attn" in lowered or "attention" in lowered


def canonical(targets: str | Iterable[str]) -> str:
    """Targets as one string: `q_proj,v_proj`, `all-linear`, `attention` or `re:PATTERN`."""
    if isinstance(targets, str) and targets.startswith(PATTERN):
        return targets
    if not isinstance(targets, Iterable) or not all(isinstance(part, str) for part in targets):
        raise AdapterError(f"targets {targets!r}: expected names, as in targets=['q_proj'].")
    parts = targets.split(",") if isinstance(targets, str) else list(targets)
    # Sorted, so that the same modules give the same spec in any order.
    return ",".join(sorted({part.strip() for part in parts if part.strip()}))


def resolve(shapes: Shapes, targets: str, without: Iterable[str] = ()) -> tuple[str, ...]:
    """Paths of the modules that `targets` names, in the model's order.

    `without` are excluded: a classifier's head, which is trained in full. A name matches a path
    that equals it or ends with it after a dot, as in PEFT. Raises `AdapterError` that lists every
    name that matches nothing or a module that LoRA cannot adapt.
    """
    skipped = {ROOT, *without}
    able = {p: m for p, m in shapes.modules.items() if m.carries_lora and p not in skipped}
    if targets == ALL_LINEAR:
        found = _linear(shapes, able)
    elif targets == ATTENTION:
        found = [path for path in _linear(shapes, able) if is_attention(path)]
    elif targets.startswith(PATTERN):
        found = _by_pattern(targets.removeprefix(PATTERN), able)
    else:
        _refuse_parameters(shapes, targets.split(","))
        found = _by_names(targets.split(",") if targets else [], shapes.modules, able)
    if not found:
        raise AdapterError(
            f"--targets {targets or '(empty)'} matches no module; possible names: "
            f"{listed(leaf_names(able))}, or all-linear, attention, re:PATTERN."
        )
    return tuple(found)


def fits(shapes: Shapes, path: str, rank: int) -> bool:
    """Is a rank at most the smaller side of a target?"""
    return rank <= min(shapes.modules[path].sides)


def refuse_rank(shapes: Shapes, ranks: Mapping[str, int]) -> None:
    """Raise `AdapterError` for ranks above the smaller side of their targets.

    The rank that it suggests fits every target.
    """
    large = [path for path, rank in ranks.items() if not fits(shapes, path, rank)]
    if large:
        most = min(min(shapes.modules[path].sides) for path in ranks)
        outputs, inputs = shapes.modules[large[0]].sides
        raise AdapterError(
            f"rank {ranks[large[0]]} exceeds the size of {large[0]} ({outputs} × {inputs}); "
            f"expected at most {most} for these targets, for example --rank {min(8, most)}."
        )


def leaf_names(paths: Iterable[str]) -> list[str]:
    """The last parts of paths, each once."""
    return list(dict.fromkeys(path.rpartition(".")[2] for path in paths))


def shortest(shapes: Shapes, found: Sequence[str]) -> list[str]:
    """Names for PEFT's config that match exactly these paths: last parts where that is enough."""
    leaves = leaf_names(found)
    matched = [path for path in shapes.modules if path and path.rpartition(".")[2] in leaves]
    return sorted(leaves) if set(matched) == set(found) else list(found)


def _linear(shapes: Shapes, able: Mapping[str, ModuleShape]) -> list[str]:
    """Every linear layer but the output head, as in QLoRA (Dettmers et al. 2023).

    Routers are left out: an adapter there would change which experts are chosen.
    """
    return [
        path
        for path, module in able.items()
        if module.kind != EMBEDDING
        and path != shapes.output
        and not is_router(path, bool(shapes.experts))
    ]


def _by_pattern(pattern: str, able: Mapping[str, ModuleShape]) -> list[str]:
    try:
        return matching(pattern, able)
    except PatternError as error:
        raise AdapterError(
            f"--targets re:{pattern[:80]}: the regular expression cannot be used ({error}); "
            r"for example: --targets re:.*layers\.[0-3]\..*q_proj"
        ) from None


def _by_names(
    names: Sequence[str], modules: Mapping[str, ModuleShape], able: Mapping[str, ModuleShape]
) -> list[str]:
    faults = [fault for name in names if (fault := _fault(name, modules, able))]
    if faults:
        raise AdapterError(
            "; ".join(faults) + f". Possible names: {listed(leaf_names(able))}, "
            "or all-linear, attention, re:PATTERN."
        )
    return [path for path in able if any(ends_with(path, name) for name in names)]


def _refuse_parameters(shapes: Shapes, names: Iterable[str]) -> None:
    """Raise `AdapterError` for a name of parameters, or of a module that holds 3D parameters."""
    large = [
        f"{path}.{name}"
        for path, module in shapes.modules.items()
        for name, shape in module.parameters
        # The kernel of a convolution is no matrix of an expert.
        if len(shape) == 3 and "Conv" not in module.class_name
    ]
    for name in names:
        found = [p for p in large if ends_with(p, name) or ends_with(p.rpartition(".")[0], name)]
        if found:
            raise AdapterError(
                f"target {name!r}: {found[0]} is a 3D parameter (one matrix for each expert), "
                "which LoRA does not adapt here; name linear layers, for example --targets "
                "attention, or use --method full"
            )


def ends_with(path: str, name: str) -> bool:
    """Is this the path, or its last parts? PEFT matches targets this way."""
    return path.endswith(name) and (path == name or path.endswith(f".{name}"))


def _fault(
    name: str, modules: Mapping[str, ModuleShape], able: Mapping[str, ModuleShape]
) -> str | None:
    matched = [path for path in modules if path and ends_with(path, name)]
    if any(path in able for path in matched):
        return None
    if matched:
        kind = modules[matched[0]].class_name or "a group of modules"
        return f"target {name!r} is {kind}, which LoRA cannot adapt"
    options = [*leaf_names(able), ALL_LINEAR, ATTENTION]
    hint = near(name, options).strip()
    return f"target {name!r} matches no module" + (f" ({hint})" if hint else "")
