"""The sections of a script, and what they are written about.

A script is a sequence of parts: sections of a Python file, or cells of a notebook. Knows a base and
its shapes; knows no run and no session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_magic.adapters.shapes import Shapes
from lora_magic.base.device import short_name
from lora_magic.base.model import BaseModel
from lora_magic.errors import ExportError


@dataclass(frozen=True)
class Part:
    """A section: its title, its code, and the files that are written beside the script, by name.

    Two runs on one base share parts, such as the functions that they call: these are equal. What
    one title defines no other title does.
    """

    title: str
    code: str
    files: Mapping[str, str] = field(default_factory=dict, compare=False)


def distinct(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts without those that are in effect already: the last of the same title is equal."""
    found: list[Part] = []
    latest: dict[str, Part] = {}
    for part in parts:
        if latest.get(part.title) != part:
            found.append(part)
            latest[part.title] = part
    return tuple(found)


@dataclass(frozen=True, eq=False)
class About:
    """What a script is about: the base and its shapes, and the script's folder and stem.

    Rows that are too long for the script go into STEM.jsonl, STEM-2.jsonl, … beside it.
    """

    base: BaseModel
    shapes: Shapes
    stem: str
    folder: Path = Path()

    @property
    def source(self) -> str:
        """The folder or hub id that another process can read the base from.

        Raises `ExportError` for a base that was given as an object.
        """
        if self.base.source is None:
            raise ExportError(
                f"{self.base.name} was given as an object (use), which a script cannot load "
                "again; save it with save_pretrained, then type: %lora load FOLDER"
            )
        return self.base.source

    @property
    def tokenizer(self) -> Any:
        """The base's tokenizer."""
        return self.base.needs_tokenizer()

    @property
    def dtype(self) -> str:
        """The number format of computation, as torch names it: `bfloat16`."""
        return str(self.base.dtype).removeprefix("torch.")

    @property
    def device(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return self.base.device.type

    @property
    def bits(self) -> int | None:
        """The bits that the base was quantised to; None for one that was not."""
        return None if self.base.quantised is None else self.base.quantised.bits

    @property
    def short(self) -> str:
        """The base in a few words: `demo, fp32`."""
        return f"{self.base.name}, {short_name(self.base.dtype)}"
