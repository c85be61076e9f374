"""A script as a notebook: its sections as cells, in the format of Jupyter (nbformat 4.5).

Knows sections and JSON; needs no library of notebooks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from .source import Part


def notebook(heading: str, parts: Sequence[Part]) -> str:
    """The notebook's file: the heading, then each section's title and its code."""
    title, _, rest = heading.partition("\n")
    cells = [_markdown(f"# {title}\n{rest}".strip())]
    for part in parts:
        cells += [_markdown(f"## {part.title}"), _code(part.code)]
    numbered = [{"id": f"cell-{number}", **cell} for number, cell in enumerate(cells)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    values = {
        "cells": numbered,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def _markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": list(_lines(text))}


def _code(text: str) -> dict[str, Any]:
    own: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": {}}
    return {**own, "outputs": [], "source": list(_lines(text.strip()))}


def _lines(text: str) -> Iterator[str]:
    yield from text.splitlines(keepends=True)
