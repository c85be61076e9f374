"""Takes a live PeftModel apart: its pristine base, and copies of its adapters.

Knows PEFT's models and layers; knows no slots and no session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

    `wrap_again` puts PEFT's trained layers back where they were; it may be called twice.
    """

    base: nn.Module
    adapters: dict[str, tuple[Any, dict[str, Tensor]]]
    wrap_again: Callable[[], None]


def base_of(wrapper: Any) -> nn.Module:
    """The base model inside a PeftModel."""
    base: nn.Module = wrapper.get_base_model()
    return base


def unwrap(wrapper: Any) -> Unwrapped:
    """Remove PEFT's layers from a PeftModel's base, and copy the tensors of its adapters.

    Raises `BaseModelError` for a merged model and for one with other methods than LoRA.
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
    return Unwrapped(base, taken, _taken_out(base))


def _taken_out(base: nn.Module) -> Callable[[], None]:
    """Replace each PEFT layer by the module that it wraps; returns a function that undoes it."""
    layers_at = [
        (base.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], module)
        for path, module in base.named_modules()
        if isinstance(module, TunerLayer)
    ]
    marks = {name: vars(base)[name] for name in ("peft_config",) if name in vars(base)}

    def wrap_again() -> None:
        for parent, child, layer in layers_at:
            parent._modules[child] = layer
        vars(base).update(marks)

    for parent, child, layer in layers_at:
        parent._modules[child] = layer.get_base_layer()
    for name in marks:
        del vars(base)[name]
    return wrap_again
