"""One export: of what, in which format, and what every format must be able to do.

Knows a base, its slots and an adapter; writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import nn

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.slots import Slots
from lora_magic.base.model import BaseModel
from lora_magic.base.prompt import PromptForm

from .receipt import Check
from .reference import Reference


@dataclass(frozen=True)
class Options:
    """Flags of `export` that formats read; `formats.refuse_flags` refuses the others.

    `quantise` is one of `QUANTISATIONS`; `adapter_only` writes the adapter without the base;
    `rank` pads every module's factors with zeros to one rank.
    """

    quantise: str | None = None
    adapter_only: bool = False
    rank: int | None = None

    @property
    def typed(self) -> str:
        """The flags as they are typed, each after a space."""
        quantise = f" --quantise {self.quantise}" if self.quantise else ""
        rank = "" if self.rank is None else f" --rank {self.rank}"
        return f"{quantise}{' --adapter-only' * self.adapter_only}{rank}"


@dataclass(frozen=True, eq=False)
class Job:
    """What is exported.

    `attached` is None for the base alone, whose `name` is "base"; `form` is None for a classifier.
    The export is checked on `prompts`. `say` shows a line of progress. `format` is the name of the
    format.
    """

    name: str
    base: BaseModel
    slots: Slots
    attached: LiveAdapter | None
    form: PromptForm | None
    prompts: tuple[str, ...]
    options: Options
    say: Callable[[str], None]
    format: str = ""

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """What is in the slots while the adapter answers in the notebook, unmerged."""
        return {} if self.attached is None else self.attached.replacements


class Format(Protocol):
    """One format of `export --to`."""

    def refuse(self, job: Job) -> None:
        """Raise `ExportError`, with what to type instead, before anything is written."""
        ...

    def bytes(self, job: Job) -> int:
        """About how many bytes `write` will write."""
        ...

    def write(self, job: Job, folder: Path) -> tuple[str, ...]:
        """Fill an empty folder; returns what a person should know about it."""
        ...

    def check(self, job: Job, folder: Path, notebook: Reference) -> Check:
        """Read the folder back in another process; raises `ExportError` if it answers otherwise."""
        ...

    def commands(self, job: Job, folder: Path) -> tuple[tuple[str, str], ...]:
        """(what it does, the line to type) for the receipt, with the final folder."""
        ...
