"""NF4 for the tests: a weight quantised by bitsandbytes' own layer."""

from __future__ import annotations

import torch
from torch import Tensor

from lora_magic.base.quantise import dequantised

#: Weights that share one scale, and scales that share one of theirs (QLoRA, section 3).
BLOCK, NESTED_BLOCK = 64, 256


def nf4(weight: Tensor) -> Tensor:
    """q(W): a weight [d, k] in NF4 with double quantisation, float32."""
    import bitsandbytes as bnb

    outputs, inputs = weight.shape
    layer = bnb.nn.Linear4bit(
        inputs, outputs, bias=False, quant_type="nf4", compute_dtype=torch.float32
    )
    layer.weight.data.copy_(weight)
    return dequantised(layer.to("cpu"))
