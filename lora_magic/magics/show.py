"""What a verb displays: a receipt, a value if IPython would not display it, controls below it.

A cell that runs again replaces its controls; the old ones are closed, or they would follow every
verb and stay in memory. Knows IPython's display, a record's line or rich form, and a panel's
outputs; does not know what the controls do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from lora_magic.magics.places import Place
from lora_magic.printable import clean, one_line

#: How many panels stay open in a front end that does not identify its cells.
MANY = 20
KEPT_AS = "_lora_magic_panels"
#: What replaces an output that is done: one that draws nothing.
NOTHING = {"text/html": "", "text/plain": ""}


def show(value: Any, *, changes: bool, place: Place, silent: bool, shown: bool = False) -> Any:
    """Display a verb's value if needed, and return the value that the cell gets.

    A verb that changes something always displays its receipt; as a statement it returns None, or
    IPython would display the record again. Any other verb displays its value in the middle of a
    cell, leaves that to IPython at the end, and displays nothing if the value is assigned. `silent`
    is a final semicolon; `shown` says that the receipt is already displayed.
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


def keep(shell: Any, value: object) -> None:
    """Keep a value as `_` and in `Out`, as IPython does with one that it displays."""
    shell.displayhook.update_user_ns(value)


def receipt(value: Any) -> None:
    """Display a record by its rich form if it has one, else by its line."""
    if hasattr(value, "_repr_mimebundle_") or not hasattr(value, "line"):
        display(value)
    else:
        display({"text/plain": one_line(value.line)}, raw=True)


def show_outputs(record: Any) -> None:
    """Display a record's outputs one after the other; IPython calls this for a spectrum."""
    for bundle in record.outputs():
        display(bundle, raw=True)


def has_person(shell: Any) -> bool:
    """Does a user see what this notebook displays?

    Not in a terminal, and not if a program runs the notebook: it cannot answer `input()`, and says
    so with every cell. A control that nobody can use would only add to the saved file.
    """
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))


def say(text: str) -> None:
    """Print plain text; a control character of a name is made visible."""
    sys.stdout.write(clean(text) + "\n")
    sys.stdout.flush()


class Announcement:
    """A line that says what a verb is doing while it takes seconds; `close` removes it.

    Where output cannot be taken back, in a pipe, the first line stays and no other follows; a
    notebook that a program runs gets none, since nobody reads it and it would be kept in the file.
    """

    finished = False  # the verb's value is displayed afterwards

    def __init__(self, shell: Any) -> None:
        self._notebook = getattr(shell, "kernel", None) is not None
        self._silent = self._notebook and not has_person(shell)
        self._handle: Any = None
        self._line = ""

    def tell(self, text: str) -> None:
        """Show a line in place of the last one."""
        if self._silent:
            return
        if not self._notebook:
            self._print(text)
        else:
            self._put({"text/plain": text})
        self._line = text

    def _put(self, bundle: dict[str, Any]) -> None:
        """Display this in a notebook, in place of what was there."""
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def close(self) -> None:
        """Remove the line, if there is one that can be removed."""
        if self._handle is not None:
            self._handle.update(NOTHING, raw=True)
        elif self._line and not self._silent and sys.stdout.isatty():
            sys.stdout.write(f"\r{' ' * len(self._line)}\r")
            sys.stdout.flush()

    def _print(self, text: str) -> None:
        if sys.stdout.isatty():
            sys.stdout.write(f"\r{text:<{len(self._line)}}" if self._line else text)
        elif not self._line:
            sys.stdout.write(text + "\n")
        sys.stdout.flush()


@contextmanager
def announced(shell: Any, text: str) -> Iterator[None]:
    """Show a line during a block that takes seconds, and remove it after the block."""
    line = Announcement(shell)
    line.tell(text)
    try:
        yield
    finally:
        line.close()


def show_panel(panel: Any) -> None:
    """Display a panel's outputs one after the other; IPython calls this for a panel."""
    shell = get_ipython()
    if not has_person(shell):
        say(repr(panel))
        return
    note_panel(shell, panel)
    show_outputs(panel)


def show_below(shell: Any, make: Callable[[], object]) -> None:
    """Make a panel and display it when the cell has run, below the value that the cell displays."""

    def once(*_: object) -> None:
        shell.events.unregister("post_run_cell", once)
        display(make())

    shell.events.register("post_run_cell", once)


def note_panel(shell: Any, panel: Any) -> None:
    """Remember the cell that shows a panel, and close the panels of its previous run.

    A panel that another cell also shows stays open. If the front end does not identify its cells,
    the last `MANY` panels stay open.
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
    """The ids of the running cell, if the front end gives it one, and of this run."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell = parent.get("metadata", {}).get("cellId")
    return cell, str(parent.get("header", {}).get("msg_id"))
