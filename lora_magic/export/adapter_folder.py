"""`--to peft`: an adapter's folder in PEFT's format, in the form that every reader reads alike.

A LoRA of any kind is written as a plain one (`plain_lora`). Virtual tokens and (IA)³ are written as
`save` writes them: PEFT reads both, and no server does, so there is nothing to normalise. Read back
by plain PEFT, on the base that the config names.

Knows PEFT's file names through `adapters`; knows no server.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lora_magic.adapters import attach, bridge, formats
from lora_magic.adapters.delta import PEFT_NAME
from lora_magic.adapters.files import WEIGHTS_FILE, read_tensors, write_parts
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.shapes import EMBEDDING
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.device import short_name
from lora_magic.base.load import quiet
from lora_magic.base.model import BaseModel
from lora_magic.errors import ExportError, listed
from lora_magic.numbers import size

from . import plain_lora
from .check import compared, noise
from .job import Job
from .merged import refuse_other_tensors, sum_of
from .process import ReadBack, read_back
from .receipt import Check
from .reference import Reference
from .request import request

#: Bytes of a config.
_CONFIG = 4096


class PeftFolder:
    """The format `peft`."""

    def refuse(self, job: Job) -> None:
        """Raise `ExportError` for what PEFT's folder cannot hold in a form that servers read."""
        attached = plain_lora.adapter_of(job)
        if not _as_it_is(job, attached):
            plain_lora.refuse(job)
        elif job.options.rank is not None:
            raise ExportError(
                f"{attached.method.title} has no rank to pad; omit --rank: "
                f"%lora export {job.name} --to {job.format}"
            )

    def bytes(self, job: Job) -> int:
        """The factors' size, in float32; of virtual tokens and (IA)³ that of their tensors."""
        attached = plain_lora.adapter_of(job)
        if _as_it_is(job, attached):
            return _CONFIG + sum(t.numel() * t.element_size() for _, t in attached.tensors())
        return _CONFIG + plain_lora.size_of(job)

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Write adapter_config.json and adapter_model.safetensors."""
        attached = plain_lora.adapter_of(job)
        if _as_it_is(job, attached):
            config, tensors = formats.written(job.base, job.slots, attached)
            config["base_model_name_or_path"] = named(job.base)
            notes: tuple[str, ...] = (f"{attached.method.title}: PEFT reads it, no server does",)
        else:
            plain = plain_lora.plain_lora(job)
            config, tensors = _config(job, plain), _tensors(job, plain)
            notes = (*plain.notes, *_about_servers(job))
        write_parts(config, tensors, folder)
        return (*notes, *_about_base(job.base))

    def check(self, job: Job, folder: Path, notebook: Reference) -> Check:
        """Plain PEFT, in another process, on the same base: the factors' bits, and the answers."""
        began = time.perf_counter()
        with _readable(job) as (base, notes):
            sums = {} if _as_it_is(job, plain_lora.adapter_of(job)) else {"sums": ".lora_"}
            asked = request(job, notebook, base, adapter=str(folder), bits=_bits(job.base), **sums)
            found = read_back("with_transformers", asked, f"{job.name} ({job.format})")
        if sums:
            written = read_tensors(folder / WEIGHTS_FILE)
            read = {key.replace(f".{PEFT_NAME}", ""): v for key, v in found.facts["sums"].items()}
            refuse_other_tensors({k: sum_of(t) for k, t in written.items()}, read, found.reader)
            if (scales := found.facts["scales"]) != [1]:
                raise ExportError(
                    f"{found.reader} scales the factors by {scales}, expected 1; nothing was kept."
                )
        # ΔW of the file is the adapter's own, so the notebook's answers are what is expected.
        limit = noise(notebook, job.base.dtype)
        notes = (*notes, *_about_generate(found))
        check = compared(notebook, notebook, found, limit=limit, notes=notes)
        return replace(check, seconds=time.perf_counter() - began)

    def commands(self, job: Job, folder: Path) -> tuple[tuple[str, str], ...]:
        """The Python line that reads it, in the number format of the notebook."""
        path, dtype = str(folder.resolve()), str(job.base.dtype).removeprefix("torch.")
        if job.base.source is None or job.base.quantised is not None:
            return (("in Python", f"PeftModel.from_pretrained(model, {path!r})"),)
        line = f"AutoPeftModelForCausalLM.from_pretrained({path!r}, dtype={dtype!r})"
        return (("in Python", line),)


def _as_it_is(job: Job, attached: LiveAdapter) -> bool:
    """Is it a method that PEFT has, whose numbers are no factors: virtual tokens or (IA)³?"""
    return not job.base.task.classifies and attached.spec.method in ("prefix", "prompt", "ia3")


def named(base: BaseModel) -> str:
    """The base as a config names it: what another process can read it from, if there is one."""
    return base.source or base.name


def own_embeddings(job: Job) -> list[str]:
    """The embeddings among the adapter's modules, and the layer that writes the logits."""
    shapes = job.slots.shapes
    return [p for p in job.modules if shapes.modules[p].kind == EMBEDDING or p == shapes.output]


def _about_servers(job: Job) -> Iterator[str]:
    """How SGLang (srt/lora/lora_config.py) and llama.cpp (convert_lora_to_gguf.py) read it."""
    yield "vLLM, SGLang and llama.cpp's converter read r and α alone: the folder needs no more"
    if own := own_embeddings(job):
        yield f"not every version of these reads a LoRA on {listed(own)}: try it"


def _about_base(base: BaseModel) -> Iterator[str]:
    if base.source is None:
        yield f"the base is a live object: pass it to PEFT yourself (the config says {base.name})"
    if base.dtype in (torch.float16, torch.bfloat16):
        kind = short_name(base.dtype)
        yield f"the factors are fp32, in which PEFT computes; a server rounds them to {kind}"


def _config(job: Job, plain: plain_lora.PlainLora) -> dict[str, Any]:
    """adapter_config.json of a LoRA of one rank with s = 1."""
    spec = AdapterSpec(rank=plain.rank, alpha=plain.rank)
    config = bridge.config_for(spec, job.slots.shapes, list(plain.factors))
    return bridge.file_config(config, base_model_name_or_path=named(job.base))


def _tensors(job: Job, plain: plain_lora.PlainLora) -> dict[str, Tensor]:
    """The factors under the names that PEFT gives them."""
    found = {}
    for path, (down, up) in plain.factors.items():
        start = attach.FILE_PREFIX + path
        embedding = job.slots.shapes.modules[path].kind == EMBEDDING
        names = ("lora_embedding_{}" if embedding else "lora_{}.weight",) * 2
        for side, name, factor in zip("AB", names, (down, up), strict=True):
            found[f"{start}.{name.format(side)}"] = factor
    return found


# Reading back


def _bits(base: BaseModel) -> int | None:
    """To how many bits the reader quantises the base's files; a live base's are as they are."""
    return None if base.quantised is None or base.source is None else base.quantised.bits


def _about_generate(found: ReadBack) -> Iterator[str]:
    """PEFT's `generate` with virtual tokens, whose forward pass is what was compared."""
    agreeing, asked = found.facts.get("generated"), len(found.answers)
    if agreeing not in (None, asked):
        yield (
            f"with virtual tokens PEFT's own generate() gives the answers of its forward pass on "
            f"{agreeing} of {asked} prompts ({found.reader}): decode with forward passes"
        )


@contextmanager
def _readable(job: Job) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where another process can read the base from, and what to note about that.

    A live object is written to a temporary folder for the block. Raises `ExportError` if that does
    not fit on the disk, or if only this notebook has its class.
    """
    base = job.base
    if base.source is not None:
        yield base.source, ()
        return
    model: Any = base.model
    unchecked = f"%lora export {job.name} --to {job.format} --unchecked"
    if type(model).__module__.partition(".")[0] != "transformers":
        raise ExportError(
            f"{type(model).__name__} is defined in this notebook, so no other process can load the "
            f"base to read the adapter back; type: {unchecked}"
        )
    with tempfile.TemporaryDirectory(prefix="lora_magic-") as room:
        needed = sum(t.numel() * t.element_size() for t in model.state_dict().values())
        free = shutil.disk_usage(room).free
        if needed > free:
            raise ExportError(
                f"the base is a live object, and to read the adapter back it is written to "
                f"{Path(room).parent}: {size(needed)} needed, {size(free)} free; make room, or "
                f"type: {unchecked}"
            )
        with job.slots.using({}), quiet(local=True):
            model.save_pretrained(room)
            base.needs_tokenizer().save_pretrained(room)
        yield room, (f"the base, a live object, was read from a temporary copy ({size(needed)})",)
