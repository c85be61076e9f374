"""What the forward pass keeps for the backward pass, and what it needs beside it.

Knows a model's steps and a setting; knows no weights.
"""

from __future__ import annotations

from . import ops
from .model import Model
from .setting import BYTES, Setting


def parts(model: Model, setting: Setting) -> dict[str, int]:
    """Activations, logits, cache and workspace in bytes at the peak."""
    tokens, size = setting.rows * setting.length, BYTES[setting.dtype]
    blocks = max(1, len(model.shapes.blocks))
    kept = sum(_kept(op, setting) for op in model.ops if op.block >= 0) * tokens
    widest = max((op.reads + op.gives for op in model.ops if op.block >= 0), default=0)
    found = {"workspace": 2 * widest * tokens * size}
    if not setting.training:
        cache = model.shapes.cache
        if cache is not None:
            found["cache"] = 2 * cache.layers * cache.heads * cache.size * tokens * size
        found["logits"] = setting.rows * model.vocabulary * size
        return found
    if setting.checkpointing:
        kept = kept // blocks + blocks * model.shapes.width * tokens * size
    found["activations"] = kept
    if setting.plain:
        found["logits"] = 4 * tokens * model.vocabulary * 4
    else:
        trained = tokens if setting.trained is None else setting.trained
        found["logits"] = min(2**25, trained * model.vocabulary * 4) * 2
    return found


def _kept(op: ops.Op, setting: Setting) -> int:
    """The bytes that a step keeps of each token."""
    size = BYTES[setting.dtype]
    if op.kind == ops.ATTENTION:
        return (op.reads + op.gives) * size + 4 * op.heads
    if op.kind == ops.NORM:
        return op.reads * (4 + size)
    if op.kind in (ops.ACTIVATION, ops.PRODUCT):
        return (op.reads + op.gives) * size // (1 if op.kind == ops.ACTIVATION else 2)
    return 0
