"""Merges an adapter into a session's base, and unmerges it.

All merged modules are built before any is put into its slot.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import nn

from lora_magic.adapters.merge import (
    MergeReport,
    merged_module,
    refuse_unmergeable,
    weight_norm,
)
from lora_magic.base.device import short_name
from lora_magic.base.quantise import quantised_bits
from lora_magic.errors import StateError

from .receipt import Receipt
from .session_state import SessionState

#: The text on which merged and unmerged logits are compared.
TOKENS = 2  # enough for attention to matter; each forward pass reads all weights
PROBE = "How far are the merged and the unmerged answer apart?"


def merge(state: SessionState, name: str | None, *, check: bool = False) -> MergeReport:
    """Put merged copies of the target modules into their slots."""
    attached = state.named_or_active(name, "merge")
    dtype = short_name(state.base.dtype)
    if state.merged == attached.name:
        return MergeReport(attached.name, (), dtype, 0.0, 0.0, already=True)
    refuse_unmergeable(attached.method, attached.name)
    started = time.perf_counter()
    pairs = {
        path: merged_module(
            path,
            state.slots.original(path),
            layer,
            state.base.dtype,
            norm=_norm(state, path),
            check=check,
        )
        for path, layer in attached.replacements.items()
    }
    modules = {path: module for path, (module, _) in pairs.items()}
    difference = _logit_difference(state, attached.replacements, modules)
    state.write(modules, attached.name, attached.name)
    rows = tuple(row for _, row in pairs.values())
    seconds = time.perf_counter() - started
    quantised = state.base.quantised
    kind = "" if quantised is None else quantised.kind
    return MergeReport(
        attached.name, rows, dtype, difference, seconds, dequantised=kind, checked=check
    )


def _norm(state: SessionState, path: str) -> float | None:
    """‖W0‖ of one module, computed once: the base does not change while it is loaded."""
    original = state.slots.original(path)
    if "weight" not in original._parameters or quantised_bits(original):
        return None
    key = ("norm", path)
    if key not in state.base_scores:
        state.base_scores[key] = weight_norm(original)
    return float(state.base_scores[key])


def unmerge(state: SessionState) -> Receipt:
    """Restore the base's own modules, with the adapter's unmerged layers around them."""
    _ = state.base
    name = state.merged
    if name is None:
        raise StateError("nothing is merged; to merge, type: %lora merge NAME")
    state.activate(name)
    return Receipt(f"{name} unmerged: the base's own weights are back; {name} is active")


def _logit_difference(
    state: SessionState, one: Mapping[str, nn.Module], other: Mapping[str, nn.Module]
) -> float:
    """Largest absolute difference of the logits on a probe text, in float32."""
    base = state.base
    ids = list(range(TOKENS))
    if base.tokenizer is not None:
        ids = list(base.tokenizer(PROBE, add_special_tokens=False)["input_ids"])
    probe = torch.tensor([ids[:TOKENS]], device=base.device)
    logits = []
    for modules in (one, other):
        with state.slots.using(modules), torch.no_grad():
            logits.append(base.model(input_ids=probe, use_cache=False).logits.float())
    return float((logits[0] - logits[1]).abs().max())
