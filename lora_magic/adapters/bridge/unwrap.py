"""Takes a live PeftModel apart: the base, pristine again, and copies of its adapters.

Knows PEFT's models and layers; knows no slots and no session.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lora_magic.errors import BaseModelError, listed

from .configs import foreign_parts
from .library import peft

TunerLayer = peft.tuners.tuners_utils.BaseTunerLayer

_OPEN_INSTEAD = (
    "Such an adapter is opened from its folder: model.save_pretrained(DIR), then give %lora use "
    "the plain base and type: %lora open DIR"
)


def is_wrapper(model: object) -> bool:
    """Is this a PeftModel?"""
    return isinstance(model, peft.PeftModel)


def refuse_injected(model: nn.Module) -> None:
    """Refuse a bare model that already carries adapter layers."""
    layers = [path for path, module in model.named_modules() if isinstance(module, TunerLayer)]
    if layers:
        raise BaseModelError(
            f"this model already carries adapter layers ({listed(layers, 2)}); "
            "expected a plain base model or a PeftModel. If another session holds it, reset that "
            "one; if PEFT wrapped it, pass the PeftModel itself."
        )


def _not_adopted(config: Any) -> list[str]:
    """What of a live adapter lies in the base itself, or would be misread."""
    parts = foreign_parts(config)
    if config.modules_to_save:
        parts.append(f"it saves whole modules ({listed(config.modules_to_save)})")
    if config.bias != "none":
        parts.append(f"it trains the base's own biases (bias={config.bias!r})")
    return parts


@dataclass(frozen=True, eq=False)
class Unwrapped:
    """What `unwrap` found: the base, pristine again, and its adapters as (config, tensors).

    `wrap_again` puts PEFT's layers back where they were, with all that they learned; it may be
    called twice.
    """

    base: nn.Module
    adapters: dict[str, tuple[Any, dict[str, Tensor]]]
    wrap_again: Callable[[], None]


def base_of(wrapper: Any) -> nn.Module:
    """The base model inside a PeftModel."""
    base: nn.Module = wrapper.get_base_model()
    return base


def unwrap(wrapper: Any) -> Unwrapped:
    """Take PEFT's layers out of a PeftModel's base; copies of its adapters' tensors are kept.

    Raises `BaseModelError` for a merged or mixed model, whose base is not the base any more.
    """
    layers = [module for module in wrapper.modules() if isinstance(module, TunerLayer)]
    if any(layer.merged for layer in layers):
        raise BaseModelError("this PeftModel is merged; call model.unmerge_adapter() first.")
    others = [name for name, c in wrapper.peft_config.items() if not isinstance(c, peft.LoraConfig)]
    if others:
        raise BaseModelError(
            f"this PeftModel has adapters of other kinds than LoRA ({listed(others)}); "
            "expected LoRA only."
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
    """Put what each PEFT layer stands around into its place; returns how to undo that."""
    places = [
        (base.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], module)
        for path, module in base.named_modules()
        if isinstance(module, TunerLayer)
    ]
    told = {name: vars(base)[name] for name in ("peft_config",) if name in vars(base)}

    def wrap_again() -> None:
        for parent, child, layer in places:
            parent._modules[child] = layer
        vars(base).update(told)

    for parent, child, layer in places:
        parent._modules[child] = layer.get_base_layer()
    for name in told:
        del vars(base)[name]
    return wrap_again
