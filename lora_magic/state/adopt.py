"""Adopts live objects as a session's base: a plain model, or a PeftModel with its adapters.

Everything that can be checked is checked before anything changes; if a later step fails or is
interrupted, the changes are undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.adapters import attach, bridge, trial
from lora_magic.adapters.delta import PEFT_NAME
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.mixture import mixed
from lora_magic.adapters.slots import Slots
from lora_magic.adapters.spec import BASE_NAME, seed_of, valid_name
from lora_magic.base import live, load
from lora_magic.base.bitsandbytes_patches import patch_layers
from lora_magic.base.device import short_name
from lora_magic.base.model import BaseModel
from lora_magic.base.restore import evaluating
from lora_magic.errors import BaseModelError, listed
from lora_magic.export.script.steps import Opened
from lora_magic.interrupts import undisturbed

from .session_state import Adopted, SessionState, refuse_taken

#: The number of tokens on which an adopted PeftModel must answer as before, bit for bit.
_PROBE = 8

_SAVE_FIRST = (
    "Save it with model.save_pretrained(DIR), load the plain base, and type: %lora open DIR"
)
_OPEN_INSTEAD = f"Or s{_SAVE_FIRST[1:]}"


def adopt_model(state: SessionState, model: Any, tokenizer: Any, key: tuple[object, ...]) -> None:
    """Adopt a live model; from a PeftModel, its base and copies of its LoRA adapters.

    Raises `BaseModelError` and `AdapterError`, and then leaves session and model unchanged.
    """
    live.check_kind(model)
    wrapped = bridge.is_wrapper(model)
    inner = bridge.base_of(model) if wrapped else model
    load.check(inner, tokenizer)
    refuse_taken(inner, state)
    ours = not state.empty and inner is state.base.model
    if wrapped:
        odd = [name for name in model.peft_config if valid_name(name) != name]
        if odd:
            raise BaseModelError(
                f"this PeftModel has adapter names that cannot be used here ({listed(odd)}). "
                f"{_SAVE_FIRST} ADAPTER"
            )
    elif not ours:
        bridge.refuse_injected(inner)
    elif state.wrapped:
        raise BaseModelError(
            "this model is inside the PeftModel that the session uses; pass the PeftModel, or "
            "first type: %lora reset"
        )
    with _patched(inner):
        trial.check_reads_text(inner)
    # The session's own model is released first, and an interrupt could not bring that back.
    with undisturbed() if ours else nullcontext():
        if ours:
            state.release()
        _adopt(state, model, inner, tokenizer, key)


def _adopt(
    state: SessionState, model: Any, inner: Any, tokenizer: Any, key: tuple[object, ...]
) -> None:
    undo = ExitStack()
    try:
        if inner is model:
            state.take(load.use(model, tokenizer, undo=undo), key)
            return
        found = bridge.unwrap(model)
        with _patched(inner):
            expected = _probe(model)
        undo.callback(found.wrap_again)
        found.take_out()
        base = load.use(inner, tokenizer, on_release=found.wrap_again, undo=undo)
        slots = Slots(inner)
        attached = _adapters(base, slots, found)
        active, modules = _together(slots, attached, found.active)
        with slots.using(modules):
            _refuse_moved(expected, _probe(inner), found.active)
        state.take(base, key, Adopted(slots, attached, active, modules))
    except BaseException:
        with undisturbed():
            if state.empty or state.base.model is not inner:
                undo.close()
        raise


@contextmanager
def _patched(model: Any) -> Iterator[None]:
    """A block with forward passes of a model that is not a base yet: its first one would repack
    4-bit weights for good. Raises `BaseModelError` for a model that was repacked before."""
    undo = patch_layers(model)
    try:
        yield
    finally:
        with undisturbed():
            undo()


def _adapters(base: BaseModel, slots: Slots, found: bridge.Unwrapped) -> dict[str, LiveAdapter]:
    """Copies of a PeftModel's adapters; raises `BaseModelError` for what a copy cannot keep."""
    adapters = {}
    for name, (config, tensors) in found.adapters.items():
        spec = bridge.spec_of(config, seed_of(name))
        made = attach.from_peft(base, slots, name, bridge.capturable(config), tensors, spec)
        for path, scale in found.scales[name].items():
            own = made.replacements[path].scaling[PEFT_NAME]  # type: ignore[index]
            if own != scale:
                raise BaseModelError(
                    f"this PeftModel's adapter {name} is scaled by {scale / own:g} at {path}; "
                    "expected the scale of its config, which a saved adapter keeps: first set it "
                    "back, with set_scale(NAME, 1) of each layer."
                )
        own_types = {tensor.dtype for _, tensor in made.tensors()}
        if found.dtypes[name] != own_types:
            seen = listed(map(short_name, found.dtypes[name]))
            raise BaseModelError(
                f"this PeftModel's adapter {name} holds {seen}, expected "
                f"{listed(map(short_name, own_types))}: it is trained in that. {_OPEN_INSTEAD}"
            )
        made.start_history = made.history
        made.steps = made.start_steps = (Opened("", spec),)
        adapters[name] = made
    return adapters


def _together(
    slots: Slots, attached: Mapping[str, LiveAdapter], active: list[str]
) -> tuple[str, Mapping[str, nn.Module]]:
    """What the session calls these adapters if they are active together, and their modules."""
    if not active:
        return BASE_NAME, {}
    if len(active) == 1:
        return active[0], attached[active[0]].replacements
    parts = [(1.0, name, attached[name].replacements) for name in active]
    return ",".join(f"{name}=1" for name in active), mixed(slots, parts)


def _refuse_moved(before: Tensor, after: Tensor, active: list[str]) -> None:
    """Raise `BaseModelError` if the model does not answer as the PeftModel did."""
    if torch.equal(before, after):
        return
    if len(active) > 1:
        raise BaseModelError(
            f"this PeftModel has {listed(active)} active together, and their sum would be rounded "
            f"in another order; first call model.set_adapter({active[0]!r}), and afterwards type: "
            f"%lora swap {','.join(f'{name}=1' for name in active)}"
        )
    raise BaseModelError(
        "this PeftModel answers otherwise than its base with copies of its adapters: expected "
        f"adapters as PEFT makes them from their configs. {_OPEN_INSTEAD}"
    )


def _probe(model: Any) -> Tensor:
    """A model's logits on a few tokens."""
    first = next(model.parameters())
    ids = (
        torch.arange(_PROBE, device=first.device)[None] % model.config.get_text_config().vocab_size
    )
    with evaluating(model), torch.no_grad():
        found: Tensor = model(input_ids=ids).logits
    return found
