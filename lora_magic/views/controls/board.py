"""The column and the direction by which a table is sorted, and the table.

Knows columns and pages; the callback `render` sorts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import ipywidgets

from lora_magic.views.controls.widgets import Page, named, row, set_options

UP, DOWN = "lowest first", "highest first"
#: Choice of no column: the order of the record.
BY_DATA = "data, then held_out"

#: From a column, None for the record's order, and whether the highest values come first, to a page.
Render = Callable[[str | None, bool], str]


class BoardControls:
    """A column to sort by, a direction, and the sorted table."""

    def __init__(
        self,
        columns: Sequence[str],
        falling: Collection[str],
        render: Render,
        start: str | None = None,
    ) -> None:
        self._render, self._falling, self._busy = render, falling, False
        self.column = named(
            ipywidgets.Dropdown,
            "Sort by",
            options=[BY_DATA, *columns],
            value=start if start in columns else BY_DATA,
        )
        self.direction = named(ipywidgets.Dropdown, "Order", options=[UP, DOWN], value=UP)
        self.page = Page()
        self.widget = ipywidgets.VBox([row(self.column, self.direction), self.page.widget])
        self._turn()
        self.column.observe(lambda _: self._chosen(), "value")
        self.direction.observe(lambda _: self.refresh(), "value")

    def offer(self, columns: Sequence[str]) -> None:
        """Set the columns to choose from; the chosen one stays if it is among them."""
        chosen = self.column.value
        self._busy = True
        try:
            options = [BY_DATA, *columns]
            set_options(self.column, options, chosen if chosen in options else BY_DATA)
        finally:
            self._busy = False

    def refresh(self) -> None:
        """Sort again, and show the table."""
        if not self._busy:
            column = None if self.column.value == BY_DATA else str(self.column.value)
            self.page.show(lambda: self._render(column, self.direction.value == DOWN))

    def _chosen(self) -> None:
        """Another column is shown in its own direction first."""
        if not self._busy:
            self._turn()
            self.refresh()

    def _turn(self) -> None:
        self._busy = True
        try:
            self.direction.value = DOWN if self.column.value in self._falling else UP
            self.direction.disabled = self.column.value == BY_DATA
        finally:
            self._busy = False
