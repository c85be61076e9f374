"""Whether anybody uses the value of a magic: only the cell's syntax tree knows.

IPython displays the value of a cell's last expression and drops that of every other, in a loop
say, and a magic is not told where it stands. So a pass over the tree, which IPython offers, writes
one character before the line of each of our magics that is a statement; the router takes it off.
A line without one is a value: assigned, or asked for by a call from Python.
"""

from __future__ import annotations

import ast
import enum

MAGICS = ("lora", "lora_train")


class Place(enum.Enum):
    """Where a magic stands."""

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
        """Mark each magic that is a statement, and apart from those the last of the cell."""
        body = tree.body if isinstance(tree, ast.Module) else []
        for node in ast.walk(tree):
            line = line_of(node.value) if isinstance(node, ast.Expr) else None
            if line is not None and Place.of(str(line.value))[0] is Place.VALUE:
                place = Place.LAST if body and node is body[-1] else Place.STATEMENT
                line.value = place.value + str(line.value)
        return tree


def line_of(node: ast.expr) -> ast.Constant | None:
    """The node of the line in `run_line_magic("lora", line)`, or in that of a cell magic."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    if node.func.attr not in ("run_line_magic", "run_cell_magic") or len(node.args) < 2:
        return None
    name, line = node.args[:2]
    if not (isinstance(name, ast.Constant) and name.value in MAGICS):
        return None
    return line if isinstance(line, ast.Constant) and isinstance(line.value, str) else None
