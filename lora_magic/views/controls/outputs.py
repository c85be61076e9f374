"""A control as the outputs of a cell: a line that stays, and the control below it.

A control is dead once its kernel is gone, and JupyterLab then writes "model not found" or "Loading
widget..." in its place. The line above it stays readable everywhere, and its style hides exactly
those words. A page that drops the style (GitHub's, or JupyterLab's for a notebook that was not run
here) does not draw the control at all, but its empty HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets

from lora_magic.views.controls.widgets import button, close
from lora_magic.views.html import Markup, tag
from lora_magic.views.style import LINE, MUTED, SMALL

#: What is said where a control may have died.
GONE = "If the controls are gone, run this cell again."

MIME = "application/vnd.jupyter.widget-view+json"
_MARK = "lora-magic-controls"
_LINE = f".jp-OutputArea-child:has(.{_MARK})"
_ANY = ".jp-OutputArea-output *"
_STYLE = (
    # A control that is dead holds no element, only words.
    f"{_LINE} + .jp-OutputArea-child:not(:has({_ANY})) {{display: none}} "
    # While it lives, what is to be read without it has nothing to say.
    f"{_LINE}:has(+ .jp-OutputArea-child {_ANY}) .{_MARK} span {{display: none}}"
)


def outputs(
    control: Any, title: str, record: Mapping[str, object] | None = None
) -> list[dict[str, Any]]:
    """The MIME bundles of a control, in the order in which they are displayed.

    `record` is the bundle of what is to be read where the control is gone, if no record of its own
    stands above it.
    """
    kept = record or {}
    told = tag("p", title, tag("span", f" {GONE}"), style=f"{LINE};{SMALL};{MUTED}")
    below = tag("span", Markup(kept.get("text/html", "")))
    page = tag("div", told, below, class_=_MARK) + tag("style", Markup(_STYLE))
    plain = "\n".join(str(line) for line in (kept.get("text/plain"), f"{title} {GONE}") if line)
    return [{"text/html": page, "text/plain": plain}, view(control)]


def view(control: Any) -> dict[str, Any]:
    """The control alone. Where it cannot be drawn, nothing is."""
    model = {"version_major": 2, "version_minor": 0, "model_id": control.model_id}
    return {MIME: model, "text/html": "", "text/plain": ""}


class StopButton:
    """One press, and it says that it was heard."""

    def __init__(self, pressed: Callable[[], None]) -> None:
        self._pressed = pressed
        self.button = button("Stop", tooltip="Stop after this step")
        self._words = ipywidgets.HTML()
        self._say("or press ■: the run ends after the step in hand and keeps what it learned")
        self.widget = ipywidgets.HBox([self.button, self._words])
        self.button.on_click(lambda _: self._press())

    @property
    def output(self) -> dict[str, Any]:
        """The button as a cell's output."""
        return view(self.widget)

    def close(self) -> None:
        """Let go of what the front end holds. May be called twice."""
        close(self.widget)

    def _press(self) -> None:
        self.button.disabled = True
        self._say("stopping after this step …")
        self._pressed()

    def _say(self, words: str) -> None:
        self._words.value = str(tag("span", words, style=f"{SMALL};{MUTED}"))
