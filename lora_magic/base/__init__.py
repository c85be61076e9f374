"""Where a base model comes from: the embedded one, a hub id, a folder, live objects.

Here are the names that a person types. This file imports nothing, so that a line can be completed
before torch is imported.
"""

#: The embedded model.
DEMO = "demo"

#: A number format as typed, and torch's name for it.
DTYPES = {
    "float32": "float32",
    "fp32": "float32",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "float16": "float16",
    "fp16": "float16",
}

#: Kinds of device; `cuda:1` selects one of several.
DEVICES = ("cpu", "cuda", "mps")

#: The tasks of a base.
KINDS = ("causal", "classification")

#: The widths of quantised weights, in bits.
BITS = (4, 8)

#: The values of `--template`: how a prompt is written.
FORMS = ("chat", "plain")
