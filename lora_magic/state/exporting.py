"""`export`: of what, checked on which prompts, and in what order it is written, read and kept.

Knows the session's state; does not know what a format writes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from lora_magic import demo, reading
from lora_magic.adapters.spec import BASE_NAME
from lora_magic.base import DEMO
from lora_magic.base.model import BaseModel
from lora_magic.errors import ExportError, LoraMagicError, PromptError
from lora_magic.export import card, folder, formats, push, weights
from lora_magic.export.job import Format, Job, Options
from lora_magic.export.receipt import Check, Export
from lora_magic.export.reference import Reference, answered
from lora_magic.numbers import size
from lora_magic.paths import path_of, quoted

from . import queries
from .session_state import SessionState

#: How many of the session's prompts an export is checked on.
MOST = 10

#: Asked where a session has no prompt of its own.
_GENERIC = ("What should I know about this place?",)


def export(
    state: SessionState,
    home: Path,
    name: str | None,
    target: Any,
    *,
    to: Any,
    options: Options,
    prompts: Sequence[str] | None,
    unchecked: bool,
    replace: bool,
    pushed: tuple[Any, bool, bool | push.Confirm],
    say: Callable[[str], None],
) -> Export:
    """Write, check, keep and perhaps upload an export.

    Whatever fails leaves no file and the session as it was; after a failed upload the export stays.
    """
    began = time.perf_counter()
    _ = state.base  # without one, that is the error
    kind = formats.kind_of(to)
    formats.refuse_flags(to, options)
    formats.check_quantise(options.quantise)
    job = _job(state, name, to, options, prompts, say)
    if job.attached is None and not (kind.merges and not options.adapter_only):
        raise ExportError(
            f"export base --to {to}: the base has no adapter to write; use --to merged, or gguf."
        )
    form = formats.format_of(to)
    form.refuse(job)
    if not unchecked:
        formats.refuse_unread(to)
    command = f"%lora export {job.name} DIR --to {to}{options.typed}{' --unchecked' * unchecked}"
    where = _folder(home, job, target)
    planned = push.plan(job, *pushed)
    needed = form.bytes(job)
    with folder.told(where, command):
        folder.refuse_used(where, replace, command)
        folder.refuse_full(where, needed, command)
    _refuse_memory(job, needed if kind.merges and not options.adapter_only else None, not unchecked)
    notebook = None if unchecked else _notebook(state, job)
    made = _written(job, form, where, needed, notebook, command, replace)
    made = dataclasses.replace(made, seconds=time.perf_counter() - began)
    if planned is None:
        return made
    say("pushing it …")
    return dataclasses.replace(made, pushed=push.upload(planned, where, replace))


def _notebook(state: SessionState, job: Job) -> Reference:
    """The session's own answers to the job's prompts."""
    job.say(f"answering {len(job.prompts)} prompts here …")
    context = queries.usable_context(state, [job.name])
    found = answered(job.base, job.slots, job.modules, job.form, job.prompts, context)
    _refuse_broken(job, found)
    return found


def _written(
    job: Job,
    form: Format,
    where: Path,
    needed: int,
    notebook: Reference | None,
    command: str,
    replace: bool,
) -> Export:
    """Write the folder, read it back against the notebook's answers, keep it: all or nothing."""
    checks: list[Check] = []
    notes: list[str] = []

    def write(new: Path) -> None:
        job.say(f"writing {job.name} as {job.format}, {size(needed)} …")
        notes.extend(form.write(job, new))
        if notebook is not None:
            job.say("reading it back in another process …")
            checks.append(form.check(job, new, notebook))
        card.write(job, new, checks[0] if checks else None, notes, card.commands(form, job))

    folder.written(where, replace, needed, command, write)
    return Export(
        name=job.name,
        format=job.format,
        folder=where,
        files=folder.files_of(where),
        check=checks[0] if checks else None,
        notes=tuple(notes),
        commands=form.commands(job, where),
    )


def _job(
    state: SessionState,
    name: str | None,
    to: str,
    options: Options,
    prompts: Sequence[str] | None,
    say: Callable[[str], None],
) -> Job:
    base = state.base
    base.needs_tokenizer()
    attached = None if name == BASE_NAME else state.named_or_active(name, f"export --to {to}")
    called = BASE_NAME if attached is None else attached.name
    form = None if base.task.classifies else state.form_of(called)
    chosen = _prompts(state, called, prompts)
    return Job(called, base, state.slots, attached, form, chosen, options, say, to)


def _prompts(state: SessionState, name: str, given: Sequence[str] | None) -> tuple[str, ...]:
    """The prompts that an export is checked on: those given, else the session's own.

    Raises `PromptError` if a given one cannot be read, or leaves no room for an answer.
    """
    if given is not None:
        texts = list(dict.fromkeys(given))
        if not texts:
            raise PromptError("--prompts: no prompt in it; expected at least one text.")
        for text in texts:
            _fit(state, name, text)
        return tuple(texts)
    attached = state.attached.get(name)
    example = attached.example if attached is not None else ""
    own = [*state.asked, *([example] if example else [])]
    suggested = demo.SUGGESTED_PROMPTS if state.base.name == DEMO else ()
    known = dict.fromkeys([*reversed(own), *suggested, *(() if own or suggested else _GENERIC)])
    return tuple([text for text in known if _fits(state, name, text)][:MOST]) or _GENERIC


def _fits(state: SessionState, name: str, text: str) -> bool:
    try:
        _fit(state, name, text)
    except LoraMagicError:
        return False
    return True


def _fit(state: SessionState, name: str, text: str) -> None:
    base = state.base
    if base.task.classifies:
        return
    context = queries.usable_context(state, [name])
    count = len(state.form_of(name).encode(base.needs_tokenizer(), text))
    if count >= context:
        raise PromptError(
            f"--prompts: {text[:40]!r} has {count} tokens, and the context is {context}; give "
            "shorter ones."
        )


def _folder(home: Path, job: Job, given: Any) -> Path:
    if given is None:
        alone = "-adapter" * job.options.adapter_only
        return home / "exports" / f"{job.name}-{job.format}{alone}"
    return path_of(given, "export")


def _refuse_broken(job: Job, notebook: Reference) -> None:
    """Raise `ExportError` for an adapter without finite logits: it would be read as such."""
    pairs = zip(notebook.logits, notebook.prompts, strict=True)
    for logits, prompt in pairs:
        if not logits.numel() or not bool(logits.isfinite().all()):
            way = "load it with another --dtype"
            if job.attached is not None:
                way = f"train it again with a smaller --lr, or type: %lora detach {job.name}"
            raise ExportError(f"{job.name} answers {prompt[:40]!r} with NaN or infinity; {way}")


def _refuse_memory(job: Job, merged: int | None, reads: bool) -> None:
    """Raise `ExportError` if merging and reading back need more memory than is free.

    `merged` is the size of a merged model's file, None for an adapter, which is read with its base.
    """
    copied = weights.copied_bytes(job) if merged is not None else 0
    width = 4 if job.options.quantise == "f32" else 1  # the base is written for the adapter
    parameters = job.base.model.parameters()
    stored = sum(p.numel() * max(p.element_size(), width) for p in parameters)
    read = (stored if merged is None else merged) if reads else 0
    free = _free_memory(job.base)
    if free is None or copied + read <= free:
        return
    parts = [f"{size(copied)} for the merged weights"] if copied else []
    parts += [f"{size(read)} to read it back"] if read else []
    way = "add --unchecked to write it without reading it back"
    if copied > free:
        way = f"save the adapter instead: %lora save {quoted(job.name)}"
    raise ExportError(
        f"export {job.name} --to {job.format} needs {' and '.join(parts)}, and {size(free)} is "
        f"free; {way}."
    )


def _free_memory(base: BaseModel) -> int | None:
    if base.device.type == "cuda":
        return int(torch.cuda.mem_get_info(base.device)[0])
    return reading.free_memory()
