"""Whether the value of a magic is used: only the cell's syntax tree knows.

IPython displays the value of a cell's last expression and drops all others, for example in a loop,
and a magic cannot see where it is. So a pass over the tree puts one character before the line of
each of our magics that is a statement; the router removes it. A line without one is a value:
assigned, or returned to a call from Python.

The cell that loads the extension was parsed before, so its magics are not marked: their places come
from the cell's text in IPython's history, in the order of the lines.
"""

from __future__ import annotations

import ast
import enum
from collections import defaultdict
from typing import Any

MAGICS = ("lora", "lora_train")
KEPT_AS = "_lora_magic_first_cell"


class Place(enum.Enum):
    """Where a magic is in its cell."""

    VALUE = ""
    STATEMENT = "\x1d"
    LAST = "\x1e"

    @classmethod
    def of(cls, line: str) -> tuple[Place, str]:
        """The place that a line was marked with, and the line as it was typed."""
        for place in (cls.STATEMENT, cls.LAST):
            if line.startswith(place.value):
                return place, line[1:]
        return cls.VALUE, line


class Marker:
    """Marks our magics in a cell's tree; IPython calls `visit`."""

    def visit(self, tree: ast.AST) -> ast.AST:
        """Mark each magic that is a statement; the cell's last one gets a mark of its own."""
        body = tree.body if isinstance(tree, ast.Module) else []
        for node in ast.walk(tree):
            line = line_of(node.value) if isinstance(node, ast.Expr) else None
            if line is not None and Place.of(str(line.value))[0] is Place.VALUE:
                place = Place.LAST if body and node is body[-1] else Place.STATEMENT
                line.value = place.value + str(line.value)
        return tree


def line_of(node: ast.expr) -> ast.Constant | None:
    """The node of `line` in a call of `run_line_magic` or `run_cell_magic` for our magics."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    if node.func.attr not in ("run_line_magic", "run_cell_magic") or len(node.args) < 2:
        return None
    name, line = node.args[:2]
    if not (isinstance(name, ast.Constant) and name.value in MAGICS):
        return None
    return line if isinstance(line, ast.Constant) and isinstance(line.value, str) else None


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
        """The place of this line in that cell; a line in a loop keeps its last place."""
        waiting = self._places.get(line, []) if number == self.number else []
        if not waiting:
            return Place.VALUE
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


def remember(shell: Any) -> list[str]:
    """Store the places of the cell that is running; returns its lines to run again in another cell.

    IPython took a line that ends in `?` for a request for help, before the extension was loaded.
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
