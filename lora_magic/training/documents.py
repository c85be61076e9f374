"""Whole rows one after another in one long row, each with attention to itself alone.

Knows examples, tensors and transformers' table of attention functions; knows no adapter, no loss
and no run. A padded batch of ragged rows computes two to three times as many tokens as it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as attention

from .encode import IGNORED, Example

#: The name in transformers' table, and the attribute of an attention layer that has the lengths.
_NAME = "lora_magic_documents"
_LENGTHS = "_lora_magic_documents"


def pack(examples: Sequence[Example]) -> dict[str, Tensor]:
    """The examples' tokens as one row: input_ids, position_ids, labels, int64 [1, T], lengths [n].

    Positions begin at 0 in each example. Its first token has no label, since the token before it
    is of another example.
    """
    lengths = [len(example.tokens) for example in examples]
    return {
        "input_ids": torch.tensor([[token for e in examples for token in e.tokens]]),
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "labels": torch.tensor([[x for e in examples for x in (IGNORED, *e.labels[1:])]]),
        "lengths": torch.tensor(lengths),
    }


class Documents:
    """Switches a model's attention, for a block, to one document at a time.

    Exact: a document's output does not depend on the others, and nothing is computed across them.
    No mask is made. A model that does not take its attention from transformers' table, or keeps a
    state from token to token, ignores the switch: the caller must try it.
    """

    def __init__(self, model: nn.Module) -> None:
        _register()
        self._layers = list(model.modules())
        configs = (getattr(module, "config", None) for module in self._layers)
        found = {id(config): config for config in configs if config is not None}
        self._configs = [c for c in found.values() if hasattr(c, "_attn_implementation")]

    @contextmanager
    def of(self, lengths: Sequence[int]) -> Iterator[None]:
        """Attention within each document; the backward pass belongs into the block, too."""
        before = [(config, dict(vars(config))) for config in self._all()]
        try:
            for config in self._configs:
                config._attn_implementation = _NAME
            for layer in self._layers:
                layer.__dict__[_LENGTHS] = tuple(lengths)
            yield
        finally:
            for layer in self._layers:
                layer.__dict__.pop(_LENGTHS, None)
            for config, values in before:
                changed = {k: v for k, v in values.items() if vars(config).get(k) is not v}
                vars(config).update(changed)

    def _all(self) -> list[Any]:
        """The configs and those within them, which the switch reaches, too."""
        found: dict[int, Any] = {}
        left = list(self._configs)
        while left:
            config = left.pop()
            if id(config) not in found and hasattr(config, "_attn_implementation"):
                found[id(config)] = config
                left += vars(config).values()
        return list(found.values())


def _register() -> None:
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, _no_mask)


def _no_mask(*args: Any, **kwargs: Any) -> None:
    """No mask: `_attend` needs none."""


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """softmax(QKᵀ)V within each document, causal; query [b, heads, T, d] → [b, T, heads, d].

    Raises `ValueError` for what it does not compute: a mask, caps, sinks, attention that looks
    ahead.
    """
    unknown = {"softcap", "s_aux", "position_bias", "head_mask"} & {
        name for name, given in rest.items() if given is not None
    }
    lengths: tuple[int, ...] = module.__dict__[_LENGTHS]
    ahead = rest.get("is_causal") is False or not getattr(module, "is_causal", True)
    if unknown or ahead or attention_mask is not None or query.shape[2] != key.shape[2]:
        raise ValueError(f"attention of another kind {sorted(unknown)}")
    grouped = query.shape[1] != key.shape[1]
    parts = []
    for q, k, v in zip(
        *(torch.split(x, list(lengths), 2) for x in (query, key, value)), strict=True
    ):
        mask = _window(q.shape[2], sliding_window, q.device)
        parts.append(
            attention(
                *(q, k, v),
                attn_mask=mask,
                dropout_p=dropout,
                is_causal=mask is None,
                scale=scaling,
                enable_gqa=grouped,
            )
        )
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _window(length: int, width: int | None, device: torch.device) -> Tensor | None:
    """The mask [T, T] of a sliding window that a document exceeds; None if there is none."""
    if width is None or length <= width:
        return None
    place = torch.arange(length, device=device)
    apart = place[:, None] - place
    return (apart >= 0) & (apart < width)
