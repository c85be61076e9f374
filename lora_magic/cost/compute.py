"""Floating-point operations of reading and training, the hours they take, and how many cards.

Knows a model's sizes and a setting; knows no machine but by its speed. An operation is a product or
a sum of two numbers. Biases, norms, activations, rotary positions and scans are left out: about 1 %
of the work.

    forward of a token    2·N + 4·Σ min(length, window)·width of each attention
    its backward          the same for the gradients of the activations, and as much again for those
                          of the weights, if the weights are trained; attention: twice its forward
    an adapter            6 for each of its parameters that are matrices
    checkpointing         one more forward of the blocks; torch may skip each block's last product
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from lora_magic.adapters.shapes import EMBEDDING

from . import ops
from .memory import Memory
from .model import Model
from .setting import BYTES, Setting

#: The parts of the memory that cards share among them; each card has the others whole.
_SHARED = ("weights", "adapter", "gradients", "optimizer")


class Forward(NamedTuple):
    """Operations of one token's forward pass: blocks, attention's products, the output layer."""

    blocks: float
    attention: float
    output: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.blocks + self.attention + self.output


def forward(model: Model, length: int) -> Forward:
    """The forward pass of one token among `length`; N is the matrices that it is multiplied by:
    those of the experts chosen for it, and no embedding."""
    attention = sum(
        4.0 * min(length, op.window or length) * op.heads * op.size
        for op in model.ops
        if op.kind == ops.ATTENTION
    )
    cache = model.shapes.cache
    if not model.ops and cache is not None:
        attention = 4.0 * length * cache.layers * model.shapes.width
    blocks, output = _matrices(model)
    return Forward(2.0 * blocks, attention, 2.0 * output)


@lru_cache(maxsize=8)
def _matrices(model: Model) -> tuple[int, int]:
    """The matrices that a token passes, and the output layer's own, tied or not."""
    shapes = model.shapes
    passed = sum(
        math.prod(shape)
        for path, _, shape in shapes.owned
        if len(shape) > 1 and path != shapes.output and shapes.modules[path].kind != EMBEDDING
    )
    head = None if shapes.output is None else shapes.modules.get(shapes.output)
    output = math.prod(head.sides) if head is not None and head.carries_lora else 0
    return max(0, passed - model.inactive), output


def operations(
    model: Model, setting: Setting, trained: int, tokens: float, labelled: float | None = None
) -> float:
    """The operations of a run that reads so many tokens, of which `labelled` (default all) have a
    label, or of reading them without training. `trained` is the number of trained parameters.

    Tokens without a label have no logits.
    """
    one = forward(model, setting.length)
    share = 1.0 if labelled is None or not tokens else min(1.0, labelled / tokens)
    reading = one.blocks + one.attention + share * one.output
    if not setting.training or setting.spec is None:
        return tokens * reading
    full = setting.spec.method == "full"
    backward = (one.blocks + share * one.output) * (2 if full else 1) + 2 * one.attention
    adapter = 0.0 if full or not setting.spec.rank else 6.0 * trained
    again = one.blocks + one.attention if setting.checkpointing else 0.0
    return tokens * (reading + backward + adapter + again)


def hours(work: float, speed: float | None, cards: int | None) -> float | None:
    """The hours of so many operations on cards of this speed; None where it is not known."""
    return work / (speed * (cards or 1)) / 3600 if speed else None


def cards(memory: Memory, room: int | None) -> int | None:
    """How many cards of `room` free bytes hold it, None if none is enough.

    Weights, gradients and moments are split among them, as FSDP and ZeRO-3 do; each card has the
    activations of its own pass.
    """
    if room is None:
        return None
    shared = sum(memory.of(part) for part in _SHARED)
    left = room - (memory.peak - shared)
    return max(1, math.ceil(shared / left)) if left > 0 else None


def tokens_a_second(weights: float, bandwidth: float) -> float | None:
    """Tokens a second that one prompt generates at most: each token reads all weights once."""
    return bandwidth / weights if bandwidth and weights else None


def checkpoint_bytes(trained: int, dtype: str = "fp32") -> int:
    """The tensors of one saved adapter; this project trains and saves adapters in float32."""
    return BYTES[dtype] * trained
