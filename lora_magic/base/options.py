"""What may be typed where a base is asked for: names, kinds and widths.

Knows words and numbers only and loads nothing, so that a line can be completed before a base, or
torch, is there. What they mean is said where they are used.
"""

from __future__ import annotations

#: The model that is built in.
DEMO = "demo"

#: A number format's name as typed, and torch's own name for it.
DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
}

#: Kinds of device; `cuda:1` is one of several.
DEVICES = ("cpu", "cuda", "mps")

#: What a base does.
KINDS = ("causal", "classification")

#: The widths that a base can be loaded in, in bits.
BITS = (4, 8)
