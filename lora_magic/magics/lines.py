"""Rewrites a cell's text before IPython reads it.

Otherwise IPython would take `%lora ask What is it?` for a request for help on `it`, read the rows
below a comment and `%%lora_train` as Python, and refuse a cell magic with no body. Knows only the
syntax of our magics; every other line stays as it is.
"""

from __future__ import annotations

import re
import tokenize
from typing import Any

from IPython.core.inputtransformer2 import (
    TokenTransformBase,
    assemble_continued_line,
    find_end_of_continued_line,
)

_CELL = re.compile(r"%%lora(_train)?(?=\s|$)")
_HELP = re.compile(r"%lora\?\??\s*$")


def lift_cell_magic(lines: list[str]) -> list[str]:
    """The cell without comments above its `%%lora`, and with a body, if need be an empty line."""
    for index, line in enumerate(lines):
        if _CELL.match(line):
            lifted = lines[index:]
            if len(lifted) > 1:
                return lifted
            # IPython refuses a cell magic without a body, with an error that tools do not see.
            return [line if line.endswith("\n") else line + "\n", "\n"]
        if line.strip() and not line.lstrip().startswith("#"):
            break
    return lines


class LoraLine(TokenTransformBase):  # type: ignore[misc]  # IPython is read without types
    """Turns `%lora …` and `x = %lora …` into a call, whatever the prompt contains.

    IPython's own passes read tokens, in which an apostrophe, a bracket or a final question mark of
    a prompt has a meaning. This one uses tokens only to find where the line begins, so that it
    leaves a line within a string alone. `%lora?` and `%lora??` stay help.
    """

    # Before IPython's help (5) and magics (10).
    priority = 4

    def __init__(self, start: tuple[int, int], column: int) -> None:
        super().__init__(start)
        self.column = column

    @classmethod
    def find(cls, tokens_by_line: list[list[Any]]) -> LoraLine | None:
        """The first line of the cell that is ours."""
        for tokens in tokens_by_line:
            code = [t for t in tokens if t.type not in (tokenize.INDENT, tokenize.DEDENT)]
            at = _magic_in(code)
            if at is not None and not _HELP.match(at.line[at.start[1] :]):
                # The magic's row: the assignment's target may begin on an earlier row.
                return cls((at.start[0], code[0].start[1]), at.start[1])
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """The cell with this line written as a call."""
        row = self.start_line
        end = find_end_of_continued_line(lines, row)
        line = assemble_continued_line(lines, (row, self.column), end)
        call = f"get_ipython().run_line_magic('lora', {line[len('%lora') :].strip()!r})\n"
        return [*lines[:row], lines[row][: self.column] + call, *lines[end + 1 :]]


def _magic_in(tokens: list[Any]) -> Any | None:
    """The `%` of a line that begins with `%lora`, or that assigns it."""
    if _is_magic(tokens, 0):
        return tokens[0]
    depth = 0
    for index, token in enumerate(tokens):
        if token.string == "=" and depth == 0:
            return tokens[index + 1] if _is_magic(tokens, index + 1) else None
        depth += (token.string in ("(", "[", "{")) - (token.string in (")", "]", "}"))
    return None


def _is_magic(tokens: list[Any], index: int) -> bool:
    pair = tokens[index : index + 2]
    return (
        len(pair) == 2
        and pair[0].string == "%"
        and pair[1].string == "lora"
        and pair[0].end == pair[1].start
    )
