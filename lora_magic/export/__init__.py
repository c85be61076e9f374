"""What leaves the notebook: merged models, adapters for servers, GGUF, scripts.

An export is read back in another process before it counts as written. Knows a base, its slots and
an adapter; knows no session and no notebook. Imports no torch here: help and completion read the
names of the formats.
"""

from __future__ import annotations

#: What `export --to` writes.
FORMATS = ("merged", "peft", "vllm", "gguf")

#: The number formats of a GGUF file.
QUANTISATIONS = ("f32", "f16", "q8_0")
