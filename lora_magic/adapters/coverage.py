"""Which of the base's weights an adapter leaves out, by kind: experts, embeddings, norms.

Knows shapes; knows no method and no torch.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from lora_magic.numbers import percent

from .shapes import EMBEDDING, ModuleShape, Shapes
from .targets import is_router

#: The kind of experts whose matrices are stacked in one parameter.
EXPERTS = "experts"

#: Kinds and their numbers of weights, largest first.
Parts = tuple[tuple[str, int], ...]

#: The share of the weights from which the receipt's own line names the experts.
_LARGE = 0.1


def left_out(shapes: Shapes, paths: Collection[str]) -> Parts:
    """The weights outside the modules at `paths`, by kind, each counted once."""
    adapted = set(paths)
    inside = {path for path in shapes.modules if not adapted.isdisjoint(_above(path))}
    seen = {shapes.first(path, n) for path in inside for n in shapes.modules[path].names}
    found: dict[str, int] = {}
    for path, name, shape in shapes.owned:
        if shapes.first(path, name) not in seen:
            kind = _kind(shapes, shapes.modules[path], shape)
            found[kind] = found.get(kind, 0) + math.prod(shape)
    return tuple(sorted(found.items(), key=lambda item: -item[1]))


def _above(path: str) -> list[str]:
    """A path and those of the modules that it is in."""
    parts = path.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _kind(shapes: Shapes, module: ModuleShape, shape: tuple[int, ...]) -> str:
    if module.path == shapes.output:
        return "output layer"
    if module.kind == EMBEDDING:
        return "embeddings"
    if is_router(module.path, bool(shapes.experts)):
        return "routers"
    if module.path in shapes.experts and any(len(own) == 3 for _, own in module.parameters):
        return EXPERTS
    return "other matrices" if len(shape) > 1 else "norms and biases"


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
