"""What a verb shows: a receipt at once, a value where nobody else would show it, controls below it.

A cell that runs again replaces its controls; the old ones are closed, or they would follow every
verb and stay in memory. Knows IPython's display, a record's line or rich form, and a panel's
outputs; knows nothing of what is controlled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from lora_magic.magics.places import Place

#: How many panels live where it cannot be told which of them are still to be seen.
MANY = 20
KEPT_AS = "_lora_magic_panels"


def show(value: Any, *, changes: bool, place: Place, silent: bool, shown: bool = False) -> Any:
    """Display what is to be seen, and return what the cell is to have.

    A verb that changes something shows its receipt everywhere, and as a statement returns nothing,
    so that the record does not show a second time. A verb that looks shows its value in
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


def show_panel(panel: Any) -> None:
    """Display a panel's outputs one after the other; IPython calls this for a panel."""
    shell = get_ipython()
    if not has_person(shell):
        say(repr(panel))
        return
    _note(shell, panel)
    show_outputs(panel)


def show_below(shell: Any, make: Callable[[], object]) -> None:
    """Make a panel and display it when the cell is done, below the value that the cell displays."""

    def once(*_: object) -> None:
        shell.events.unregister("post_run_cell", once)
        display(make())

    shell.events.register("post_run_cell", once)


def _note(shell: Any, panel: Any) -> None:
    """Remember the cell that shows a panel, and close what the same cell showed when it ran last.

    A panel that another cell shows, too, stays. Not every front end names its cells: there the
    last `MANY` panels live.
    """
    cell, run = _running(shell)
    shown: dict[str | None, tuple[str, list[Any]]] = shell.__dict__.setdefault(KEPT_AS, {})
    if cell is None:
        _, panels = shown.get(None, ("", []))
        for old in panels[:-MANY]:
            old.close()
        shown[None] = ("", [*(one for one in panels[-MANY:] if one is not panel), panel])
        return
    last, panels = shown.get(cell, (run, []))
    if last != run:
        del shown[cell]
        elsewhere = [panel, *(other for _, others in shown.values() for other in others)]
        for old in panels:
            if not any(old is other for other in elsewhere):
                old.close()
        panels = []
    shown[cell] = (run, [*panels, panel])


def _running(shell: Any) -> tuple[str | None, str]:
    """The cell that is running, by the id that its front end gave it, and its run."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = parent.get("metadata", {}).get("cellId")
    return cell, str(parent.get("header", {}).get("msg_id"))
