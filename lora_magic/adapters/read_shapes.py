"""Reads `Shapes` from a model: a live one, a quantised one, or one on the meta device.

Knows modules and configs; computes nothing. PEFT is asked only for what is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

from torch import Tensor, nn

from lora_magic.base.quantise import quantised_bits

from .shapes import CONV1D, EMBEDDING, LINEAR, OTHER, Cache, ModuleShape, Parameters, Shapes

#: The layers that bitsandbytes makes, also before their weights are there.
_BITS = {"Linear4bit": 4, "Linear8bitLt": 8}


def shapes_of(model: nn.Module) -> Shapes:
    """The shapes of a model's modules, before quantisation; nothing is computed or allocated.

    The model itself is a module, at "", only if it owns parameters.
    """
    modules = {
        path: _module(path, module)
        for path, module in model.named_modules()
        if path or any(True for _ in _own(module))
    }
    config: Any = getattr(model, "config", None)
    text: Any = config.get_text_config() if hasattr(config, "get_text_config") else config
    return Shapes(
        modules,
        architecture=type(model).__name__,
        model_type=str(getattr(config, "model_type", "")),
        ties=_ties(model),
        output=_output(model),
        blocks=_blocks(model, modules),
        width=int(getattr(text, "hidden_size", 0) or 0),
        cache=_cache(text),
        experts=_experts(model),
        refused=_Refused(model),
        scaled=_Scaled(model),
    )


def kind_of(module: nn.Module) -> str:
    """LINEAR, CONV1D, EMBEDDING or OTHER."""
    if isinstance(module, nn.Linear):
        return LINEAR
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        return CONV1D  # GPT-2's, with a weight [in, out]
    return EMBEDDING if isinstance(module, nn.Embedding) else OTHER


def is_plain_lookup(module: nn.Module) -> bool:
    """Does an embedding return the rows of its input ids, possibly scaled, as PEFT's LoRA assumes?

    One with its own forward may count positions from 2, for example.
    """
    plain = type(module).forward is nn.Embedding.forward
    return plain or hasattr(module, "embed_scale")


def _module(path: str, module: nn.Module) -> ModuleShape:
    kind, bits = kind_of(module), quantised_bits(module) or _BITS.get(type(module).__name__)
    parameters: Parameters = tuple((name, tuple(value.shape)) for name, value in _own(module))
    if bits is not None:
        # Its weight is packed; the module has the true shape.
        true: Any = (int(module.out_features), int(module.in_features))  # type: ignore[arg-type]  # ints
        parameters = tuple((n, true if n == "weight" else shape) for n, shape in parameters)
    plain = kind != EMBEDDING or is_plain_lookup(module)
    return ModuleShape(path, kind, parameters, type(module).__name__, plain, bits)


def _own(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """A module's own parameters by name."""
    return ((name, value) for name, value in module._parameters.items() if value is not None)


def _ties(model: nn.Module) -> dict[str, str]:
    first: dict[int, str] = {}
    ties: dict[str, str] = {}
    for path, module in model.named_modules():
        for name, value in _own(module):
            full = f"{path}.{name}"
            if first.setdefault(id(value), full) != full:
                ties[full] = first[id(value)]
    return ties


def _output(model: nn.Module) -> str | None:
    head: Any = getattr(model, "get_output_embeddings", lambda: None)()
    return next((path for path, module in model.named_modules() if module is head), None)


def _blocks(model: nn.Module, modules: Mapping[str, ModuleShape]) -> tuple[str, ...]:
    """The largest list of modules of one class."""
    lists = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len({type(m) for m in module}) == 1
    ]
    sizes = {
        path: sum(m.size for p, m in modules.items() if p.startswith(f"{path}."))
        for path, _ in lists
    }
    if not lists:
        return ()
    path, found = max(lists, key=lambda pair: sizes[pair[0]])
    return tuple(f"{path}.{index}" for index in range(len(found)))


def _experts(model: nn.Module) -> frozenset[str]:
    """The modules of experts, by their names and classes, without shared experts."""
    return frozenset(
        path
        for path, module in model.named_modules()
        if re.search(r"experts?(\.|$)", path) or type(module).__name__.endswith("Experts")
        if "shared" not in path
    )


def _cache(config: Any) -> Cache | None:
    """What the config says of the keys and values that each layer keeps of a token."""
    layers, heads = (
        getattr(config, name, None) for name in ("num_hidden_layers", "num_attention_heads")
    )
    if not isinstance(layers, int) or not isinstance(heads, int) or not heads:
        return None
    kept = getattr(config, "num_key_value_heads", None) or heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return Cache(layers, int(kept), int(size))


class _Refused(Mapping[str, str]):
    """`Shapes.refused` of a model: PEFT is asked for each name when it is looked up."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._known: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._known:
            from . import bridge

            self._known[name] = bridge.refused(self._model, [name]).get(name, "")
        if not self._known[name]:
            raise KeyError(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        linear = (LINEAR, CONV1D)
        paths = [p for p, module in self._model.named_modules() if kind_of(module) in linear]
        return (n for n in dict.fromkeys(p.rpartition(".")[2] for p in paths) if n in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Scaled(Sequence[str]):
    """`Shapes.scaled` of a model: PEFT is asked when it is read."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    @cached_property
    def _found(self) -> tuple[str, ...]:
        from . import bridge

        return tuple(bridge.usual_targets(self._model))

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._found[index]

    def __len__(self) -> int:
        return len(self._found)
