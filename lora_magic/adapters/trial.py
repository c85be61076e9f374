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
from lora_magic.base.quantise import quantised
from lora_magic.base.restore import evaluating
from lora_magic.base.task import is_classifier
from lora_magic.errors import AdapterError, BaseModelError, sentence
from lora_magic.versions import untested

from .slots import Slots


def one_token(model: Any) -> dict[str, Any]:
    """The arguments of a forward pass over one row of one token."""
    device = next(model.parameters()).device
    return {"input_ids": torch.zeros(1, 1, dtype=torch.long, device=device)}


def check_reads_text(model: Any) -> None:
    """Raise `BaseModelError` if a model gives no logits for text alone, or reads ahead."""
    device = next(model.parameters()).device
    try:
        with evaluating(model), torch.no_grad():
            # Two texts of two tokens that differ in the second one.
            texts = torch.tensor([[0, 0], [0, 1]], device=device)
            logits = getattr(model(input_ids=texts), "logits", None)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise BaseModelError(
            f"{type(model).__name__} fails on a text of two tokens ({type(error).__name__}: "
            f"{sentence(error)}); expected a model that needs input_ids only."
        ) from error
    if not isinstance(logits, Tensor):
        raise BaseModelError(
            f"{type(model).__name__} gives no logits for a token of text; expected a causal "
            "language model (AutoModelForCausalLM.from_pretrained) or a classifier."
        )
    if logits.dim() == 3 and not is_classifier(model):
        first, other = logits[:, 0].float()
        if (first - other).abs().max() > _rounding(model, logits.dtype) * first.abs().max():
            raise BaseModelError(
                f"{type(model).__name__} reads each text in both directions, so it would see the "
                "answers that it is to learn; expected a decoder (Llama, Qwen, GPT-2; for BERT: "
                "is_decoder=True in its config), or an encoder with a classifier's head."
            )


def _rounding(model: nn.Module, dtype: torch.dtype) -> float:
    """The share of a token's logits that a later one may change: in 8 bits they share a scale."""
    return 1e-2 if quantised(model) is not None else max(1e-5, 2 * torch.finfo(dtype).eps)


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
