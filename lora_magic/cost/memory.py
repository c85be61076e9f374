"""The peak of memory by part: for inference, LoRA, QLoRA and full fine-tuning.

Knows a model's shapes and steps and a setting; knows no card and no machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from .model import Model
from .setting import Setting

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
    raise NotImplementedError
