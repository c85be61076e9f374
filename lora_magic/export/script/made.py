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
    writing.refuse_overwriting()
    if not isinstance(steps[-1], Trained):
        code = _LOAD.format(folder=writing.folders[called])
        writing.parts.append(Part(f"{called} on the base", code))
    rest = distinct((*writing.functions(), *writing.parts))
    return distinct((*head(about, rest), *rest))


_LOAD = "model = PeftModel.from_pretrained(load_base(), {folder}).eval()"


class _Writing:
    """The sections so far; the adapters' names in the script, and their folders as code."""

    def __init__(self, about: About) -> None:
        self.about = about
        self.parts: list[Part] = []
        self.folders: dict[str, str] = {}
        #: The folders that the script reads, beside those that it writes.
        self._read = {Path(about.source).resolve()}
        self._names: dict[tuple[Any, ...], str] = {}
        self._uses: list[Callable[..., Any]] = []

    def adapter(self, name: str, steps: tuple[Any, ...]) -> str:
        """Write what makes an adapter, if it is not there yet; returns its name in the script."""
        if steps in self._names:
            return self._names[steps]
        called = self._names[steps] = self._free(name)
        self.folders[called] = f'HERE / "{called}"'
        start, runs = None, steps
        if isinstance(steps[0], Trained):
            _refuse_unknown_start(name, steps[0])
        else:
            # Its parents' sections come first.
            made = list(self._made(called, steps[0]))
            self.parts += made
            start, runs = self.folders[called], steps[1:]
        if runs:
            read = [_with_rows(run) for run in runs]
            self.parts += run_parts(self.about, called, read, start)
            self.folders[called] = f'HERE / "{called}"'
        return called

    def refuse_overwriting(self) -> None:
        """Raise `ExportError` if the script would write into a folder that it reads."""
        for called, code in self.folders.items():
            folder = (self.about.folder / called).resolve()
            if code.startswith("HERE") and folder in self._read:
                raise ExportError(
                    f"script: run in {self.about.folder.absolute()}, it would write {called} over "
                    f"the folder {called} there, which it reads; name a file in another folder"
                )

    def functions(self) -> Iterator[Part]:
        """The functions that the sections of blends and compressions call."""
        if not self._uses:
            return
        chosen = dict.fromkeys((*_ALWAYS, *self._uses))
        code = "\n\n\n".join(inspect.getsource(function).rstrip() for function in chosen)
        yield Part("ΔW of saved adapters", f"{_DELTA.strip()}\n\n\n{code}")

    def _free(self, name: str) -> str:
        """The name, or with a number, if an adapter that was made otherwise has it."""
        taken, number, called = set(self._names.values()), 2, name
        while called in taken:
            called, number = f"{name}_{number}", number + 1
        return called

    def _made(self, called: str, step: Blended | Compressed | Opened) -> Iterator[Part]:
        if isinstance(step, Opened):
            self.folders[called] = _source(called, step)
            self._read.add(Path(step.source).resolve())
        elif isinstance(step, Blended):
            yield from self._blended(called, step)
        else:
            yield from self._compressed(called, step)

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
        self._uses += [*_BLENDS[step.method], deltas.moved, deltas.rank_of]
        self._uses += [deltas.widest] if step.rank is None else []
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
        width = "widest(here)" if step.rank is None else repr(step.rank)
        words = " + ".join(f"{weight:g}·{name}" for weight, name, _ in live)
        code = _BLEND.format(parts=listed, how=how, width=width, folders=names, name=called)
        yield Part(f"{called} = {words}", code)

    def _compressed(self, called: str, step: Compressed) -> Iterator[Part]:
        self._refuse_quantised(step.parent, step.intruders)
        folder = self._parent(step.parent, step.made, called)
        if step.intruders:
            if spec_after(step.made).dora:
                raise ExportError(f"script: {step.parent} is DoRA, whose ΔW has no factors")
            self._uses += [deltas.summed, deltas.less_intruders]
            how = "less_intruders(delta, weight_of(base, path))"
        elif step.budget is not None:
            self._uses += [deltas.rank_of, deltas.shared_ranks]
            how = "cut(delta, ranks[path])"
        elif step.energy is not None:
            self._uses.append(deltas.energy_rank)
            how = f"cut(delta, energy_rank(delta, {step.energy!r}))"
        else:
            self._uses.append(deltas.cut)
            how = f"cut(delta, {step.rank})"
        before = after = ""
        if step.budget is not None:
            before, after = f"ranks = shared_ranks(found, {step.budget})\n", " if ranks[path]"
        code = _COMPRESS.format(folder=folder, before=before, how=how, after=after, name=called)
        yield Part(f"{called}, from {step.parent}", code)


#: The functions that each kind of blend calls.
_BLENDS: dict[str, tuple[Callable[..., Any], ...]] = {
    "sum": (deltas.summed,),
    "ties": (deltas.trimmed, deltas.ties),
    "magnitude": (deltas.trimmed, deltas.magnitude),
    "dare": (deltas.dare,),
}

_BLEND = """base = load_base()
parts = [
{parts}]
changes = {{}}
for path in dict.fromkeys(path for _, found, _ in parts for path in found):
    here = [(weight, found[path]) for weight, found, _ in parts if path in found]
    changes[path] = cut({how}, {width})
trained = moved([(weight, own) for weight, _, own in parts], base)
write(HERE / "{name}", [{folders}], changes, trained, base)"""

_COMPRESS = """base = load_base()
found, trained = read({folder}, base)
{before}changes = {{path: {how} for path, delta in found.items(){after}}}
write(HERE / "{name}", [{folder}], changes, trained, base)"""

#: The type of ΔW, for the functions of `deltas`.
_DELTA = """
# ΔW of a matrix [d, k]: B (its scale included) [d, r] and A [r, k], or the matrix itself
Delta = tuple[Tensor, Tensor] | Tensor"""

#: What every blend and compression calls.
_ALWAYS: tuple[Callable[..., Any], ...] = (
    *(deltas.read, deltas.delta_of, deltas.weight_of, deltas.dense, deltas.cut),
    deltas.write,
)


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
    other = {
        key: value.read() if isinstance(value, LongRows) else value
        for key, value in run.other.items()
    }
    return replace(run, rows=rows, held_out=held_out, other=other)


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
    if not is_saved_as(folder := Path(step.source), step.mark):
        now = "has other files now" if folder.is_dir() else "is gone"
        raise ExportError(
            f"script: {step.source}, from which {name} was opened, {now}; put it back, or save "
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
