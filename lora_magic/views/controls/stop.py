"""A Stop button that is heard while a cell is busy, and the words beside it.

Knows a button; whether a click can come through at all, its caller finds out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets

from lora_magic.views.controls.outputs import view
from lora_magic.views.controls.widgets import button, close
from lora_magic.views.html import tag
from lora_magic.views.style import MUTED, SMALL


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
