"""What a verb shows: a receipt at once, a value where nobody else would show it.

Knows IPython's display, and of a record that it has a line or a rich form.
"""

from __future__ import annotations

import sys
from typing import Any

from IPython.display import display

from lora_magic.magics.places import Place


def show(value: Any, *, changes: bool, place: Place, silent: bool, shown: bool = False) -> Any:
    """Display what is to be seen, and return what the cell is to have.

    A verb that changes something shows its receipt wherever it stands, and as a statement returns
    nothing, so that the record does not show a second time. A verb that looks shows its value in
    the middle of a cell, leaves that to IPython at the end of it, and shows nothing when assigned.
    `silent` is a final semicolon; `shown` says that the receipt is on the screen already.
    """
    if place is Place.VALUE:
        if changes and not silent and not shown:
            receipt(value)
        return value
    if silent or value is None:
        return None
    if not changes and place is Place.LAST:
        return value
    if not shown:
        receipt(value)
    return None


def receipt(value: Any) -> None:
    """Display a record by its rich form if it has one, else by its line."""
    if hasattr(value, "_repr_mimebundle_") or not hasattr(value, "line"):
        display(value)
    else:
        display({"text/plain": value.line}, raw=True)


def show_outputs(record: Any) -> None:
    """Display a record's outputs one after the other; IPython calls this for a spectrum."""
    for bundle in record.outputs():
        display(bundle, raw=True)


def has_person(shell: Any) -> bool:
    """Does a notebook with a person before it show what is displayed?

    Not in a terminal, and not where a program runs a notebook: that answers no questions, and says
    so with every cell. A control that nobody can use would stay in its file for nothing.
    """
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))


def say(text: str) -> None:
    """Print a line of plain text."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
