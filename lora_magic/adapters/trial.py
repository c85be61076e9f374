"""An adapter's trial: one token through the base with the adapter, before it is returned.

A library release that breaks a method fails here, by name, and not in the middle of training.
Knows slots and modules; knows no method by name, no session and no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.device import out_of_memory
from lora_magic.base.restore import evaluating
from lora_magic.errors import AdapterError, BaseModelError, sentence
from lora_magic.versions import untested

from .slots import Slots


def one_token(model: Any) -> dict[str, Any]:
    """The arguments of a forward pass over one row of one token."""
    device = next(model.parameters()).device
    return {"input_ids": torch.zeros(1, 1, dtype=torch.long, device=device)}


def check_reads_text(model: Any) -> None:
    """Raise `BaseModelError` if a model gives no logits for one token alone."""
    try:
        with evaluating(model), torch.no_grad():
            logits = getattr(model(**one_token(model)), "logits", None)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise BaseModelError(
            f"{type(model).__name__} fails on one token of text ({type(error).__name__}: "
            f"{sentence(error)}); expected a model that needs input_ids only."
        ) from error
    if not isinstance(logits, Tensor):
        raise BaseModelError(
            f"{type(model).__name__} gives no logits for a token of text; expected a causal "
            "language model (AutoModelForCausalLM.from_pretrained) or a classifier."
        )


def check_runs(model: Any, slots: Slots, replacements: Mapping[str, nn.Module], title: str) -> None:
    """Raise `AdapterError` if one token passes the base alone but not with the adapter."""
    error = _fault(model, slots, replacements)
    if error is None or _fault(model, slots, {}) is not None:
        return
    raise AdapterError(
        f"{title} failed a forward pass of one token in {type(model).__name__}: "
        f"{type(error).__name__}: {sentence(error)}{untested('peft', 'transformers')}. "
        "Use another --method or other --targets."
    ) from error


def _fault(model: Any, slots: Slots, replacements: Mapping[str, nn.Module]) -> Exception | None:
    try:
        with slots.using(replacements), evaluating(model), torch.no_grad():
            model(**one_token(model))
    except Exception as error:
        if out_of_memory(error):
            raise
        return error
    return None
