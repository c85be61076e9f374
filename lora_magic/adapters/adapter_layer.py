"""What the layers of our own that stand in a slot have in common.

Knows torch's modules; knows no method.
"""

from __future__ import annotations

from typing import Any

from torch import nn


class AdapterLayer(nn.Module):
    """A module that stands in a slot, around the base's own, which is called `base_layer` as in
    PEFT's layers.

    What it does not have is the base's: models read `weight`, `bias` or settings of a layer that
    they also call.
    """

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.base_layer = original
        self.training = original.training

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "base_layer":
                raise
            return getattr(super().__getattr__("base_layer"), name)
