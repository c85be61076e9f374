"""The number formats of a GGUF file's tensors: f32, f16 and q8_0.

q8_0 rounds blocks of 32 neighbours of a row to 8 bits with one f16 scale. Knows arrays and shapes;
knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind

from lora_magic.errors import ExportError
from lora_magic.numbers import figures

_KINDS = {"f32": Kind.F32, "f16": Kind.F16, "q8_0": Kind.Q8_0}
_FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}

_F16_LARGEST = float(np.finfo(np.float16).max)


def chosen(quantise: str | None, dtype: torch.dtype) -> str:
    """The format: as asked, else f32 for a base in fp32, and f16 for one in 16 bits.

    f16 holds every fp16 weight, and every bf16 weight from 6.1e-5 to 65504 in size; smaller ones
    are rounded by 3e-8 at most, larger ones refused.
    """
    return quantise or ("f32" if dtype == torch.float32 else "f16")


def file_type(format: str) -> int:
    """The value of `general.file_type`."""
    return int(_FILE_TYPES[format])


def kind_of(format: str, shape: Sequence[int]) -> Kind:
    """How a tensor is stored.

    Vectors (norms, biases) stay f32, as llama.cpp requires; rows that are not whole blocks of
    q8_0 stay f16.
    """
    if len(shape) < 2:
        return Kind.F32
    kind = _KINDS[format]
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    return kind if shape[-1] % block == 0 else Kind.F16


def stored_bytes(kind: Kind, shape: Sequence[int]) -> int:
    """Bytes of a tensor in the file, without padding."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return int(np.prod(shape)) // block * size


def encoded(name: str, values: np.ndarray, kind: Kind) -> np.ndarray:
    """An fp32 array as it is stored; raises `ExportError` for a value too large for its format."""
    if kind != Kind.F32 and values.size:
        # The scale of a block of q8_0 is its largest value / 127, in f16.
        limit = _F16_LARGEST * (127 if kind == Kind.Q8_0 else 1)
        largest = float(np.abs(values).max())
        if not largest <= limit:
            raise ExportError(
                f"{name} has a weight of size {largest:.3g}, and {kind.name.lower()} holds up to "
                f"{limit:.3g}; type: --quantise f32"
            )
    found: np.ndarray = gguf.quants.quantize(values, kind)
    return found


@dataclass
class Rounding:
    """Counts what storing rounds in f16; for q8_0, which rounds everything, how many stayed f16."""

    weights: int = 0
    rounded: int = 0
    largest: float = 0.0
    kept: int = 0

    def seen(self, values: np.ndarray, data: np.ndarray, kind: Kind, format: str) -> None:
        """Add one tensor."""
        if kind != Kind.F16:
            return
        self.kept += format == "q8_0"
        moved = np.abs(data.astype(np.float32) - values)
        self.weights += values.size
        self.rounded += int(np.count_nonzero(moved))
        self.largest = max(self.largest, float(moved.max(initial=0.0)))

    def notes(self, format: str) -> tuple[str, ...]:
        """What a person should know."""
        if format == "f32":
            return ()
        if format == "f16":
            if not self.rounded:
                return ("f16 holds every weight exactly",)
            return (
                f"f16 rounds {self.rounded:,} of {self.weights:,} weights, by "
                f"{figures(self.largest, 2)} at most",
            )
        if not self.kept:
            return ()
        tensors = "1 tensor is" if self.kept == 1 else f"{self.kept} tensors are"
        return (f"{tensors} f16: q8_0 needs rows of a multiple of 32",)
