"""The parts of every control: a page, a line for errors, and rows that wrap.

Works with ipywidgets 7.7 and 8; the two differ in that the older one reads a description as HTML.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets

from lora_magic.errors import LoraMagicError
from lora_magic.printable import one_line
from lora_magic.views.html import Markup, tag
from lora_magic.views.style import NOTE

#: A name is as wide as its text, in front of its control.
_NAMED = {"description_width": "initial"}
_READS_HTML = int(ipywidgets.__version__.partition(".")[0]) < 8
_MARK = "lora-magic-tabs"
# JupyterLab gives the tabs that are not chosen a contrast of 4.45 to 1 in its light theme; text
# needs 4.5.
_STYLE = tag("style", Markup(f".{_MARK} .lm-TabBar-tabLabel {{color: var(--jp-ui-font-color1)}}"))


def name_of(text: str) -> str:
    """`text` as a control's name: one line of plain text, whatever it holds."""
    return html.escape(one_line(text)) if _READS_HTML else one_line(text)


def named(kind: type, name: str, width: str = "auto", **values: Any) -> Any:
    """A control with a name in front of it."""
    layout = ipywidgets.Layout(width=width, max_width="100%")
    control = kind(description=name_of(name), style=dict(_NAMED), layout=layout, **values)
    return responsive(control)


def button(name: str, **values: Any) -> Any:
    """A button with its name on it."""
    return responsive(ipywidgets.Button(description=name, **values))


def responsive(control: Any) -> Any:
    """The control, with events that arrive while a cell runs, also on ipykernel 7.4.

    That release routes a comm's messages to the shell that last wrote to it, which is the busy one.
    """
    comm: Any = getattr(control, "comm", None)
    if hasattr(type(comm), "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, default: default
    return control


def tick(name: str, ticked: bool) -> Any:
    """A box to tick, with its name behind it."""
    layout = ipywidgets.Layout(width="auto")
    box = ipywidgets.Checkbox(value=ticked, description=name_of(name), indent=False, layout=layout)
    return responsive(box)


def row(*controls: Any) -> Any:
    """Controls side by side, in as many lines as they need."""
    layout = ipywidgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="4px 16px")
    return ipywidgets.HBox(controls, layout=layout)


def set_options(picker: Any, options: Any, value: Any) -> None:
    """Replace a picker's options. Its value is briefly the first option, so its observers have to
    ignore changes meanwhile."""
    if list(picker.options) != list(options):
        picker.options = options
    picker.value = value


def close(widget: Any) -> None:
    """Close a control, those in it, and the layouts and styles that ipywidgets made for them."""
    for child in getattr(widget, "children", ()):
        close(child)
    for part in (widget.layout, getattr(widget, "style", None), widget):
        if part is not None:
            part.close()


class Page:
    """A display, with a line for messages above it."""

    def __init__(self) -> None:
        self._message = ipywidgets.HTML()
        self._page = ipywidgets.HTML()
        self.widget = ipywidgets.VBox([self._message, self._page])

    @property
    def html(self) -> str:
        """The display's HTML."""
        return str(self._page.value)

    @property
    def message(self) -> str:
        """The message above it."""
        return str(self._message.value)

    def put(self, html: str) -> None:
        """Show a display and clear the message above it."""
        self._page.value = html
        self._message.value = ""

    def say(self, text: str) -> None:
        """Show a one-line message, without changing the display."""
        self._message.value = str(tag("div", text, style=NOTE, role="status")) if text else ""

    def show(self, render: Callable[[], str]) -> None:
        """Show what `render` returns, or the message of its error.

        A user error is one line, as in a cell; any other error is one line too, and is raised for
        the kernel's log.
        """
        try:
            page = render()
        except LoraMagicError as error:
            self.say(str(error))
        except Exception as error:
            self.say(f"{type(error).__name__}: {error}. This is a bug in lora_magic.")
            raise
        else:
            self.put(page)


class PanelControls:
    """A page, with tabs below it if there are any."""

    def __init__(self) -> None:
        self.top = Page()
        self.tabs = ipywidgets.Tab()
        self.tabs.add_class(_MARK)
        self.widget = ipywidgets.VBox([self.top.widget])
        self._names: tuple[str, ...] = ()

    def show(self, status: str, tabs: Mapping[str, Any]) -> None:
        """Show a page, and tabs by their names; unchanged tabs keep their state."""
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
