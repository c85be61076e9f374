"""Wraps a base once, takes PEFT's layers out, and restores the base.

PEFT changes the tree, attributes, config, flags and hooks of a model: all of that is restored.
Knows a base's slots; knows no spec and no file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.adapters.slots import Slots
from lora_magic.interrupts import undisturbed

from .library import peft, translated


def capture(
    model: nn.Module, slots: Slots, config: Any, seed: int
) -> tuple[Any, dict[str, nn.Module]]:
    """Wrap the pristine base once and return (wrapper, replacements by path).

    A is drawn from `seed` without touching torch's own generator. The base's tree, attributes,
    flags and hooks are restored, also if PEFT fails halfway.
    """
    with slots.using({}):
        try:
            with _nothing_left(model), _seeded(seed), translated("attach"):
                wrapper = peft.get_peft_model(model, config)
        finally:
            found = slots.collect()
    for module in found.values():
        module.eval()
        module.requires_grad_(False)
    return wrapper, found


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _nothing_left(model: nn.Module) -> Iterator[None]:
    """Attributes, config, hooks and flags that PEFT leaves on a model, put back."""
    attributes = dict(vars(model))
    config = getattr(model, "config", None)
    settings = dict(vars(config)) if config is not None else {}
    hooks = [(module, dict(module._forward_hooks)) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        with undisturbed():
            _put_back(model, attributes)
            if config is not None:
                _put_back(config, settings)
            for module, kept in hooks:
                for key in [key for key in module._forward_hooks if key not in kept]:
                    del module._forward_hooks[key]
            for parameter, flag in wanted:
                parameter.requires_grad_(flag)


def forget(model: nn.Module) -> None:
    """Remove PEFT's `peft_config` from a base that has none of its layers any more."""
    vars(model).pop("peft_config", None)


def _put_back(holder: Any, attributes: dict[str, Any]) -> None:
    for name in [name for name in vars(holder) if name not in attributes]:
        # Through the instance's dict: a module's own __delattr__ looks elsewhere first.
        del vars(holder)[name]
    vars(holder).update(attributes)


def tensors(wrapper: Any, slots: Slots, replacements: dict[str, nn.Module]) -> dict[str, Tensor]:
    """The adapter's tensors under the names that PEFT's file gives them."""
    with slots.using(replacements), translated("read"):
        state = peft.get_peft_model_state_dict(wrapper, save_embedding_layers=False)
    return dict(state)


def set_tensors(
    wrapper: Any, slots: Slots, replacements: dict[str, nn.Module], state: dict[str, Tensor]
) -> None:
    """Write tensors named as in PEFT's file into a captured adapter."""
    with slots.using(replacements), translated("open"):
        peft.set_peft_model_state_dict(wrapper, state)
