"""How a model is loaded and used: number formats, rows and lengths, what a run saves memory with.

Knows numbers and names only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lora_magic.adapters.spec import AdapterSpec

#: The bytes of a number in each format.
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "fp64": 8}


class Setting(NamedTuple):
    """One way of using a model.

    `dtype` is the format of weights and computation, `bits` 4 or 8 for a quantised base. One pass
    has `rows` rows of `length` tokens; training reads all of them, of which `trained` (default all)
    have a label; inference reads a prompt and generates up to `length` tokens in all. `spec` is the
    adapter, None for inference with the base alone. With `training` the peak is that of a training
    step. `cuda` tells a GPU from a CPU; `plain` is a step without packing, fused layers and the
    loss of trained tokens alone. A training step has `passes` such passes on each of `workers`.
    """

    dtype: str = "bf16"
    bits: int | None = None
    rows: int = 1
    length: int = 1024
    spec: AdapterSpec | None = None
    training: bool = True
    optimizer: str = "adamw"
    checkpointing: bool = False
    trained: int | None = None
    cuda: bool = True
    plain: bool = False
    passes: int = 1
    workers: int = 1

    def changed(self, **what: Any) -> Setting:
        """This setting with other values."""
        return self._replace(**what)
