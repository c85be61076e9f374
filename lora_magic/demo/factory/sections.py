"""Reads a text file of templates: "## NAME" begins a section, one template a line below it.

Knows no name and no template.
"""

from __future__ import annotations

from pathlib import Path


def read(path: Path) -> dict[str, tuple[str, ...]]:
    """Section → its lines, in the order of the file; empty lines do not count."""
    found: dict[str, tuple[str, ...]] = {}
    for section in f"\n{path.read_text('utf-8')}".split("\n## ")[1:]:
        name, *lines = section.splitlines()
        found[name] = tuple(line for line in lines if line)
    return found
