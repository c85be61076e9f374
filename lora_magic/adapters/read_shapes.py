"""Reads `Shapes` from a model: a live one, a quantised one, or one on the meta device.

Knows modules and configs; computes nothing. PEFT is asked only for what is looked up.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

from torch import Tensor, nn

from lora_magic.base.quantise import quantised_bits

from .shapes import (
    CONV1D,
    EMBEDDING,
    LINEAR,
    OTHER,
    ROOT,
    Cache,
    ModuleShape,
    Parameters,
    Shapes,
)
from .targets import is_attention

#: The modules of a model by path, each once.
Tree = Mapping[str, nn.Module]

#: The layers that bitsandbytes makes, also before their weights are there.
_BITS = {"Linear4bit": 4, "Linear8bitLt": 8}

#: The names of the base's module within PEFT's layers and ours.
_WRAPPED = ("base_layer", "original_module", "copied")

#: The attributes that hold d and k.
_SIDES = {
    LINEAR: ("out_features", "in_features"),
    CONV1D: ("nf", "nx"),
    EMBEDDING: ("embedding_dim", "num_embeddings"),
}


def shapes_of(model: nn.Module) -> Shapes:
    """The shapes of a model's modules, before quantisation; nothing is computed or allocated.

    Of a PeftModel they are those of its base. The model itself is a module, at "", only if it owns
    parameters.
    """
    model = getattr(model, "get_base_model", lambda: model)()
    tree = _without_adapters(dict(model.named_modules()))
    modules = {p: _module(p, module) for p, module in tree.items()}
    if not modules[ROOT].parameters:
        del modules[ROOT]
    config: Any = getattr(model, "config", None)
    text = _text_config(config)
    width = getattr(text, "hidden_size", 0)
    return Shapes(
        modules,
        architecture=type(model).__name__,
        model_type=str(getattr(config, "model_type", "")),
        ties=_ties(tree),
        output=_output(model, tree),
        blocks=_blocks(tree, modules),
        width=width if isinstance(width, int) else 0,
        cache=_cache(tree, text),
        experts=_experts(tree),
        refused=_Refused(model),
        scaled=_Scaled(model),
    )


def _without_adapters(tree: Tree) -> Tree:
    """The base's own modules at its own paths, where adapters' layers wrap some of them."""
    inside = {p: name for p, m in tree.items() for name in _WRAPPED if name in m._modules}
    if not inside:
        return tree
    # Each path in the base; None for what belongs to an adapter.
    real: dict[str, str | None] = {ROOT: ROOT}
    found: dict[str, nn.Module] = {}
    for path, module in tree.items():
        above, _, name = path.rpartition(".")
        start = real[above]
        if path != ROOT and start is not None:
            within = f"{start}.{name}" if start else name
            real[path] = within if above not in inside else start if name == inside[above] else None
        elif path != ROOT:
            real[path] = None
        own = real[path]
        if own is not None:
            found[own] = module  # in the place of the layer that wraps it
    return found


def _text_config(config: Any) -> Any:
    """The part of a config that describes the text model; a model of its own may have none."""
    try:
        return config.get_text_config()
    except (AttributeError, ValueError):  # ValueError: there are two
        return config


def kind_of(module: nn.Module) -> str:
    """LINEAR, CONV1D, EMBEDDING or OTHER."""
    if isinstance(module, nn.Linear):
        return LINEAR
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):
        return CONV1D  # GPT-2's, with a weight [in, out]
    return EMBEDDING if isinstance(module, nn.Embedding) else OTHER


def is_transposed(module: nn.Module) -> bool:
    """Is its weight stored as [k, d], inputs by outputs, as in Conv1D and embeddings?"""
    return kind_of(module) in (CONV1D, EMBEDDING)


def shape_of(module: nn.Module) -> tuple[int, int]:
    """(d, k): a target's outputs and inputs; for an embedding (dimensions, tokens)."""
    return _module(ROOT, module).sides


def _is_plain_lookup(module: nn.Module) -> bool:
    """Does an embedding return the rows of its input ids, possibly scaled, as PEFT's LoRA assumes?

    One with its own forward may count positions from 2, for example.
    """
    plain = type(module).forward is nn.Embedding.forward
    return plain or hasattr(module, "embed_scale")


def _module(path: str, module: nn.Module) -> ModuleShape:
    kind, name = kind_of(module), type(module).__name__
    bits = quantised_bits(module) or _BITS.get(name)
    parameters: Parameters = tuple((n, tuple(value.shape)) for n, value in _own(module))
    matrix: Any = None
    if bits is not None or (kind != OTHER and "weight" not in dict(parameters)):
        matrix = tuple(getattr(module, side, 0) for side in _SIDES[kind])
    if bits is not None:
        # The weight is packed; the module has the true shape.
        parameters = tuple((n, matrix if n == "weight" else shape) for n, shape in parameters)
        matrix = None
    plain = kind != EMBEDDING or _is_plain_lookup(module)
    return ModuleShape(path, kind, parameters, name, plain, bits, matrix)


def _own(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """A module's own parameters by name."""
    return ((name, value) for name, value in module._parameters.items() if value is not None)


def _ties(tree: Tree) -> dict[str, str]:
    first: dict[int, str] = {}
    ties: dict[str, str] = {}
    for path, module in tree.items():
        for name, value in _own(module):
            full = f"{path}.{name}"
            if first.setdefault(id(value), full) != full:
                ties[full] = first[id(value)]
    return ties


def _output(model: nn.Module, tree: Tree) -> str | None:
    try:
        head: Any = model.get_output_embeddings()  # type: ignore[operator]  # a method, if any
    except (AttributeError, NotImplementedError):
        return None
    while name := next((n for n in _WRAPPED if n in getattr(head, "_modules", ())), None):
        head = head._modules[name]
    return next((path for path, module in tree.items() if module is head), None)


def _blocks(tree: Tree, modules: Mapping[str, ModuleShape]) -> tuple[str, ...]:
    """The largest list of modules of one class."""
    lists = [
        (path, module)
        for path, module in tree.items()
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


def _experts(tree: Tree) -> frozenset[str]:
    """The modules of experts, by their names and classes, without shared experts."""
    return frozenset(
        path
        for path, module in tree.items()
        if re.search(r"experts?(\.|$)", path) or type(module).__name__.endswith("Experts")
        if "shared" not in path
    )


def _cache(tree: Tree, config: Any) -> Cache | None:
    """What each layer keeps of a token: keys and values of the same size, else None."""
    layers = _caching(tree)
    names = ("num_attention_heads", "num_hidden_layers", "hidden_size")
    heads, expected, width = (getattr(config, name, None) for name in names)
    if getattr(config, "is_encoder_decoder", False):
        # The other sizes are the encoder's.
        expected, heads = len(layers), getattr(config, "decoder_attention_heads", heads)
    known = isinstance(heads, int) and isinstance(width, int) and 0 < len(layers) == expected
    if not known or not heads:
        return None
    kept = getattr(config, "num_key_value_heads", None) or heads
    size = getattr(config, "head_dim", None) or width // heads
    sizes = {
        (
            # Falcon's newer form repeats them for each head before it keeps them.
            heads
            if getattr(layer, "new_decoder_architecture", False)
            else _first(layer, "num_kv_heads", "kv_heads") or kept,
            _first(layer, "qk_head_dim", "head_dim", "key_value_proj_dim") or size,
            _first(layer, "v_head_dim", "head_dim", "key_value_proj_dim") or size,
        )
        for layer in layers
    }
    found = sizes.pop()
    return None if sizes or found[1] != found[2] else Cache(len(layers), found[0], found[1])


def _caching(tree: Tree) -> list[nn.Module]:
    """The attentions that keep keys and values: those that look back only.

    transformers' attentions say so in `is_causal`; older ones only have a `layer_idx` in the cache.
    """
    attentions = [module for path, module in tree.items() if is_attention(path)]
    marked: list[Any] = [module for module in attentions if hasattr(module, "is_causal")]
    if marked:
        return [module for module in marked if module.is_causal]
    return [module for module in attentions if hasattr(module, "layer_idx")]


def _first(module: nn.Module, *names: str) -> Any:
    """The first of these attributes that a module has and that is set."""
    return next((value for name in names if (value := getattr(module, name, None))), None)


def _reference(model: nn.Module) -> Callable[[], nn.Module | None]:
    """The model while it is there; one on the meta device, which has no values, is kept.

    Shapes are kept longer than a model, whose memory must be free once nobody else has it.
    """
    if all(parameter.is_meta for parameter in model.parameters()):
        return lambda: model
    return weakref.ref(model)


class _Refused(Mapping[str, str]):
    """`Shapes.refused` of a model: PEFT is asked for each name when it is looked up."""

    def __init__(self, model: nn.Module) -> None:
        self._model = _reference(model)
        self._known: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        if name not in self._known and (model := self._model()) is not None:
            from . import bridge

            self._known[name] = bridge.refused(model, [name]).get(name, "")
        if not self._known.get(name):
            raise KeyError(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        linear = (LINEAR, CONV1D)
        model = self._model()
        modules = () if model is None else model.named_modules()
        paths = [path for path, module in modules if kind_of(module) in linear]
        return (n for n in dict.fromkeys(p.rpartition(".")[2] for p in paths) if n in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _Scaled(Sequence[str]):
    """`Shapes.scaled` of a model: PEFT is asked when it is read."""

    def __init__(self, model: nn.Module) -> None:
        self._model = _reference(model)

    @cached_property
    def _found(self) -> tuple[str, ...]:
        from . import bridge

        model = self._model()
        return () if model is None else tuple(bridge.usual_targets(model))

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._found[index]

    def __len__(self) -> int:
        return len(self._found)
