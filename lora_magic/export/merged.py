"""`export --to merged`: the model with ΔW in its weights, as a folder that transformers loads.

Written by transformers' own `save_pretrained`, from a copy of the model object that shares its
tensors, so that nothing of the session's model changes. Read back by plain transformers in another
process: every tensor bit for bit, and the answers. Knows a base, its slots and an adapter.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.adapters.merge import refuse_unmergeable
from lora_magic.base.device import short_name
from lora_magic.base.folder import ANSWERS
from lora_magic.base.load import quiet
from lora_magic.errors import AdapterError, ExportError, listed
from lora_magic.numbers import figures, size
from lora_magic.paths import quoted

from . import weights
from .check import compared, noise
from .job import Job
from .process import ReadBack, read_back
from .receipt import LABELS, LOGITS, Check
from .reference import Reference, replayed
from .request import is_remote_code, request

#: The largest file of weights; a model with more has several, and an index.
SHARD = 5 * 10**9

#: Limits of the reader's noise by which merged and unmerged logits may differ if nothing is
#: rounded to fewer bits: W0·x + B·(A·x) is (W0 + B·A)·x, summed in another order in every layer.
_SUMS = 16

#: Fields of the settings of `generate` that say where they come from.
_UNSAID = {"transformers_version", "_from_model_config"}


class Merged:
    """A transformers folder: weights, config, tokenizer, chat template, generation config."""

    def __init__(self, shard: int = SHARD) -> None:
        self._shard = shard
        self._folded: dict[str, nn.Module] = {}
        self._sums: dict[str, str] = {}

    def refuse(self, job: Job) -> None:
        """Raise `ExportError` for what no merged model can hold, or no other process can load."""
        refuse_unmerged(job)
        kind = type(job.base.model)
        if kind.__module__.partition(".")[0] not in ("transformers", "transformers_modules"):
            raise ExportError(
                f"{kind.__name__} is defined in this notebook ({kind.__module__}), so no other "
                f"process can load it; save the adapter: %lora save {job.name}"
            )

    def bytes(self, job: Job) -> int:
        """The weights' bytes, tied ones once."""
        return weights.dense_bytes(job)

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Write the model and its tokenizer."""
        base = job.base
        self._folded = weights.folded(job)
        tensors = weights.tensors(job, self._folded)
        untied = [names for names in weights.tied(job) if len({id(tensors[n]) for n in names}) > 1]
        with job.slots.using(self._folded), quiet(local=True):
            model = _copied(base.model, untie=bool(untied))
            model.save_pretrained(str(folder), state_dict=dict(tensors), max_shard_size=self._shard)
        if (own := getattr(base.model, "generation_config", None)) is not None:
            # The base's own, also where `save_pretrained` would refuse its combination of settings.
            own.to_json_file(str(folder / ANSWERS))
        with quiet(local=True):
            base.needs_tokenizer().save_pretrained(str(folder))
        for file in folder.glob("*.safetensors"):
            # safetensors creates files for their owner alone; these are files like any other.
            file.chmod((folder / "config.json").stat().st_mode & 0o777)
        self._sums = {name: sum_of(tensor) for name, tensor in tensors.items()}
        return _notes(job, untied)

    def check(self, job: Job, folder: Path, notebook: Reference) -> Check:
        """Load the folder with plain transformers: every tensor's bits, and the answers."""
        began = time.perf_counter()
        expected = replayed(job.base, job.slots, self._folded, notebook)
        # "auto": in the number format that the folder itself names, as people load it.
        asked = request(job, notebook, str(folder), sums=True, dtype="auto")
        found = read_back("with_transformers", asked, f"{job.name} (merged)")
        refuse_other_tensors(self._sums, found.facts["sums"], found.reader)
        _refuse_other_settings(job, found)
        check = compared(
            notebook,
            expected,
            found,
            limit=noise(expected, job.base.dtype),
            measure=LABELS if notebook.classifies else LOGITS,
            why=_why(job),
        )
        if not _rounds(job) and check.difference > _SUMS * check.limit:
            raise ExportError(
                f"{job.name} answers differently merged and unmerged: {check.measure} are "
                f"{figures(check.difference)} apart, expected at most "
                f"{figures(_SUMS * check.limit)}; nothing was kept."
            )
        return replace(check, seconds=time.perf_counter() - began)

    def commands(self, job: Job, folder: Path) -> tuple[tuple[str, str], ...]:
        """How to load it here and in plain transformers."""
        loader = "AutoModelForCausalLM"
        task = ""
        if job.base.task.classifies:
            loader, task = "AutoModelForSequenceClassification", " --task classification"
        trust = " --trust-remote-code" if is_remote_code(job.base.model) else ""
        more = ", trust_remote_code=True" if trust else ""
        return (
            ("load it here", f"%lora load {quoted(folder)}{task}{trust}"),
            ("in Python", f"{loader}.from_pretrained({str(folder)!r}, dtype='auto'{more})"),
        )


def refuse_unmerged(job: Job) -> None:
    """Raise `ExportError`, with the alternative, for an adapter that cannot be merged."""
    if job.attached is None:
        return
    try:
        refuse_unmergeable(job.attached.method, job.name)
    except AdapterError as error:
        raise ExportError(
            f"{str(error).split('. Use it')[0]}; save it as an adapter: %lora save {job.name}"
        ) from None


def refuse_other_tensors(
    expected: Mapping[str, str], found: Mapping[str, str], reader: str
) -> None:
    """Raise `ExportError` unless the reader's model has the same tensors, bit for bit."""
    other = [name for name, told in expected.items() if found.get(name) != told]
    other += [name for name in found if name not in expected]
    if other:
        raise ExportError(
            f"{reader} loads {len(other)} of {len(expected)} tensors with other values than here "
            f"({listed(other, 3)}); nothing was kept."
        )


def _refuse_other_settings(job: Job, found: ReadBack) -> None:
    """Raise `ExportError` unless `generate` has the base's own settings there."""
    own = getattr(job.base.model, "generation_config", None)
    if own is None:
        return
    here, there = json.loads(own.to_json_string()), found.facts["settings"]
    other = sorted(name for name in {*here, *there} - _UNSAID if here.get(name) != there.get(name))
    if other:
        raise ExportError(
            f"{found.reader} reads other settings of generate than this notebook's "
            f"({listed(other, 3)}); nothing was kept."
        )


def _copied(model: Any, *, untie: bool) -> Any:
    """A copy of the model object that shares its modules, with a config of its own."""
    made = copy.copy(model)
    made.config = copy.deepcopy(model.config)
    if getattr(model, "generation_config", None) is not None:
        made.generation_config = type(model.generation_config)()
    for name in ("hf_quantizer", "quantization_method", "hf_device_map"):
        made.__dict__.pop(name, None)
    for config in {id(one): one for one in (made.config, made.config.get_text_config())}.values():
        for name in ("quantization_config", "_pre_quantization_dtype"):
            if hasattr(config, name):
                delattr(config, name)
        if untie:
            config.tie_word_embeddings = False
    return made


def sum_of(tensor: Tensor) -> str:
    """The number format and the sha256 of the bits, as the reader gives it."""
    raw = tensor.cpu().contiguous().flatten().view(torch.uint8).numpy()
    return f"{tensor.dtype} {hashlib.sha256(raw.data).hexdigest()}"


def _notes(job: Job, untied: list[list[str]]) -> tuple[str, ...]:
    notes = []
    quantised = job.base.quantised
    if quantised is not None:
        notes.append(
            f"the {quantised.kind} weights were dequantised to {short_name(job.base.dtype)}, the "
            f"numbers that this notebook computes with: {size(weights.dense_bytes(job))} of memory "
            "to load it"
        )
    notes += [
        f"{listed(names)} are one tensor in the base, and two here: ΔW changes one"
        for names in untied
    ]
    return tuple(notes)


def _rounds(job: Job) -> bool:
    """Does merging round to fewer bits than the notebook computes with?"""
    quantised = job.base.quantised
    return job.base.dtype.itemsize < 4 or (quantised is not None and quantised.bits == 8)


def _why(job: Job) -> str:
    kind = short_name(job.base.dtype)
    added = "W0 + ΔW" if job.attached is not None else "W0"
    quantised = job.base.quantised
    if quantised is not None and quantised.bits == 8:
        return f"int8 layers round their inputs too, and {added} in {kind} does not"
    if quantised is not None:
        return f"rounding of {added}, dequantised, to {kind}"
    return f"rounding of {added} to {kind}"
