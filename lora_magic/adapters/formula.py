"""How many parameters each method's layers have, by its paper's formula, from shapes.

Knows shapes and specs; allocates nothing and imports no torch. What is made of them is `cost`'s.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from lora_magic.errors import AdapterError

from .shapes import ROOT, Shapes
from .sites import Site
from .spec import AdapterSpec


class ModuleCount(NamedTuple):
    """One module: d outputs, k inputs, the method's `formula`, and the count of its `tensors`.

    `rank` is 0 for a method without one.
    """

    module: str
    outputs: int
    inputs: int
    rank: int
    formula: int
    tensors: int


def by_formula(
    shapes: Shapes,
    spec: AdapterSpec,
    sites: Iterable[Site],
    trained: Mapping[str, Collection[str]],
) -> dict[str, ModuleCount]:
    """What a spec's layers train, and the parameters of the base that are `trained`, by path.

    Tied parameters are counted once. `tensors` is 0: this counts formulas only.
    """
    found = {site.path: _of_layer(shapes, spec, site) for site in sites}
    seen: set[str] = set()
    for path, names in trained.items():
        size = 0
        for name, shape in shapes.modules[path].parameters:
            if name in names and (first := shapes.first(path, name)) not in seen:
                seen.add(first)
                size += math.prod(shape)
        known = found.get(path)
        found[path] = (
            _of_base(shapes, path, names, size)
            if known is None
            else known._replace(formula=known.formula + size)
        )
    return found


def low_rank(outputs: int, inputs: int, rank: int, spec: AdapterSpec) -> int:
    """r·(d + k): A is r×k and B is d×r. AdaLoRA adds r values, DoRA d magnitudes."""
    extra = rank if spec.method == "adalora" else 0
    return rank * (outputs + inputs) + extra + (outputs if spec.dora else 0)


def bottleneck(width: int, rank: int, norm: bool) -> int:
    """2·d·r + r + d for two layers with biases, plus 2·d for a norm of its own."""
    return 2 * width * rank + rank + width + (2 * width if norm else 0)


def virtual(shapes: Shapes, method: str, count: int) -> int:
    """n·width for a prompt; n·2·L·(heads of keys)·(size of a head) for a prefix.

    Raises `AdapterError` for a prefix in a model without keys and values of one size in each layer.
    """
    if method == "prompt":
        return count * shapes.width
    if shapes.cache is None:
        raise AdapterError(
            "prefix tuning needs a decoder's cache of keys and values, the same in each layer, and "
            f"{shapes.architecture} has none; use another method: --method lora"
        )
    cache = shapes.cache
    return count * 2 * cache.layers * cache.heads * cache.size


def width_at(shapes: Shapes, path: str) -> int:
    """The width of a module's output: a linear layer's outputs, or the residual stream."""
    module = shapes.modules[path]
    return module.sides[0] if module.carries_lora else shapes.width


def _of_layer(shapes: Shapes, spec: AdapterSpec, site: Site) -> ModuleCount:
    if site.path == ROOT:
        size, tokens = virtual(shapes, spec.method, spec.virtual_tokens), spec.virtual_tokens
        return ModuleCount("virtual tokens", size // tokens, tokens, 0, size, 0)
    if spec.method in ("houlsby", "adapter-l"):
        width = width_at(shapes, site.path)
        size = bottleneck(width, site.rank, norm=spec.method == "adapter-l")
        return ModuleCount(site.path, width, width, 0, size, 0)
    outputs, inputs = shapes.modules[site.path].sides
    if spec.method == "ia3":
        size = inputs if site.scales_inputs else outputs
        return ModuleCount(site.path, outputs, inputs, 0, size, 0)
    size = low_rank(outputs, inputs, site.rank, spec)
    return ModuleCount(site.path, outputs, inputs, site.rank, size, 0)


def _of_base(shapes: Shapes, path: str, names: Iterable[str], size: int) -> ModuleCount:
    module = shapes.modules[path]
    matrix = "weight" in names and module.carries_lora
    outputs, inputs = module.sides if matrix else (size, 1)
    return ModuleCount(path, outputs, inputs, 0, size, 0)
