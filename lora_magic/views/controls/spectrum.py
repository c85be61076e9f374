"""A measure and a module to choose, and the spectrum drawn for them.

Knows measures, modules and pages; the callback `render` computes and draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets

from lora_magic.views.controls.widgets import Page, named, row, set_options
from lora_magic.views.modules import short_names

#: Choice of no module: a heat map of all.
ALL = "all"

#: From a module's path, None for all, and a measure to a page.
Render = Callable[[str | None, str], str]


class SpectrumControls:
    """What the heat map shows, a module to show alone, and the page."""

    def __init__(self, render: Render, measure: str) -> None:
        self._render, self._busy = render, False
        self._paths: dict[str, str | None] = {ALL: None}
        self.measure = named(ipywidgets.Dropdown, "Measure", options=[measure], value=measure)
        self.module = named(ipywidgets.Dropdown, "Module", options=[ALL], value=ALL)
        self.page = Page()
        self.widget = ipywidgets.VBox([row(self.measure, self.module), self.page.widget])
        for picker in (self.measure, self.module):
            picker.observe(lambda _: self.refresh(), "value")

    @property
    def chosen(self) -> str | None:
        """The path of the chosen module; None for all."""
        return self._paths.get(str(self.module.value))

    def offer(self, measures: Sequence[str], modules: Sequence[str], chosen: str | None) -> None:
        """Set what can be chosen, and the chosen module; one that is gone becomes all."""
        names = short_names(modules)
        self._paths = {ALL: None, **{names[path]: path for path in modules}}
        self._busy = True
        try:
            kept = self.measure.value if self.measure.value in measures else measures[0]
            set_options(self.measure, list(measures), kept)
            set_options(self.module, list(self._paths), names.get(str(chosen), ALL))
            self._only_for_maps()
        finally:
            self._busy = False

    def refresh(self) -> None:
        """Show the page of what is chosen."""
        if not self._busy:
            self._only_for_maps()
            self.page.show(lambda: self._render(self.chosen, str(self.measure.value)))

    def _only_for_maps(self) -> None:
        self.measure.disabled = self.chosen is not None or len(self._paths) <= 2
