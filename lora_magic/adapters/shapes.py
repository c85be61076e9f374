"""What the modules of a model are called and how large they are, without the model.

Every question about targets, sites and counts is answered from here, so a live model, one on the
meta device and a config alone give the same answers. Knows names and numbers; imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

#: Kinds of modules: a linear layer, GPT-2's transposed one, a table of vectors, anything else.
LINEAR, CONV1D, EMBEDDING, OTHER = "linear", "conv1d", "embedding", "other"

#: The path of the model itself.
ROOT = ""

#: Parameters by name within their module, with their shapes before quantisation.
Parameters = tuple[tuple[str, tuple[int, ...]], ...]


class ModuleShape(NamedTuple):
    """One module: its path, kind and class name, and its own parameters.

    `plain_lookup` is False for an embedding that looks up other rows than those of its input ids;
    `bits` is 4 or 8 for a layer that bitsandbytes has quantised, or will quantise. `matrix` is
    (d, k) of a layer whose weight is no parameter of its own, such as a parametrised one.
    """

    path: str
    kind: str
    parameters: Parameters = ()
    class_name: str = ""
    plain_lookup: bool = True
    bits: int | None = None
    matrix: tuple[int, int] | None = None

    @property
    def carries_lora(self) -> bool:
        """Is this a linear layer, transformers' Conv1D or an embedding?"""
        return self.kind != OTHER

    @property
    def sides(self) -> tuple[int, int]:
        """(d, k) of a matrix: outputs and inputs; for an embedding (dimensions, tokens)."""
        if self.matrix is not None:
            return self.matrix
        rows, columns = dict(self.parameters)["weight"]
        return (rows, columns) if self.kind == LINEAR else (columns, rows)

    @property
    def names(self) -> list[str]:
        """The names of its own parameters."""
        return [name for name, _ in self.parameters]

    @property
    def size(self) -> int:
        """The number of its own parameters."""
        return sum(math.prod(shape) for _, shape in self.parameters)


class Cache(NamedTuple):
    """What a decoder keeps of a token: keys and values, `heads` · `size`, in `layers` layers."""

    layers: int
    heads: int
    size: int


@dataclass(frozen=True, eq=False)
class Shapes:
    """The modules of a model by path, in the model's order and without the model itself.

    `architecture` is the model's class, `model_type` its config's. `ties` has the parameters, by
    full name, that are an earlier one under another name. `output` is the path of the layer that
    gives the logits, None without one; `blocks` are the paths of the largest list of modules of one
    class. `width` is that of the residual stream, `cache` what a decoder keeps, None for a model
    without keys and values of one size in every layer. `experts` are the modules of experts, shared
    ones left out.

    `refused` are names of linear layers that PEFT does not adapt here, with the reason;
    `scaled` the modules that (IA)³ scales here by PEFT's table, empty if it has none.
    """

    modules: Mapping[str, ModuleShape]
    architecture: str = "this model"
    model_type: str = ""
    ties: Mapping[str, str] = field(default_factory=dict)
    output: str | None = None
    blocks: tuple[str, ...] = ()
    width: int = 0
    cache: Cache | None = None
    experts: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)
    scaled: Sequence[str] = ()

    @cached_property
    def total(self) -> int:
        """All parameters, tied ones counted once."""
        return sum(math.prod(shape) for _, _, shape in self.owned)

    @cached_property
    def owned(self) -> Sequence[tuple[str, str, tuple[int, ...]]]:
        """(module's path, parameter's name, shape) of every parameter, tied ones once."""
        return [
            (path, name, shape)
            for path, module in self.modules.items()
            for name, shape in module.parameters
            if not self.ties or f"{path}.{name}" not in self.ties
        ]

    def first(self, path: str, name: str) -> str:
        """The full name of the first of the parameters that are tied to this one, or its own."""
        full = f"{path}.{name}"
        return self.ties.get(full, full)
