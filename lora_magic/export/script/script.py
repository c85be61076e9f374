"""A script as a value: its sections as text, and what was written of it.

Knows sections and adapters' steps; knows no session and writes no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import fill
from typing import Any

from lora_magic.adapters.card import versions
from lora_magic.errors import ExportError
from lora_magic.paths import quoted
from lora_magic.printable import message, one_line

from .source import About, Part
from .steps import Blended, Compressed, Opened, Trained

#: Characters of a line of the heading.
_WIDTH = 98


@dataclass(frozen=True)
class Script:
    """A script that was written: its `file`, all `files` with their bytes, and its sections.

    `text` is the program in the file, of a notebook that of its cells; `notes` are what a reader
    should know before running it.
    """

    name: str
    file: Path
    files: tuple[tuple[str, int], ...]
    parts: tuple[Part, ...] = field(repr=False)
    text: str = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> int:
        """The lines of the program."""
        return self.text.count("\n")

    @property
    def command(self) -> str:
        """What to type to run it."""
        run = "jupyter execute" if self.file.suffix == ".ipynb" else "python"
        return f"{run} {quoted(self.file)}"

    @property
    def line(self) -> str:
        """The receipt in one line."""
        rows = [name for name, _ in self.files[1:]]
        beside = f", with {', '.join(rows)}" if rows else ""
        notes = "".join(f"; {note}" for note in self.notes)
        return message(
            f"{self.name}: {self.lines} lines in {len(self.parts)} sections written to "
            f"{self.file}{beside}{notes}"
        )

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import script

        return script.bundle(self)


def program(heading: str, parts: Sequence[Part]) -> str:
    """One Python file: the heading as its docstring, and each section under its title.

    Raises `ExportError` if that is no Python.
    """
    escaped = heading.replace("\\", "\\\\").replace('"""', r"\"\"\"")
    sections = [f"# %% {_comment(part.title)}\n{part.code.strip()}\n" for part in parts]
    text = "\n\n".join([f'"""{escaped}"""\n', *sections])
    try:
        compile(text, "script", "exec")
    except SyntaxError as error:
        raise ExportError(f"script: line {error.lineno} would be no Python: {error.msg}") from error
    return text


def _comment(title: str) -> str:
    return one_line(title)


def heading(about: About, name: str, steps: Sequence[Any]) -> str:
    """What a script makes, with which versions, and how near its result is to the notebook's."""
    paged = any(run.settings.optimizer.startswith("paged") for run in _runs(steps))
    quantises = paged or about.base.quantised is not None
    needless = set() if quantises else {"bitsandbytes"}
    used = ", ".join(f"{p} {found}" for p, found in versions().items() if p not in needless)
    writes = not isinstance(steps[-1], Opened)
    ends = f"It writes the adapter into the folder {name} beside this file. " if writes else ""
    packages = "transformers, peft and bitsandbytes" if quantises else "transformers and peft"
    needs = f"It needs torch, {packages}, and nothing else."
    reads = "BASE says from where it reads the base."
    told = f"{needs} {reads} {ends}Made with {used}. {_nearness(about, steps)}"
    lines = fill(told, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return f"{name} on {about.short}: {_told(steps)}.\n\n{lines}\n"


def _told(steps: Sequence[Any]) -> str:
    """`2 runs of training`, `a blend of a and b, 1 run of training`."""
    found, runs = [], sum(isinstance(step, Trained) for step in steps)
    first = steps[0]
    if isinstance(first, Blended):
        found.append(f"a blend of {' and '.join(name for _, name, _ in first.parts)}")
    elif isinstance(first, Compressed):
        what = "without intruder dimensions" if first.intruders else "compressed"
        found.append(f"{first.parent} {what}")
    elif isinstance(first, Opened):
        found.append(f"read from {first.source}")
    if runs:
        found.append(f"{runs} run{'s' * (runs != 1)} of training")
    return ", ".join(found)


def notes(about: About, steps: Sequence[Any]) -> tuple[str, ...]:
    """What the receipt says beside the files."""
    if _is_exact(about, steps):
        return ()
    return ("near the notebook's weights, not bit for bit (that is train --plain-step, on a CPU)",)


def _is_exact(about: About, steps: Sequence[Any]) -> bool:
    """Are all runs repeated bit for bit? Those of plain steps on a CPU are."""
    runs = list(_runs(steps))
    return not runs or (about.device == "cpu" and all(run.settings.plain_step for run in runs))


def _nearness(about: About, steps: Sequence[Any]) -> str:
    if not _is_exact(about, steps):
        plain = all(run.settings.plain_step for run in _runs(steps))
        how = "on a GPU" if plain else "in packed passes"
        return (
            f"Its weights are near the notebook's: these were trained {how}, whose sums are "
            "rounded otherwise (train --plain-step gives the same bits on a CPU)."
        )
    if all(isinstance(step, Trained) for step in steps):
        return "On a CPU and with the same versions it gives the notebook's weights, bit for bit."
    return "Its weights are the notebook's, up to the rounding of a few sums."


def _runs(steps: Sequence[Any]) -> Iterator[Trained]:
    """All runs, those of the parents too."""
    for step in steps:
        if isinstance(step, Trained):
            yield step
        elif isinstance(step, Compressed):
            yield from _runs(step.made)
        elif isinstance(step, Blended):
            for _, _, made in step.parts:
                yield from _runs(made)
