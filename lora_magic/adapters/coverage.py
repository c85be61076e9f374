"""Which of the base's weights an adapter leaves out, by kind: experts, embeddings, norms.

Knows module trees and shapes; knows no method.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from lora_magic.base.quantise import count
from lora_magic.numbers import percent

from .targets import expert_paths, is_router

#: The kind of experts whose matrices are stacked in one parameter.
EXPERTS = "experts"

#: Kinds and their numbers of weights, largest first.
Parts = tuple[tuple[str, int], ...]

#: The share of the weights from which the receipt's own line names the experts.
_LARGE = 0.1


def left_out(model: nn.Module, paths: Collection[str]) -> Parts:
    """The weights outside the modules at `paths`, by kind, each counted once."""
    output: Any = getattr(model, "get_output_embeddings", lambda: None)()
    experts, adapted = expert_paths(model), set(paths)
    seen = {id(p) for path in adapted for p in model.get_submodule(path).parameters()}
    found: dict[str, int] = {}
    for path, module in model.named_modules():
        for parameter in module._parameters.values():
            if parameter is None or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            kind = "output layer" if module is output else _kind(path, module, parameter, experts)
            found[kind] = found.get(kind, 0) + count(parameter)
    return tuple(sorted(found.items(), key=lambda item: -item[1]))


def _kind(path: str, module: nn.Module, parameter: Tensor, experts: Collection[str]) -> str:
    if isinstance(module, nn.Embedding):
        return "embeddings"
    if is_router(path, bool(experts)):
        return "routers"
    if path in experts and any(p.dim() == 3 for p in module.parameters(recurse=False)):
        return EXPERTS
    matrix = parameter.dim() > 1 or count(parameter) != parameter.numel()
    return "other matrices" if matrix else "norms and biases"


def described(parts: Parts, total: int) -> str:
    """`experts 75.1%, embeddings 12.2%`: shares of all weights."""
    return ", ".join(f"{kind} {percent(size / total)}" for kind, size in parts)


def remark(parts: Parts, total: int) -> str:
    """What to say of the experts if many of the weights are theirs; "" if few are."""
    share = dict(parts).get(EXPERTS, 0) / total
    if share < _LARGE:
        return ""
    return (
        f"left out: experts, {percent(share)} of the weights, 3D parameters that LoRA does not "
        "adapt here"
    )
