"""A model, a method and the settings of a run to choose, and the plan of what they cost.

Knows the texts of flags; the callback `replan` computes and draws.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets

from lora_magic.views.controls.widgets import Page, named, row, tick

#: The choice of no value: the flag is not given.
NONE = "–"
_DEFAULT = "default"
#: The flags that have a control, by keyword.
CONTROLS = (
    *("model", "method", "rank", "batch_size", "max_length"),
    *("bits", "checkpointing", "gpu"),
)


@dataclass(frozen=True)
class PlanChoices:
    """What can be chosen: names of models, methods, those of them that have a rank, numbers of bits
    and cards."""

    models: Sequence[str]
    methods: Sequence[str]
    ranked: Collection[str]
    bits: Sequence[str]
    cards: Sequence[str]


#: From flags by keyword, as text, to a page.
Replan = Callable[[Mapping[str, str]], str]


class PlanControls:
    """A model, a method, rank, batch, length, bits, checkpointing and a card, and the page.

    `start` are the flags to begin with, by keyword and as text; a field without one is empty, and
    means the default. Any name of a model can be typed.
    """

    def __init__(self, choices: PlanChoices, start: Mapping[str, str], replan: Replan) -> None:
        self._replan, self._ranked = replan, choices.ranked
        self.page = Page()
        self.model = named(
            ipywidgets.Combobox,
            "Model",
            "min(30rem, 100% - 4px)",
            options=tuple(choices.models),
            value=start.get("model", ""),
            placeholder="the loaded base",
            continuous_update=False,
        )
        self.method = _pick("Method", choices.methods, start.get("method", choices.methods[0]))
        self.rank = _field("Rank", start.get("rank", ""))
        self.batch_size = _field("Batch size", start.get("batch_size", ""))
        self.max_length = _field("Max length", start.get("max_length", ""))
        self.bits = _pick("Bits", (NONE, *choices.bits), start.get("bits", NONE))
        self.checkpointing = tick("Checkpointing", "checkpointing" in start)
        self.gpu = _pick("GPU", (NONE, *choices.cards), start.get("gpu", NONE))
        self.widget = ipywidgets.VBox(
            [
                row(self.model, self.method, self.rank),
                row(self.batch_size, self.max_length, self.bits, self.checkpointing, self.gpu),
                self.page.widget,
            ]
        )
        self._only_if_read()
        for name in CONTROLS:
            getattr(self, name).observe(lambda _: self.refresh(), "value")

    @property
    def flags(self) -> dict[str, str]:
        """What is chosen, by keyword; what is left to the default is missing."""
        controls = {name: getattr(self, name) for name in CONTROLS}
        texts = {n: str(one.value).strip() for n, one in controls.items() if not one.disabled}
        return {name: text for name, text in texts.items() if text not in ("", NONE, "False")}

    def refresh(self) -> None:
        """Plan again and show the page."""
        self._only_if_read()
        self.page.show(lambda: self._replan(self.flags))

    def _only_if_read(self) -> None:
        self.rank.disabled = self.method.value not in self._ranked


def _pick(name: str, options: Sequence[str], value: str) -> Any:
    """A list to choose from; a value that is not in it is added."""
    every = dict.fromkeys((*options, value))
    return named(ipywidgets.Dropdown, name, options=list(every), value=value)


def _field(name: str, value: str) -> Any:
    """A field for a number, empty for the default."""
    return named(
        ipywidgets.Text,
        name,
        "12rem",
        value=value,
        placeholder=_DEFAULT,
        continuous_update=False,
    )
