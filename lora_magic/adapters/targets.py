"""Target modules: from names, keywords and patterns to the paths of a base model's modules.

Knows module trees and how people name parts of them; knows no adapter and no PEFT.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from lora_magic.errors import AdapterError, listed, near
from lora_magic.patterns import PatternError, matching

from .spec import ALL_LINEAR, ATTENTION, PATTERN

_ATTENTION = re.compile(r"(^|\.)\w*(attn|attention)\w*(\.|$)", re.IGNORECASE)

_ROUTER = re.compile(r"(^|\.)(\w*router|\w*expert_gate)(\.|$)", re.IGNORECASE)
_GATE = re.compile(r"(^|\.)gate(\.|$)")


def is_router(path: str, has_experts: bool) -> bool:
    """Does the module at this path choose experts? Only among experts is a `gate` a router."""
    return bool(_ROUTER.search(path) or (has_experts and _GATE.search(path)))


def expert_paths(model: nn.Module) -> set[str]:
    """The paths of the modules of experts, by their names and classes, without shared experts."""
    return {
        path
        for path, module in model.named_modules()
        if re.search(r"experts?(\.|$)", path) or type(module).__name__.endswith("Experts")
        if "shared" not in path
    }


def is_attention(path: str) -> bool:
    """Is this a part of an attention layer, by its path?"""
    return bool(_ATTENTION.search(path))


def canonical(targets: str | Iterable[str]) -> str:
    """Targets as one string: `q_proj,v_proj`, `all-linear`, `attention` or `re:PATTERN`."""
    if isinstance(targets, str) and targets.startswith(PATTERN):
        return targets
    if not isinstance(targets, Iterable) or not all(isinstance(part, str) for part in targets):
        raise AdapterError(f"targets {targets!r}: expected names, as in targets=['q_proj'].")
    parts = targets.split(",") if isinstance(targets, str) else list(targets)
    # Sorted, so that the same modules give the same spec in any order.
    return ",".join(sorted({part.strip() for part in parts if part.strip()}))


def resolve(model: nn.Module, targets: str, without: Iterable[str] = ()) -> tuple[str, ...]:
    """Paths of the modules that `targets` names, in the model's order.

    `without` are excluded: a classifier's head, which is trained in full. A name matches a path
    that equals it or ends with it after a dot, as in PEFT. Raises `AdapterError` that lists every
    name that matches nothing or a module that LoRA cannot adapt.
    """
    kinds = {path: module for path, module in model.named_modules() if path}
    skipped = set(without)
    able = {p: module for p, module in kinds.items() if carries_lora(module) and p not in skipped}
    if targets == ALL_LINEAR:
        found = _linear(model, able)
    elif targets == ATTENTION:
        found = [path for path in _linear(model, able) if is_attention(path)]
    elif targets.startswith(PATTERN):
        found = _by_pattern(targets.removeprefix(PATTERN), able)
    else:
        _refuse_parameters(model, targets.split(","))
        found = _by_names(targets.split(",") if targets else [], kinds, able)
    if not found:
        raise AdapterError(
            f"--targets {targets or '(empty)'} matches no module; possible names: "
            f"{listed(leaf_names(able))}, or all-linear, attention, re:PATTERN."
        )
    return tuple(found)


def carries_lora(module: nn.Module) -> bool:
    """Is this a linear layer, transformers' Conv1D or an embedding?"""
    return isinstance(module, nn.Linear | nn.Embedding) or is_conv1d(module)


def is_conv1d(module: nn.Module) -> bool:
    """GPT-2's linear layer, whose weight is stored transposed [in, out]."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def is_transposed(module: nn.Module) -> bool:
    """Is its weight stored as [k, d], inputs by outputs, as in Conv1D and embeddings?"""
    return is_conv1d(module) or isinstance(module, nn.Embedding)


def is_plain_lookup(module: nn.Module) -> bool:
    """Does an embedding return the rows of its input ids, possibly scaled, as PEFT's LoRA assumes?

    One with its own forward may count positions from 2, for example.
    """
    plain = type(module).forward is nn.Embedding.forward
    return plain or hasattr(module, "embed_scale")


def shape_of(module: nn.Module) -> tuple[int, int]:
    """(d, k): a target's outputs and inputs; for an embedding (dimensions, tokens)."""
    weight: Any = module.weight
    rows, columns = weight.shape
    if hasattr(module, "out_features"):
        # A quantised weight is packed; its module has the true shape.
        return int(module.out_features), int(module.in_features)  # type: ignore[arg-type]  # ints
    return (columns, rows) if is_transposed(module) else (rows, columns)


def fits(model: nn.Module, path: str, rank: int) -> bool:
    """Is a rank at most the smaller side of a target?"""
    return rank <= min(shape_of(model.get_submodule(path)))


def refuse_rank(model: nn.Module, ranks: Mapping[str, int]) -> None:
    """Raise `AdapterError` for ranks above the smaller side of their targets.

    The rank that it suggests fits every target.
    """
    large = [path for path, rank in ranks.items() if not fits(model, path, rank)]
    if large:
        most = min(min(shape_of(model.get_submodule(path))) for path in ranks)
        outputs, inputs = shape_of(model.get_submodule(large[0]))
        raise AdapterError(
            f"rank {ranks[large[0]]} exceeds the size of {large[0]} ({outputs} × {inputs}); "
            f"expected at most {most} for these targets, for example --rank {min(8, most)}."
        )


def leaf_names(paths: Iterable[str]) -> list[str]:
    """The last parts of paths, each once."""
    return list(dict.fromkeys(path.rpartition(".")[2] for path in paths))


def shortest(model: nn.Module, found: Sequence[str]) -> list[str]:
    """Names for PEFT's config that match exactly these paths: last parts where that is enough."""
    leaves = leaf_names(found)
    matched = [p for p, _ in model.named_modules() if p and p.rpartition(".")[2] in leaves]
    return sorted(leaves) if set(matched) == set(found) else list(found)


def _linear(model: nn.Module, able: dict[str, nn.Module]) -> list[str]:
    """Every linear layer but the output head, as in QLoRA (Dettmers et al. 2023).

    Routers are left out: an adapter there would change which experts are chosen.
    """
    output: Any = getattr(model, "get_output_embeddings", lambda: None)
    head, has_experts = output(), bool(expert_paths(model))
    return [
        path
        for path, module in able.items()
        if not isinstance(module, nn.Embedding)
        and module is not head
        and not is_router(path, has_experts)
    ]


def _by_pattern(pattern: str, able: dict[str, nn.Module]) -> list[str]:
    try:
        return matching(pattern, able)
    except PatternError as error:
        raise AdapterError(
            f"--targets re:{pattern[:80]}: the regular expression cannot be used ({error}); "
            r"for example: --targets re:.*layers\.[0-3]\..*q_proj"
        ) from None


def _by_names(
    names: Sequence[str], kinds: dict[str, nn.Module], able: dict[str, nn.Module]
) -> list[str]:
    faults = [fault for name in names if (fault := _fault(name, kinds, able))]
    if faults:
        raise AdapterError(
            "; ".join(faults) + f". Possible names: {listed(leaf_names(able))}, "
            "or all-linear, attention, re:PATTERN."
        )
    return [path for path in able if any(ends_with(path, name) for name in names)]


def _refuse_parameters(model: nn.Module, names: Iterable[str]) -> None:
    """Raise `AdapterError` for a name of parameters, or of a module that holds 3D parameters."""
    large = [path for path, value in model.named_parameters() if value.dim() == 3]
    modules = {path for path, _ in model.named_modules()}
    for name in names:
        found = [p for p in large if ends_with(p, name) or ends_with(p.rpartition(".")[0], name)]
        if found and not (found[0] in modules or _is_conv(model, found[0])):
            raise AdapterError(
                f"target {name!r}: {found[0]} is a 3D parameter (one matrix for each expert), "
                "which LoRA does not adapt here; name linear layers, for example --targets "
                "attention, or use --method full"
            )


def _is_conv(model: nn.Module, path: str) -> bool:
    return "Conv" in type(model.get_submodule(path.rpartition(".")[0])).__name__


def ends_with(path: str, name: str) -> bool:
    """Is this the path, or its last parts? PEFT matches targets this way."""
    return path == name or path.endswith(f".{name}")


def _fault(name: str, kinds: dict[str, nn.Module], able: dict[str, nn.Module]) -> str | None:
    matched = [path for path in kinds if ends_with(path, name)]
    if any(path in able for path in matched):
        return None
    if matched:
        kind = type(kinds[matched[0]]).__name__
        return f"target {name!r} is {kind}, which LoRA cannot adapt"
    options = [*leaf_names(able), ALL_LINEAR, ATTENTION]
    hint = near(name, options).strip()
    return f"target {name!r} matches no module" + (f" ({hint})" if hint else "")
