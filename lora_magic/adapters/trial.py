"""An adapter's trial: one token through the base with the adapter, before it is returned.

A library release that breaks a method fails here, by name, and not in the middle of training.
Knows slots and modules; knows no method by name, no session and no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from lora_magic.base.restore import evaluating
from lora_magic.errors import AdapterError, sentence
from lora_magic.versions import untested

from .slots import Slots


def one_token(model: Any) -> dict[str, Any]:
    """The arguments of a forward pass over one row of one token."""
    return {"input_ids": torch.zeros(1, 1, dtype=torch.long, device=model.device)}


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
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a library may raise anything
        return error
    return None
