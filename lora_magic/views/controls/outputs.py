"""A control as the outputs of a cell: a line of text, and the control below it.

A control is dead once its kernel is gone, and JupyterLab then writes "model not found" or "Loading
widget..." in its place. The line above it is readable everywhere, and its style hides that
message. A page that drops the style (GitHub's, or JupyterLab's for a notebook that was not run
here) shows the control's empty HTML instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets

from lora_magic.printable import clean
from lora_magic.views.controls.widgets import button, close
from lora_magic.views.html import Markup, tag
from lora_magic.views.style import LINE, MUTED, SMALL

#: The hint for a control whose kernel is gone.
GONE = "If the controls are gone, run this cell again."

MIME = "application/vnd.jupyter.widget-view+json"
_MARK = "lora-magic-controls"
_LINE = f".jp-OutputArea-child:has(.{_MARK})"
_ANY = ".jp-OutputArea-output *"
#: While a slider, a list or a button has the focus, JupyterLab's shortcuts of one key are off: an
#: arrow would move to another cell, and "r" would make this one a raw cell. It leaves fields of
#: text alone itself. With Ctrl or ⌘ its shortcuts still work. Nothing happens in other front ends.
#: On the document, since the output may not be in the page yet; once for each page.
_KEYS = Markup(
    "<script>if(!window.loraMagicKeys){window.loraMagicKeys=1;for(const n of['focusin','keydown',"
    f"'keyup'])document.addEventListener(n,e=>{{const t=e.target,a=t.closest('.jp-OutputArea');"
    f"if(a&&a.querySelector('.{_MARK}')&&t.closest('.jupyter-widgets')&&!t.matches(':read-write'))"
    "t.toggleAttribute('data-lm-suppress-shortcuts',!(e.ctrlKey||e.metaKey))},true)}</script>"
)
_STYLE = (
    # A dead control contains no element, only text.
    f"{_LINE} + .jp-OutputArea-child:not(:has({_ANY})) {{display: none}} "
    # While the control works, the fallback text is hidden.
    f"{_LINE}:has(+ .jp-OutputArea-child {_ANY}) .{_MARK} span {{display: none}} "
    # A reopened chart is a picture as wide as the page where it was drawn: fit it into this one.
    ".jp-RenderedPlotly .plot-img {max-width: 100%; height: auto}"
)


def outputs(
    control: Any, title: str, record: Mapping[str, object] | None = None, *, gone: str = GONE
) -> list[dict[str, Any]]:
    """The MIME bundles of a control, in the order in which they are displayed.

    `record` is the bundle to show when the control is gone, for a control without a record above
    it, and `gone` the hint.
    """
    fallback = record or {}
    hint = tag("p", title, tag("span", f" {gone}"), style=f"{LINE};{SMALL};{MUTED}")
    below = tag("span", Markup(fallback.get("text/html", "")))
    page = tag("div", hint, below, class_=_MARK) + tag("style", Markup(_STYLE)) + _KEYS
    plain = "\n".join(
        str(line) for line in (fallback.get("text/plain"), f"{title} {gone}".strip()) if line
    )
    return [{"text/html": page, "text/plain": clean(plain)}, view(control)]


def view(control: Any) -> dict[str, Any]:
    """The control alone; front ends that cannot draw it show nothing."""
    model = {"version_major": 2, "version_minor": 0, "model_id": control.model_id}
    return {MIME: model, "text/html": "", "text/plain": ""}


class StopButton:
    """A Stop button that confirms its press."""

    def __init__(self, pressed: Callable[[], None]) -> None:
        self._pressed = pressed
        self.button = button("Stop", tooltip="Stop after this step")
        self._text = ipywidgets.HTML()
        self._say("or press ■: the run ends after the current step and keeps its weights")
        self.widget = ipywidgets.HBox([self.button, self._text])
        self.button.on_click(lambda _: self._press())

    @property
    def output(self) -> dict[str, Any]:
        """The button as a cell's output."""
        return view(self.widget)

    def close(self) -> None:
        """Close the widgets in the front end. May be called twice."""
        close(self.widget)

    def _press(self) -> None:
        self.button.disabled = True
        self._say("stopping after this step …")
        self._pressed()

    def _say(self, text: str) -> None:
        self._text.value = str(tag("span", text, style=f"{SMALL};{MUTED}"))
