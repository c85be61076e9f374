"""Where panels of controls are shown: below a record, and one set of them a cell.

A cell that is run again shows new controls in the place of the old ones, which nobody can see any
more: those are closed, or they would listen to every verb and stay in memory for good. Knows
IPython's displays and a panel's outputs; knows nothing of what is controlled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from lora_magic.magics.show import has_person, say, show_outputs

#: How many panels live where it cannot be told which of them are still to be seen.
MANY = 20
KEPT_AS = "_lora_magic_panels"


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
