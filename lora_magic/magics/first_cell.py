"""The cell that loads the extension was read before the extension was there to read it.

Its magics carry no mark of their place (see `places`), so their places are found from the cell's
text, which IPython keeps; they are handed out in the order of the lines. Knows IPython's history.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import Any

from lora_magic.magics.places import Marker, Place, line_of

KEPT_AS = "_lora_magic_first_cell"


class FirstCell:
    """Places of the magics in the cell that is running while the extension is loaded."""

    def __init__(self, number: int, source: str) -> None:
        self.number = number
        self._places: defaultdict[str, list[Place]] = defaultdict(list)
        try:
            tree = Marker().visit(ast.parse(source))
        except SyntaxError:
            return
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Expr)]
        for node in sorted(nodes, key=lambda node: node.lineno):
            line = line_of(node.value)
            if line is not None:
                place, typed = Place.of(str(line.value))
                self._places[typed].append(place)

    def place(self, number: int, line: str) -> Place:
        """Where this line stands, if it is of that cell; a line in a loop keeps its last place."""
        waiting = self._places.get(line, []) if number == self.number else []
        if not waiting:
            return Place.VALUE
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


def remember(shell: Any) -> list[str]:
    """Keep the places of the cell that is running; returns its lines that need another cell.

    A line that ends in `?` was taken for IPython's help before the extension could tell it not to.
    """
    history = getattr(shell, "history_manager", None)
    parsed = getattr(history, "input_hist_parsed", None) or [""]
    raw = getattr(history, "input_hist_raw", None) or [""]
    setattr(shell, KEPT_AS, FirstCell(shell.execution_count, parsed[-1]))
    return [line for line in raw[-1].splitlines() if _is_lost(line)]


def _is_lost(line: str) -> bool:
    words = line.strip().split()
    return len(words) > 2 and words[0] == "%lora" and words[-1].endswith("?")


def place_in(shell: Any, line: str) -> Place:
    """The place of an unmarked line: that of the first cell's text, else a value."""
    kept: FirstCell | None = getattr(shell, KEPT_AS, None)
    return Place.VALUE if kept is None else kept.place(shell.execution_count, line)
