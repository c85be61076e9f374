"""One GGUF file of a model: its keys, its tokenizer, then its tensors one by one.

A tensor is converted as it is written, so that memory holds one of them in fp32. Knows configs and
tensors; knows no session, no adapter and no other file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGML_QUANT_VERSION, GGUFWriter
from torch import Tensor

from .architectures import Architecture, Value, architecture_of, keys, window_notes
from .quantise import Rounding, encoded, file_type, kind_of, stored_bytes
from .tensors import Placed, placed
from .tokenizer import Vocabulary


def write_model(
    path: Path,
    name: str,
    config: Any,
    tensors: Mapping[str, Tensor],
    words: Vocabulary,
    format: str,
) -> tuple[str, ...]:
    """Write a model in "f32", "f16" or "q8_0"; returns what a person should know about the file.

    `tensors` are those of a transformers model, by the names of its `state_dict`. Raises
    `ExportError` for what llama.cpp lacks, and for a weight that is too large for the format.
    """
    architecture = architecture_of(config)
    found = placed(tensors, architecture, config)
    writer = GGUFWriter(str(path), architecture.name)
    try:
        _write_keys(writer, name, config, architecture, format)
        words.write(writer)
        rounding = _write_tensors(writer, found, format)
    finally:
        writer.close()
    return (*rounding.notes(format), *window_notes(config, architecture), *words.notes)


def model_bytes(config: Any, tensors: Mapping[str, Tensor], format: str) -> int:
    """Bytes of the tensors in the file; raises `ExportError` as `write_model`."""
    found = placed(tensors, architecture_of(config), config)
    return sum(stored_bytes(kind_of(format, one.shape), one.shape) for one in found)


def _write_keys(
    writer: GGUFWriter, name: str, config: Any, architecture: Architecture, format: str
) -> None:
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(file_type(format))
    writer.add_quantization_version(GGML_QUANT_VERSION)
    for key, value in keys(config, architecture).items():
        _add(writer, f"{architecture.name}.{key}", value)


def _add(writer: GGUFWriter, key: str, value: Value) -> None:
    if isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_uint32(key, value)


def _write_tensors(writer: GGUFWriter, found: Sequence[Placed], format: str) -> Rounding:
    kinds = [kind_of(format, one.shape) for one in found]
    for one, kind in zip(found, kinds, strict=True):
        size = stored_bytes(kind, one.shape)
        # The shape is that of the values: so says an array's type other than uint8.
        writer.add_tensor_info(one.name, one.shape, np.dtype(np.float32), size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    rounding = Rounding()
    for one, kind in zip(found, kinds, strict=True):
        values = one.values().numpy()
        data = encoded(one.name, values, kind)
        rounding.seen(values, data, kind, format)
        writer.write_tensor_data(data)
    return rounding
