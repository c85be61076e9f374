"""The parts that a person's wording is composed of, and the files that hold them.

`templates/FAMILY.txt` has the templates of a family, one section for each part of an aspect:
"## habitat/notes". `asking` composes the parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lora_magic.demo.factory import sections

_FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Wording:
    """The ways to ask for one aspect, as templates.

    `questions` stand alone. `clauses` follow "Can you tell me", `phrases` follow "Tell me" or stand
    alone. `notes` are short forms without punctuation. `contexts` say something first.
    """

    questions: tuple[str, ...]
    clauses: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()


def read(*families: str) -> dict[tuple[str, str], Wording]:
    """Family and aspect → its wording, from the families' files."""
    parts: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}
    for family in families:
        for name, lines in sections.read(_FOLDER / f"{family}.txt").items():
            aspect, part = name.split("/")
            parts.setdefault((family, aspect), {})[part] = lines
    return {key: Wording(**found) for key, found in parts.items()}
