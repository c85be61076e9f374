"""Copies PEFT's LoRA layers, with factors of another rank.

Injecting layers of known kinds once more takes PEFT longer than computing their factors. Knows
PEFT's layers and its model around a base; knows no spec and no slots.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from lora_magic.adapters.delta import PEFT_NAME, factors_of

from .library import peft


def is_plain(layer: nn.Module) -> bool:
    """Is this PEFT's LoRA layer, and none of the kinds that compute more than s·B·A?"""
    part: Any = layer
    lora = isinstance(part, peft.tuners.lora.LoraLayer) and not hasattr(part, "lora_E")
    return lora and not part.lora_variant and not any(part.lora_bias.values())


def copied_layer(layer: nn.Module, original: nn.Module, rank: int) -> nn.Module:
    """A layer of the same kind around the base's module, with s = 1, no dropout and empty factors.

    It shares no tensor and no table with the first one, except for the base's module.
    """
    made: Any = _copied(layer)
    made._modules["base_layer"] = original
    for table, value in (("r", rank), ("lora_alpha", rank), ("scaling", 1.0)):
        made.__dict__[table] = {PEFT_NAME: value}
    made.use_rslora = {PEFT_NAME: False}
    made.lora_dropout = nn.ModuleDict({PEFT_NAME: nn.Identity()}).eval()
    down, up = factors_of(layer)
    empty = (down.new_empty(rank, down.shape[1]), up.new_empty(up.shape[0], rank))
    if PEFT_NAME in made.lora_A:
        for side, factor in zip((made.lora_A, made.lora_B), empty, strict=True):
            linear = side[PEFT_NAME]
            linear._parameters["weight"] = _frozen(factor)
            linear.out_features, linear.in_features = factor.shape
    else:
        for side, factor in zip((made.lora_embedding_A, made.lora_embedding_B), empty, strict=True):
            side._parameters[PEFT_NAME] = _frozen(factor)
    return made  # type: ignore[no-any-return]  # a module


def _frozen(factor: Tensor) -> nn.Parameter:
    return nn.Parameter(factor.detach(), requires_grad=False)


def _copied(module: nn.Module) -> Any:
    """A copy with tables of its own, down to the modules below; the base's module is shared."""
    made: Any = type(module).__new__(type(module))
    tables = (dict, list, set)
    made.__dict__.update(
        (name, value.copy() if isinstance(value, tables) else value)
        for name, value in vars(module).items()
    )
    for name, below in made._modules.items():
        if name not in ("base_layer", "lora_dropout"):
            made._modules[name] = _copied(below)
    return made


def copied_wrapper(wrapper: Any, config: Any, paths: Iterable[str]) -> Any:
    """PEFT's model around the same base, for an adapter with this config on these modules."""
    made = _around(wrapper)
    inner = made._modules["base_model"] = _around(wrapper.base_model)
    inner.peft_config = {PEFT_NAME: config}
    inner.targeted_module_names = list(paths)
    return made


def _around(module: nn.Module) -> Any:
    """A copy with tables of its own over the same modules."""
    made: Any = type(module).__new__(type(module))
    made.__dict__.update(vars(module))
    made._modules = dict(module._modules)
    return made
