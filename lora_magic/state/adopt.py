"""Adopts live objects as a session's base: a plain model, or a PeftModel with its adapters.

Everything is checked before anything changes; if a later step fails, the changes are undone.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from lora_magic.adapters import attach, bridge
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.slots import Slots
from lora_magic.adapters.spec import BASE_NAME, check_name, seed_of
from lora_magic.base import load
from lora_magic.base.model import BaseModel

from .session_state import SessionState


def adopt_model(state: SessionState, model: Any, tokenizer: Any, key: tuple[object, ...]) -> None:
    """Adopt a live model; from a PeftModel, its base and copies of its LoRA adapters.

    Raises `BaseModelError` and `AdapterError`, and then leaves session and model unchanged.
    """
    wrapped = bridge.is_wrapper(model)
    inner = bridge.base_of(model) if wrapped else model
    load.check(inner, tokenizer)
    ours = not state.empty and inner is state.base.model
    if wrapped:
        for name in model.peft_config:
            check_name(name)
    elif isinstance(inner, nn.Module) and not ours:
        bridge.refuse_injected(inner)
    if ours:
        state.release()
    if not wrapped:
        state.take(load.use(model, tokenizer), key)
        return
    active = model.active_adapter
    base, attached = _unwrapped(model, tokenizer)
    state.take(base, key)
    state.attached = attached
    state.activate(active if active in attached else BASE_NAME)


def _unwrapped(wrapper: Any, tokenizer: Any) -> tuple[BaseModel, dict[str, LiveAdapter]]:
    """The base of a PeftModel, and its adapters; its layers are put back on release."""
    found = bridge.unwrap(wrapper)
    base = None
    try:
        base = load.use(found.base, tokenizer, on_release=found.wrap_again)
        slots = Slots(found.base)
        return base, {
            name: attach.from_peft(
                base,
                slots,
                name,
                bridge.capturable(config),
                tensors,
                bridge.spec_of(config, seed_of(name)),
            )
            for name, (config, tensors) in found.adapters.items()
        }
    except BaseException:
        (base.release if base is not None else found.wrap_again)()
        raise
