"""Two answers without names, and a button for each vote.

A vote changes the texts and leaves the buttons, so that the focus stays where it is. Knows pages of
HTML and what is pressed; callbacks do the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from lora_magic.views.controls.widgets import Page, button, row
from lora_magic.views.html import Markup, tag

_MARK = "lora-magic-votes"
# JupyterLab's own ring of a focused button is one pixel of a pale colour. Inside the button, since
# its row cuts off what is outside.
_STYLE = tag(
    "style",
    Markup(
        f".{_MARK} .jupyter-button:focus-visible "
        "{outline: 2px solid var(--jp-ui-font-color1); outline-offset: -2px}"
    ),
)


class VoteControls:
    """The answers, a button for each choice, and below them Back and Finish.

    A press calls `press` with the button's name in lower case. `page` returns the HTML to show, and
    is called after every press; an error of a press is shown as one line, and the page stays.
    """

    def __init__(
        self, choices: Sequence[str], press: Callable[[str], None], page: Callable[[], str]
    ) -> None:
        self._press, self._render = press, page
        self.page = Page()
        self.votes = [self._button(choice.capitalize()) for choice in choices]
        self.back = self._button("Back", "Take the last vote back")
        self.finish = self._button("Finish", "End now and show the names")
        self._rows = [row(*self.votes), row(self.back, self.finish)]
        self.widget = ipywidgets.VBox([self.page.widget, *self._rows])
        self.widget.add_class(_MARK)
        self.refresh()

    def refresh(self) -> None:
        """Show the page again."""
        self.page.show(lambda: self._render() + _STYLE)

    def end(self) -> None:
        """Remove the buttons; the page stays."""
        self.widget.children = (self.page.widget,)

    def _button(self, name: str, tooltip: str = "") -> Any:
        # Four of them fit into a line of 800 pixels beside JupyterLab's own columns.
        made = button(name, tooltip=tooltip or name, layout={"width": "8rem"})
        made.on_click(lambda _: self._pressed(name.lower()))
        return made

    def _pressed(self, name: str) -> None:
        def page() -> str:
            self._press(name)
            return self._render() + _STYLE

        self.page.show(page)
