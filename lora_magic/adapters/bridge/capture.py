"""Wraps a base once, takes PEFT's layers out, and restores the base.

PEFT changes the tree, attributes, config, flags and hooks of a model: all of that is restored.
Knows a base's slots; knows no spec and no file.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.adapters.slots import Slots
from lora_magic.base.restore import Restore, entries, flags, restoring

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
            with restoring(*_left_by_peft(model)), torch.random.fork_rng(), translated("attach"):
                torch.manual_seed(seed)
                wrapper = peft.get_peft_model(model, config)
        finally:
            found = slots.collect()
    for module in found.values():
        module.eval()
        module.requires_grad_(False)
    return wrapper, found


def _left_by_peft(model: nn.Module) -> list[Restore]:
    """Snapshots of what PEFT changes outside the slots: attributes, config, hooks and flags."""
    config = getattr(model, "config", None)
    spaces = [vars(owner) for owner in (model, config) if owner is not None]
    hooks = [module._forward_hooks for module in model.modules()]
    return [*map(entries, spaces), *map(entries, hooks), flags(model)]


def forget(model: nn.Module) -> None:
    """Remove PEFT's `peft_config` from a base that has none of its layers any more."""
    vars(model).pop("peft_config", None)


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
