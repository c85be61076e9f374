"""`--to gguf`: the merged model, the base or the adapter alone, for llama.cpp and Ollama.

Knows jobs and what to do for each; the file itself, its check and the `Modelfile` have files of
their own.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lora_magic.base.device import short_name
from lora_magic.base.quantise import quantised_bits
from lora_magic.errors import ExportError
from lora_magic.export import weights
from lora_magic.export.job import Job
from lora_magic.export.merged import refuse_unmerged
from lora_magic.export.receipt import Check
from lora_magic.export.reference import Reference
from lora_magic.numbers import size

from . import adapter, check, modelfile
from .file import model_bytes, write_model
from .quantise import chosen
from .tokenizer import vocabulary_of


class Gguf:
    """GGUF, read back by llama.cpp; `--adapter-only` writes the adapter for the base's own file."""

    def refuse(self, job: Job) -> None:
        """Raise `ExportError` for what GGUF or llama.cpp lacks."""
        if job.form is None:
            raise ExportError(
                "--to gguf: llama.cpp runs no classifier of transformers; type: --to merged"
            )
        if job.options.adapter_only:
            adapter.refuse(job)
            return
        refuse_unmerged(job)
        if job.options.rank is not None:
            raise ExportError(
                f"--rank {job.options.rank} is for an adapter alone; type: --to gguf "
                "--adapter-only, or omit --rank"
            )
        self.bytes(job)
        vocabulary_of(job)

    def bytes(self, job: Job) -> int:
        """The tensors' bytes: the tokenizer adds a few megabytes."""
        if job.options.adapter_only:
            return adapter.bytes(job)
        return model_bytes(_config(job), _described(job), format_of(job))

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """NAME.gguf, and Ollama's `Modelfile` beside it."""
        if job.options.adapter_only:
            return adapter.write(job, folder)
        tensors = weights.tensors(job, weights.folded(job))
        path = folder / f"{job.name}.gguf"
        notes = write_model(
            path, job.name, _config(job), tensors, vocabulary_of(job), format_of(job)
        )
        return (*_dequantised(job), *notes, *modelfile.write(job, folder))

    def check(self, job: Job, folder: Path, notebook: Reference) -> Check:
        """llama.cpp's tokens and log-probabilities, in another process with an fp32 KV cache."""
        return check.check(job, folder, notebook)

    def commands(self, job: Job, folder: Path) -> tuple[tuple[str, str], ...]:
        """The lines that serve it."""
        if job.options.adapter_only:
            return adapter.commands(job, folder)
        path, beside = (
            shlex.quote(str(folder / name)) for name in (f"{job.name}.gguf", "Modelfile")
        )
        return (
            ("serve it", f"llama-server -m {path}"),
            ("in Ollama", f"ollama create {job.name} -f {beside}"),
        )


def format_of(job: Job) -> str:
    """The number format of a job's file: "f32", "f16" or "q8_0"."""
    return chosen(job.options.quantise, job.base.dtype)


def _described(job: Job) -> dict[str, Tensor]:
    """The base's tensors; of quantised layers the shapes alone, as nothing is dequantised yet."""
    found = weights.tensors(job, {})
    for path in job.slots.paths():
        layer: Any = job.slots.original(path)
        if quantised_bits(layer):
            packed = [name for name in found if name.startswith(f"{path}.")]
            for name in packed:
                if name != f"{path}.bias":
                    del found[name]
            shape = (layer.out_features, layer.in_features)
            found[f"{path}.weight"] = torch.empty(shape, device="meta")
    return found


def _dequantised(job: Job) -> tuple[str, ...]:
    if job.base.quantised is None:
        return ()
    needed = size(weights.copied_bytes(job))
    return (
        f"the {job.base.quantised.kind} weights were dequantised to {short_name(job.base.dtype)} "
        f"first, which takes {needed} of memory",
    )


def _config(job: Job) -> Any:
    return job.base.model.config
