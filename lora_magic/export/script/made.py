"""The sections of an adapter's script: its runs, and before them those that it was made from.

A blend or a compression reads the folders of its parents, and computes with torch alone
(`deltas`). Knows how adapters were made, and bases; knows no session and no file that is written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora_magic.adapters.methods import METHODS
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.adapters.store import is_saved_as
from lora_magic.errors import ExportError

from . import deltas
from .long_rows import LongRows
from .run import head, run_parts
from .source import About, Part, distinct
from .steps import Blended, Compressed, Opened, Trained

#: How an adapter was made, step by step.
Steps = Sequence[Any]


def parts(about: About, name: str, steps: Steps) -> tuple[Part, ...]:
    """The sections of the script that makes an adapter, each of its parents once and before it.

    Raises `ExportError` for what no plain script can make, with the reason.
    """
    writing = _Writing(about)
    called = writing.adapter(name, tuple(steps))
    if not isinstance(steps[-1], Trained):
        code = _LOAD.format(folder=writing.folders[called])
        writing.parts.append(Part(f"{called} on the base", code))
    return distinct((*head(about), *writing.parts))


_LOAD = """from peft import PeftModel

model = PeftModel.from_pretrained(base, {folder})
model.eval()"""


class _Writing:
    """The sections so far; the adapters' names in the script, and their folders as code."""

    def __init__(self, about: About) -> None:
        self.about = about
        self.parts: list[Part] = []
        self.folders: dict[str, str] = {}
        self._names: dict[tuple[Any, ...], str] = {}

    def adapter(self, name: str, steps: tuple[Any, ...]) -> str:
        """Write what makes an adapter, if it is not there yet; returns its name in the script."""
        if steps in self._names:
            return self._names[steps]
        called = self._names[steps] = self._free(name)
        self.folders[called] = f'HERE / "{called}"'
        first, runs = steps[0], list(steps)
        if isinstance(first, Trained):
            _refuse_unknown_start(name, first)
        else:
            # Its parents' sections come first.
            made = list(self._made(called, first))
            self.parts += made
            runs = [replace(run, continued=True) for run in steps[1:]]
            if runs and isinstance(first, Opened):
                self.parts.append(self._copied(called))
        if runs:
            read = [_with_rows(run) for run in runs]
            self.parts += run_parts(self.about, called, read)
        return called

    def _free(self, name: str) -> str:
        """The name, or with a number, if an adapter that was made otherwise has it."""
        taken, number, called = set(self._names.values()), 2, name
        while called in taken:
            called, number = f"{name}_{number}", number + 1
        return called

    def _made(self, called: str, step: Blended | Compressed | Opened) -> Iterator[Part]:
        if isinstance(step, Opened):
            self.folders[called] = _source(called, step)
            if step.mark is None:
                yield Part("Adapters on the hub", "from huggingface_hub import snapshot_download")
        elif isinstance(step, Blended):
            yield from self._blended(called, step)
        else:
            yield from self._compressed(called, step)

    def _copied(self, called: str) -> Part:
        source, self.folders[called] = self.folders[called], f'HERE / "{called}"'
        code = f'import shutil\n\nshutil.copytree({source}, HERE / "{called}")'
        return Part(f"{called}, as it was saved", code)

    def _parent(self, name: str, steps: tuple[Any, ...], child: str) -> str:
        """Write a parent of a blend or a compression; returns its folder as code."""
        if not steps:
            raise ExportError(
                f"script: {name} was not trained when {child} was made from it, so its ΔW was 0; "
                f"train {name}, and make {child} again with --replace"
            )
        _refuse_other_methods(name, child, spec_after(steps))
        self._refuse_quantised(name, spec_after(steps).dora)
        return self.folders[self.adapter(name, steps)]

    def _refuse_quantised(self, name: str, reads_weights: bool) -> None:
        if reads_weights and self.about.base.quantised is not None:
            raise ExportError(
                f"script: ΔW of {name} depends on weights that are quantised, which a script "
                "would round otherwise; load the base without --bits, and make it there"
            )

    def _blended(self, called: str, step: Blended) -> Iterator[Part]:
        live = [part for part in step.parts if part[0]]
        folders = [self._parent(name, steps, called) for _, name, steps in live]
        yield _functions(getattr(deltas, _BLENDS[step.method]), deltas.moved)
        listed = "".join(
            f"    ({weight!r}, *read({folder}, base)),\n"
            for (weight, _, _), folder in zip(live, folders, strict=True)
        )
        names = ", ".join(folders)
        how = {
            "sum": "summed(here)",
            "ties": f"ties(here, {step.density!r})",
            "magnitude": f"magnitude(here, {step.density!r})",
            "dare": f'dare(here, {step.density!r}, zlib.crc32(f"{step.seed} {{path}}".encode()))',
        }[step.method]
        width = repr(step.rank)
        if step.rank is None:
            width = "min(sum(rank_of(delta) for _, delta in here), *dense(here[0][1]).shape)"
        words = " + ".join(f"{weight:g}·{name}" for weight, name, _ in live)
        code = _BLEND.format(parts=listed, how=how, width=width, folders=names, name=called)
        yield Part(f"{called} = {words}", code)

    def _compressed(self, called: str, step: Compressed) -> Iterator[Part]:
        self._refuse_quantised(step.parent, step.intruders)
        folder = self._parent(step.parent, step.made, called)
        if step.intruders:
            if spec_after(step.made).dora:
                raise ExportError(f"script: {step.parent} is DoRA, whose ΔW has no factors")
            uses, how = deltas.less_intruders, "less_intruders(delta, weight_of(base, path))"
        elif step.budget is not None:
            uses, how = deltas.shared_ranks, "cut(delta, ranks[path])"
        elif step.energy is not None:
            uses, how = deltas.energy_rank, f"cut(delta, energy_rank(delta, {step.energy!r}))"
        else:
            uses, how = deltas.cut, f"cut(delta, {step.rank})"
        yield _functions(uses)
        before = after = ""
        if step.budget is not None:
            before, after = f"ranks = shared_ranks(found, {step.budget})\n", " if ranks[path]"
        code = _COMPRESS.format(folder=folder, before=before, how=how, after=after, name=called)
        yield Part(f"{called}, from {step.parent}", code)


_BLENDS = {"sum": "summed", "ties": "ties", "magnitude": "magnitude", "dare": "dare"}

_BLEND = """parts = [
{parts}]
changes = {{}}
for path in dict.fromkeys(path for _, found, _ in parts for path in found):
    here = [(weight, found[path]) for weight, found, _ in parts if path in found]
    changes[path] = cut({how}, {width})
trained = moved([(weight, own) for weight, _, own in parts], base)
write(HERE / "{name}", [{folders}], changes, trained, base)"""

_COMPRESS = """found, trained = read({folder}, base)
{before}changes = {{path: {how} for path, delta in found.items(){after}}}
write(HERE / "{name}", [{folder}], changes, trained, base)"""

#: What the functions of `deltas` import.
_IMPORTS = """import json
import math
import re
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

# ΔW of a matrix [d, k]: B (its scale included) [d, r] and A [r, k], or the matrix itself
Delta = tuple[Tensor, Tensor] | Tensor"""

_ALWAYS = (deltas.read, deltas.delta_of, deltas.weight_of, deltas.dense, deltas.rank_of)


def _functions(*own: Callable[..., Any]) -> Part:
    """The functions that a section calls; two sections may each have one of them."""
    more = (deltas.trimmed,) if own[0] in (deltas.ties, deltas.magnitude) else ()
    more += (deltas.summed,) if own[0] is deltas.less_intruders else ()
    chosen = dict.fromkeys((*_ALWAYS, deltas.cut, *more, *own, deltas.write))
    code = "\n\n\n".join(inspect.getsource(function).rstrip() for function in chosen)
    return Part("ΔW of saved adapters", f"{_IMPORTS}\n\n\n{code}")


def spec_after(steps: Steps) -> AdapterSpec:
    """The spec of an adapter that was made so: that of a plain LoRA after a blend."""
    found = steps[-1]
    return found.spec if isinstance(found, Trained | Opened) else AdapterSpec(rank=1, alpha=1.0)


def _with_rows(run: Trained) -> Trained:
    """The run with its rows, read again if they were too long to keep."""
    rows, held_out = (
        one.read() if isinstance(one, LongRows) else one for one in (run.rows, run.held_out)
    )
    assert rows is not None  # only held-out rows may be absent
    return replace(run, rows=rows, held_out=held_out)


def _source(name: str, step: Opened) -> str:
    """The folder of an adapter that was read, as code."""
    method = METHODS[step.spec.method]
    if not method.peft:
        raise ExportError(
            f"script: {name} is {method.title}, which PEFT does not have, so a plain script cannot "
            "read it"
        )
    if not step.source:
        raise ExportError(
            f"script: {name} came inside a PeftModel; save it (%lora save {name}), and open that"
        )
    if step.mark is None:
        return f'Path(snapshot_download("{step.source}"))'
    if not is_saved_as(Path(step.source), step.mark):
        raise ExportError(
            f"script: {step.source}, from which {name} was opened, has other files now; save "
            f"{name} elsewhere (%lora save {name} DIR), and open that"
        )
    return f"Path({step.source!r})"


def _refuse_unknown_start(name: str, first: Trained) -> None:
    if first.continued:
        raise ExportError(
            f"script: {name} continues a run of another session, whose rows are not known here; "
            f"train it from the start: %lora train {name} --data VAR"
        )


def _refuse_other_methods(name: str, child: str, spec: AdapterSpec) -> None:
    if spec.method != "lora":
        title = METHODS[spec.method].title
        raise ExportError(
            f"script: {child} was made from {name} ({title}), and PEFT's file of it has no factors "
            "of ΔW; a script can make blends and compressions of LoRA, DoRA and rsLoRA"
        )
