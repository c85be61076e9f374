"""The three controls in tabs, under a page that says what is loaded, attached, active and merged.

Knows controls; where they come from, it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets

from lora_magic.views.controls.widgets import Page
from lora_magic.views.html import Markup, tag

_MARK = "lora-magic-tabs"
# JupyterLab gives the tabs that are not chosen a contrast of 4.45 to 1 in its light theme; text
# needs 4.5.
_STYLE = tag("style", Markup(f".{_MARK} .lm-TabBar-tabLabel {{color: var(--jp-ui-font-color1)}}"))


class PanelControls:
    """A page above, tabs below; without tabs the page alone."""

    def __init__(self) -> None:
        self.top = Page()
        self.tabs = ipywidgets.Tab()
        self.tabs.add_class(_MARK)
        self.widget = ipywidgets.VBox([self.top.widget])
        self._names: tuple[str, ...] = ()

    def show(self, status: str, tabs: Mapping[str, Any]) -> None:
        """Show a page, and tabs by their names; tabs that are there already stay as they are."""
        self.top.put(status + _STYLE)
        widgets = tuple(tabs.values())
        if widgets == self.tabs.children:
            return
        chosen = self.tabs.selected_index
        self.tabs.children = widgets
        for place, name in enumerate(tabs):
            self.tabs.set_title(place, name)
        if widgets:
            self.tabs.selected_index = min(chosen or 0, len(widgets) - 1)
        self.widget.children = (self.top.widget, *((self.tabs,) if widgets else ()))
