"""A model's tensors under llama.cpp's names and in its layout.

Knows names, shapes and how rows are ordered; knows no number format and no file. The order of rows
follows `LlamaModel.permute` of ggml-org/llama.cpp, `conversion/llama.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gguf
import torch
from torch import Tensor

from lora_magic.errors import ExportError

from .architectures import Architecture, rope_factors

_EMBEDDING = "model.embed_tokens.weight"
_HEAD = "lm_head.weight"


@dataclass(frozen=True, eq=False)
class Placed:
    """One tensor of the file: its name there, where it comes from, and what is done to it.

    `heads` is not 0 for the rows of q and k that are interleaved; `shift` is added.
    """

    name: str
    source: Tensor
    heads: int = 0
    shift: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """As in transformers: outputs by inputs."""
        return tuple(self.source.shape)

    def values(self) -> Tensor:
        """The tensor as llama.cpp reads it, in fp32 on the CPU."""
        found = self.source.to("cpu", torch.float32)
        if self.shift:
            found = found + self.shift
        if self.heads:
            found = interleaved(found, self.heads)
        return found.contiguous()


class Names:
    """llama.cpp's names for the modules of one model, and the heads whose rows it reorders."""

    def __init__(self, architecture: Architecture, config: Any) -> None:
        self.architecture = architecture
        self._config = config
        by_name = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
        self._map = gguf.get_tensor_name_map(
            by_name[architecture.name], int(config.num_hidden_layers)
        )

    def module(self, path: str) -> str:
        """The name of a module, as "blk.0.attn_q" of "model.layers.0.self_attn.q_proj".

        Raises `ExportError` for a module that llama.cpp lacks.
        """
        found = self._map.get_name(path)
        if found is None:
            raise ExportError(
                f"--to gguf: llama.cpp's {self.architecture.name} has no module {path!r}; "
                "type: --to merged"
            )
        return str(found)

    def heads(self, path: str) -> int:
        """Into how many heads a module's output rows are divided for interleaving, or 0."""
        if not self.architecture.interleaved:
            return 0
        if path.endswith(".q_proj"):
            return int(self._config.num_attention_heads)
        return int(self._config.num_key_value_heads) if path.endswith(".k_proj") else 0


def interleaved(rows: Tensor, heads: int) -> Tensor:
    """Rows of heads, with row i of a head's first half beside row i of its second.

    Rotary pairs are (i, i + h/2) in transformers and (2i, 2i + 1) here.
    """
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.transpose(1, 2).reshape(rows.shape)


def placed(
    tensors: Mapping[str, Tensor], architecture: Architecture, config: Any
) -> tuple[Placed, ...]:
    """Every tensor of the file, in the order of the model.

    A head that is the embedding itself is left out: llama.cpp then uses the embedding. Raises
    `ExportError` for what llama.cpp has no place for.
    """
    names = Names(architecture, config)
    found = [
        _place(path, tensor, names)
        for path, tensor in tensors.items()
        if not (path == _HEAD and _same(tensor, tensors[_EMBEDDING]))
    ]
    if (factors := rope_factors(config)) is not None:
        found.insert(0, Placed("rope_freqs.weight", torch.tensor(factors)))
    return tuple(found)


def _place(path: str, tensor: Tensor, names: Names) -> Placed:
    module, _, part = path.rpartition(".")
    architecture = names.architecture
    if part == "bias" and module.rpartition(".")[2] not in architecture.biases:
        raise ExportError(
            f"--to gguf: llama.cpp's {architecture.name} has no bias in {module!r}; "
            "type: --to merged"
        )
    if path == _HEAD and architecture.tied:
        raise ExportError(
            f"--to gguf: llama.cpp's {architecture.name} has no head of its own, and this lm_head "
            "differs from the embedding; type: --to merged"
        )
    shift = architecture.norm_shift if module.endswith("norm") else 0.0
    return Placed(f"{names.module(module)}.{part}", tensor, names.heads(module), shift)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape
