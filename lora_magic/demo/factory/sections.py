"""Reads a text file of templates: "## NAME" begins a section, one template a line below it.

"= NAME; it: the {name}" stands for the lines of the section "## =NAME" above it, with "the {name}"
for their {it}. Knows no name and no template.
"""

from __future__ import annotations

from pathlib import Path

Lines = tuple[str, ...]


def read(path: Path) -> dict[str, Lines]:
    """Section → its lines, in the order of the file; empty lines do not count."""
    found: dict[str, Lines] = {}
    for section in f"\n{path.read_text('utf-8')}".split("\n## ")[1:]:
        name, *lines = section.splitlines()
        found[name] = tuple(one for line in lines if line for one in _meant(line, found))
    return {name: lines for name, lines in found.items() if not name.startswith("=")}


def _meant(line: str, found: dict[str, Lines]) -> Lines:
    """The lines that a line stands for: itself, or those of a section above."""
    if not line.startswith("= "):
        return (line,)
    name, *values = line.removeprefix("= ").split("; ")
    lines = found[f"={name}"]
    for value in values:
        field, _, text = value.partition(": ")
        lines = tuple(one.replace(f"{{{field}}}", text) for one in lines)
    return lines
