"""The peak of memory by part: for inference, LoRA, QLoRA and full fine-tuning.

Knows a model's shapes and steps and a setting; knows no card and no machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import activations
from .count import trainable
from .model import Model
from .setting import BYTES, Setting

#: The parts, in the order of a stacked picture.
PARTS = (
    "weights",
    "adapter",
    "gradients",
    "optimizer",
    "activations",
    "logits",
    "cache",
    "workspace",
)


@dataclass(frozen=True)
class Memory:
    """Bytes by part at the moment of the peak; parts that are 0 are left out."""

    parts: tuple[tuple[str, int], ...]

    @property
    def peak(self) -> int:
        """The sum of the parts."""
        return sum(size for _, size in self.parts)

    def of(self, part: str) -> int:
        """The bytes of one part."""
        return dict(self.parts).get(part, 0)


def memory(model: Model, setting: Setting) -> Memory:
    """The peak of a model used in one way."""
    fixed = {"weights": weights(model, setting)}
    if setting.spec is not None:
        trained = trainable(model, setting.spec)
        fixed["adapter"] = 4 * trained
        if setting.training:
            fixed |= {"gradients": 4 * trained, "optimizer": 8 * trained}
    found = {**fixed, **activations.parts(model, setting)}
    return Memory(tuple((part, found[part]) for part in PARTS if found.get(part)))


def weights(model: Model, setting: Setting) -> int:
    """The bytes of all weights, tied ones once."""
    size, total = BYTES[setting.dtype], 0
    sizes = {path: module.bits for path, module in model.shapes.modules.items()}
    for path, name, shape in model.shapes.owned():
        count = 1
        for side in shape:
            count *= side
        bits = sizes[path] if name == "weight" else None
        total += quantised(count, shape[0], bits) if bits else count * size
    return total


def quantised(count: int, rows: int, bits: int) -> int:
    """The bytes of so many weights in 4 bits with double quantisation, or in 8 with row scales."""
    if bits == 8:
        return count + 4 * rows
    blocks = -(-count // 64)
    return -(-count // 2) + blocks + 4 * -(-blocks // 256) + 4 * (16 + 256 + 1)
