"""`--to peft`: an adapter's folder in PEFT's format, in the form that every reader reads alike.

A LoRA of any kind is written as a plain one (`plain_lora`). Virtual tokens and (IA)³ are written as
`save` writes them: PEFT reads both, and no server does, so there is nothing to normalise. Read back
by plain PEFT, on the base that the config names.

Knows PEFT's file names through `adapters`; knows no server.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lora_magic.adapters import attach, bridge, formats
from lora_magic.adapters.files import write_parts
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.read_shapes import kind_of
from lora_magic.adapters.shapes import EMBEDDING
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.device import short_name
from lora_magic.base.model import BaseModel
from lora_magic.errors import ExportError
from lora_magic.numbers import size

from . import plain_lora
from .job import Job
from .receipt import Check
from .reference import Reference

#: Bytes of a config.
_CONFIG = 4096


class PeftFolder:
    """The format `peft`."""

    def refuse(self, job: Job) -> None:
        """Raise `ExportError` for what PEFT's folder cannot hold in a form that servers read."""
        attached = plain_lora.adapter_of(job, "peft")
        if not _as_it_is(job, attached):
            plain_lora.refuse(job, "peft")
        elif job.options.rank is not None:
            raise ExportError(
                f"{attached.method.title} has no rank to pad; omit --rank: "
                f"%lora export {job.name} --to peft"
            )

    def bytes(self, job: Job) -> int:
        """The factors' size, in float32; of virtual tokens and (IA)³ that of their tensors."""
        attached = plain_lora.adapter_of(job, "peft")
        if _as_it_is(job, attached):
            return _CONFIG + sum(t.numel() * t.element_size() for _, t in attached.tensors())
        return _CONFIG + plain_lora.size_of(job)

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Write adapter_config.json and adapter_model.safetensors."""
        attached = plain_lora.adapter_of(job, "peft")
        if _as_it_is(job, attached):
            config, tensors = formats.written(job.base, job.slots, attached)
            config["base_model_name_or_path"] = named(job.base)
            notes: tuple[str, ...] = (f"{attached.method.title}: PEFT reads it, no server does",)
        else:
            plain = plain_lora.plain_lora(job)
            config, tensors, notes = _config(job, plain), _tensors(job, plain), plain.notes
        write_parts(config, tensors, folder)
        return (*notes, *_about_base(job.base))

    def check(self, job: Job, folder: Path, notebook: Reference) -> Check:
        """Plain PEFT, in another process, on the base that the config names."""
        raise NotImplementedError

    def commands(self, job: Job, folder: Path) -> tuple[tuple[str, str], ...]:
        """The Python line that reads it."""
        path = str(folder.resolve())
        if job.base.source is None or job.base.quantised is not None:
            return (("read it", f"PeftModel.from_pretrained(model, {path!r})"),)
        return (("read it", f"AutoPeftModelForCausalLM.from_pretrained({path!r})"),)


def _as_it_is(job: Job, attached: LiveAdapter) -> bool:
    """Is it a method that PEFT has, whose numbers are no factors: virtual tokens or (IA)³?"""
    return not job.base.task.classifies and attached.spec.method in ("prefix", "prompt", "ia3")


def named(base: BaseModel) -> str:
    """The base as a config names it: what another process can read it from, if there is one."""
    return base.source or base.name


def _about_base(base: BaseModel) -> Iterator[str]:
    if base.source is None:
        yield f"the base is a live object: pass it to PEFT yourself (the config says {base.name})"
    if base.dtype in (torch.float16, torch.bfloat16):
        yield f"factors in fp32; a server rounds them to its own format, here {_short(base)}"


def _short(base: BaseModel) -> str:
    return short_name(base.dtype)


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
        embedding = kind_of(job.slots.original(path)) == EMBEDDING
        names = ("lora_embedding_{}" if embedding else "lora_{}.weight",) * 2
        for side, name, factor in zip("AB", names, (down, up), strict=True):
            found[f"{start}.{name.format(side)}"] = factor
    return found


# Reading back


@contextmanager
def readable(base: BaseModel) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where another process can read the base from, and what to note about that.

    A live object is written to a temporary folder for the block. Raises `ExportError` if that does
    not fit on the disk.
    """
    if base.source is not None:
        yield base.source, ()
        return
    with tempfile.TemporaryDirectory(prefix="lora_magic-") as room:
        needed = sum(t.numel() * t.element_size() for t in base.model.state_dict().values())
        free = shutil.disk_usage(room).free
        if needed > free:
            raise ExportError(
                f"the base is a live object, and to read the adapter back it is written to "
                f"{Path(room).parent}: {size(needed)} needed, {size(free)} free; make room, or add "
                "--unchecked"
            )
        model: Any = base.model
        model.save_pretrained(room)
        base.needs_tokenizer().save_pretrained(room)
        yield room, (f"the base, a live object, was read from a temporary copy ({size(needed)})",)
