"""`--adapter-only`: the factors of a LoRA adapter as GGUF, which llama.cpp adds to a base's file.

llama.cpp computes W·x + (α/r)·B·(A·x). Here the scale is part of B and α = r, so no reader can take
another one; ranks that differ are padded with zeros to one r. Rows of B are ordered as those of W.
Knows layers with factors and llama.cpp's names; the base's own file is written elsewhere.

Source: ggml-org/llama.cpp, `convert_lora_to_gguf.py` (keys and names), `src/llama-adapter.h` (the
scale).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gguf import GGML_QUANT_VERSION, GGUFWriter
from torch import Tensor, nn
from torch.nn import functional

from lora_magic.adapters.delta import low_rank_of
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.methods import METHODS
from lora_magic.errors import ExportError
from lora_magic.export.job import Job
from lora_magic.export.plain_lora import padded, refuse_rank
from lora_magic.export.weights import folded

from . import modelfile
from .architectures import architecture_of
from .quantise import chosen, encoded, file_type, kind_of, stored_bytes
from .tensors import Names, interleaved
from .tokenizer import vocabulary_of


class Factors(NamedTuple):
    """A [r, k] and s·B [d, r] of one module, in fp32 on the CPU: ΔW = (s·B)·A."""

    down: Tensor
    up: Tensor


class Added(nn.Module):
    """W·x + (s·B)·(A·x): a module with the factors that the file holds."""

    def __init__(self, original: nn.Module, factors: Factors) -> None:
        super().__init__()
        device = next(original.parameters()).device
        self.original: Any = original
        self.down, self.up = factors.down.to(device), factors.up.to(device)

    def forward(self, value: Tensor) -> Tensor:
        """As llama.cpp computes it."""
        added = functional.linear(functional.linear(value, self.down), self.up)
        found: Tensor = self.original(value) + added
        return found


def refuse(job: Job) -> None:
    """Raise `ExportError` for what llama.cpp cannot add to a base's file."""
    if job.attached is None:
        raise ExportError(
            "--adapter-only: base has no adapter; omit --adapter-only, or name an adapter"
        )
    names = Names(architecture_of(job.base.model.config), job.base.model.config)
    tied = _tied_head(job)
    for path, layer in job.modules.items():
        original = job.slots.original(path)
        if low_rank_of(layer) is None:
            raise ExportError(
                f"--adapter-only: {job.name} ({job.attached.spec.line}) is not a plain low-rank "
                f"update in {path or 'the model'}, and llama.cpp adds nothing else; "
                f"{_instead(job, job.attached)}"
            )
        if not isinstance(original, nn.Linear):
            kind = type(original).__name__
            raise ExportError(
                f"--adapter-only: {path} is of type {kind}, and llama.cpp adds factors to linear "
                f"layers only; {_instead(job, job.attached)}"
            )
        if original is tied:
            raise ExportError(
                f"--adapter-only: {path} shares its weight with the embedding, so a GGUF file has "
                f"no such tensor; {_instead(job, job.attached)}"
            )
        names.module(path)
    refuse_rank(job, max(ranks(job)))
    vocabulary_of(job)


def bytes(job: Job) -> int:
    """Bytes of the factors."""
    rank, format = _rank(job), chosen(job.options.quantise, job.base.dtype)
    layers: list[Any] = [job.slots.original(path) for path in job.modules]
    shapes = [
        shape
        for layer in layers
        for shape in ((rank, layer.in_features), (layer.out_features, rank))
    ]
    return sum(stored_bytes(kind_of(format, shape), shape) for shape in shapes)


def write(job: Job, folder: Path) -> tuple[str, ...]:
    """NAME.gguf with the factors, and Ollama's `Modelfile` beside it."""
    config: Any = job.base.model.config
    architecture = architecture_of(config)
    names, format = Names(architecture, config), chosen(job.options.quantise, job.base.dtype)
    writer = GGUFWriter(str(folder / f"{job.name}.gguf"), architecture.name)
    try:
        writer.add_type("adapter")
        writer.add_name(job.name)
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", float(_rank(job)))
        writer.add_file_type(file_type(format))
        writer.add_quantization_version(GGML_QUANT_VERSION)
        for name, value in _tensors(job, names):
            kind = kind_of(format, value.shape)
            writer.add_tensor(name, encoded(name, value.numpy(), kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return modelfile.write(job, folder)


def commands(job: Job, folder: Path) -> tuple[tuple[str, str], ...]:
    """The lines that make the base's file, and that serve both."""
    base = folder.parent / modelfile.BASE
    path, model, beside = (
        shlex.quote(str(one)) for one in (folder / f"{job.name}.gguf", base, folder / "Modelfile")
    )
    return (
        ("write the base", f"%lora export base {shlex.quote(str(base.parent))} --to gguf"),
        ("serve it", f"llama-server -m {model} --lora {path}"),
        ("in Ollama", f"ollama create {job.name} -f {beside}"),
    )


def factors(job: Job) -> dict[str, Factors]:
    """The factors of each module, with the scale in B, padded with zeros to one rank."""
    rank, found = _rank(job), {}
    for path, layer in job.modules.items():
        low = low_rank_of(layer)
        assert low is not None  # others were refused
        found[path] = Factors(*padded(low, rank))
    return found


def modules(job: Job) -> Mapping[str, nn.Module]:
    """What is in the slots where the base's file and the adapter's are read."""
    plain = folded(_base(job))
    return plain | {
        path: Added(plain.get(path, job.slots.original(path)), one)
        for path, one in factors(job).items()
    }


def ranks(job: Job) -> list[int]:
    """The rank of each module's factors."""
    return [low.rank for layer in job.modules.values() if (low := low_rank_of(layer)) is not None]


def _tensors(job: Job, names: Names) -> Iterator[tuple[str, Tensor]]:
    for path, one in factors(job).items():
        name, heads = names.module(path), names.heads(path)
        yield f"{name}.weight.lora_a", one.down.contiguous()
        up = interleaved(one.up, heads) if heads else one.up
        yield f"{name}.weight.lora_b", up.contiguous()


def _rank(job: Job) -> int:
    return job.options.rank or max(ranks(job))


def _tied_head(job: Job) -> nn.Module | None:
    """The head, if its weight is the embedding's."""
    model: Any = job.base.model
    head = model.get_output_embeddings()
    return head if head.weight is model.get_input_embeddings().weight else None


def _instead(job: Job, attached: LiveAdapter) -> str:
    """What to type for an adapter that llama.cpp cannot add."""
    if METHODS[attached.spec.method].not_merged:
        return f"keep it for transformers: %lora save {job.name}"
    near = f"%lora compress {job.name} --rank {attached.spec.rank or 8}"
    return f"omit --adapter-only for a merged file, or type: {near}"


def _base(job: Job) -> Job:
    """The base alone, for which the adapter is meant."""
    return replace(job, name="base", attached=None)
