"""Takes a live PeftModel apart: its pristine base, and copies of its adapters.

Knows PEFT's models and layers; knows no slots and no session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.errors import BaseModelError, listed

from .configs import CONVERT, foreign_parts
from .library import peft

TunerLayer = peft.tuners.tuners_utils.BaseTunerLayer

_OPEN_INSTEAD = (
    "Save it with model.save_pretrained(DIR), load the plain base, and type: %lora open DIR"
)


def is_wrapper(model: object) -> bool:
    """Is this a PeftModel?"""
    return isinstance(model, peft.PeftModel)


def refuse_injected(model: nn.Module) -> None:
    """Raise `BaseModelError` for a plain model that has adapter layers."""
    layers = [path for path, module in model.named_modules() if isinstance(module, TunerLayer)]
    if isinstance(model, peft.PeftMixedModel):
        raise BaseModelError(
            "this is a PeftMixedModel, whose adapters cannot be copied; pass its base: "
            "model = model.unload()"
        )
    if layers:
        raise BaseModelError(
            f"this model has adapter layers ({listed(layers, 2)}); expected a plain base model "
            "or a PeftModel. If another session uses it, type %lora reset there; if PEFT "
            "wrapped it, pass the PeftModel itself."
        )


def _not_adopted(config: Any) -> list[str]:
    """What a live adapter stores in the base itself, and what would be misread."""
    parts = foreign_parts(config, CONVERT)
    if config.modules_to_save:
        parts.append(f"it saves whole modules ({listed(config.modules_to_save)})")
    if config.bias != "none":
        parts.append(f"it trains the base's own biases (bias={config.bias!r})")
    return parts


@dataclass(frozen=True, eq=False)
class Unwrapped:
    """A PeftModel taken apart: its pristine base, and its adapters as (config, tensors).

    `active` are the adapters that answer, none if PEFT's layers are switched off. `scales` are
    each adapter's scales by the path of its layers. `take_out` removes PEFT's layers from the base;
    `wrap_again` puts them back where they were, and may be called twice.
    """

    base: nn.Module
    adapters: dict[str, tuple[Any, dict[str, Tensor]]]
    active: list[str]
    scales: dict[str, dict[str, float]]
    dtypes: dict[str, set[torch.dtype]]
    take_out: Callable[[], None]
    wrap_again: Callable[[], None]


def base_of(wrapper: Any) -> nn.Module:
    """The base model inside a PeftModel."""
    base: nn.Module = wrapper.get_base_model()
    return base


def unwrap(wrapper: Any) -> Unwrapped:
    """A PeftModel's base, the copied tensors of its adapters, and their state; changes nothing.

    Raises `BaseModelError` for a merged model, for one with other methods than LoRA, and if
    different adapters are active on different layers.
    """
    layers = [module for module in wrapper.modules() if isinstance(module, TunerLayer)]
    if any(layer.merged for layer in layers):
        raise BaseModelError("this PeftModel is merged; call model.unmerge_adapter() first.")
    others = [name for name, c in wrapper.peft_config.items() if not isinstance(c, peft.LoraConfig)]
    if others:
        raise BaseModelError(
            f"this PeftModel has adapters of other methods ({listed(others)}); expected LoRA only."
        )
    faults = [f"{n}: {f}" for n, c in wrapper.peft_config.items() for f in _not_adopted(c)]
    if faults:
        raise BaseModelError("; ".join(faults) + f". {_OPEN_INSTEAD}")
    taken = {}
    for name, config in wrapper.peft_config.items():
        state = peft.get_peft_model_state_dict(
            wrapper, adapter_name=name, save_embedding_layers=False
        )
        taken[name] = (config, {key: tensor.detach().clone() for key, tensor in state.items()})
    base = base_of(wrapper)
    layers_at = {p: m for p, m in base.named_modules() if isinstance(m, TunerLayer)}
    scales = {
        name: {p: float(m.scaling[name]) for p, m in layers_at.items() if name in m.scaling}
        for name in taken
    }
    dtypes = {
        name: {tensor.dtype for tensor in state.values()} for name, (_, state) in taken.items()
    }
    return Unwrapped(
        base, taken, _active(layers_at, scales), scales, dtypes, *_moves(base, layers_at)
    )


def _active(layers: Mapping[str, Any], scales: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The adapters that are active in every layer that has them."""
    off = {layer.disable_adapters for layer in layers.values()}
    if len(off) > 1:
        raise BaseModelError(
            "this PeftModel's adapters are switched off in some layers only; first call "
            "model.base_model.enable_adapter_layers()."
        )
    if True in off:
        return []
    found: list[str] = []
    for path, layer in layers.items():
        active = list(layer.active_adapters)
        found += [name for name in active if path in scales.get(name, ()) and name not in found]
        if len(active) > len(set(active)):
            raise BaseModelError(
                "this PeftModel has an adapter active twice; first call "
                f"model.set_adapter({active[0]!r})."
            )
    uneven = [
        name
        for name in found
        for path, layer in layers.items()
        if path in scales[name] and name not in layer.active_adapters
    ]
    if uneven:
        raise BaseModelError(
            f"this PeftModel's adapter {uneven[0]} is active in some of its layers only; first "
            f"call model.set_adapter({uneven[0]!r})."
        )
    return found


def _moves(
    base: nn.Module, layers: Mapping[str, Any]
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Two functions: replace each PEFT layer by the module that it wraps, and undo that."""
    layers_at = [
        (base.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], module)
        for path, module in layers.items()
    ]
    marks = {name: vars(base)[name] for name in ("peft_config",) if name in vars(base)}

    def wrap_again() -> None:
        for parent, child, layer in layers_at:
            parent._modules[child] = layer
        vars(base).update(marks)

    def take_out() -> None:
        for parent, child, layer in layers_at:
            parent._modules[child] = layer.get_base_layer()
        for name in marks:
            vars(base).pop(name, None)

    return take_out, wrap_again
