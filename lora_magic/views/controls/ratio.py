"""Method, rank and target modules, or any d × k, and the parameters, counted at each change.

Knows names and numbers; the callback `recount` does the counting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets

from lora_magic.views.controls.widgets import Page, named, row, set_options, tick

#: At most this many kinds of modules have a checkbox.
BOXES = 16
#: The slider's largest rank; a larger one is typed.
SLIDES_TO = 256
OWN = "custom"
NONE = "–"
#: The picture of a matrix whose shape is typed, and the largest side of one.
TYPED = "d × k as typed"
LARGEST = 10**9


@dataclass(frozen=True)
class Choices:
    """What can be chosen: methods, the largest rank, kinds of modules, and sets of them by name.

    `method`, `rank` and `targets` are what the controls begin with; `targets` is the name of a set,
    or kinds with commas.
    """

    methods: Sequence[str]
    largest_rank: int
    kinds: Sequence[str]
    sets: Mapping[str, Sequence[str]]
    method: str
    rank: int
    targets: str


@dataclass(frozen=True)
class Plan:
    """The result of a choice: page, modules that can be drawn, fields that the method reads, and
    the shape [d, k] of the matrix that is drawn."""

    page: str
    matrices: Sequence[str]
    reads: frozenset[str]
    shape: tuple[int, int] | None = None


#: (method, rank, targets, matrix) to a plan; the last is one of the plan's matrices, a shape as
#: "4096x4096", or nothing.
Recount = Callable[[str, int, str, str | None], Plan]


class RatioControls:
    """A method, a rank and targets to choose, and the picture of one matrix."""

    def __init__(self, choices: Choices, recount: Recount) -> None:
        self._recount, self._sets, self._kinds = recount, dict(choices.sets), list(choices.kinds)
        self.page = Page()
        methods = list(choices.methods)
        self.method = named(ipywidgets.Dropdown, "Method", options=methods, value=choices.method)
        self.rank, self.typed = _ranks(choices)
        chosen = choices.targets if choices.targets in self._sets else OWN
        self.targets = named(
            ipywidgets.Dropdown, "Targets", options=[*self._sets, OWN], value=chosen
        )
        ticked = self._sets.get(chosen) or choices.targets.split(",")
        self.boxes = [tick(kind, kind in ticked) for kind in self._kinds[:BOXES]]
        self.matrix = named(ipywidgets.Dropdown, "Picture of", options=[NONE], value=NONE)
        self.outputs, self.inputs = _side("d, outputs"), _side("k, inputs")
        self.widget = ipywidgets.VBox(
            [
                row(self.method, self.rank, self.typed),
                row(self.targets, *self.boxes),
                row(self.matrix, self.outputs, self.inputs),
                self.page.widget,
            ]
        )
        self._busy = False
        self.refresh()
        # The options are known now; the page stays empty until the first choice.
        self.page.put("")
        self._listen()

    def _listen(self) -> None:
        for control in (self.method, self.matrix):
            control.observe(lambda _: self.refresh(), "value")
        for control in (self.rank, self.typed):
            control.observe(lambda change: self._react(lambda: self._set_rank(change.new)), "value")
        for side in (self.outputs, self.inputs):
            side.observe(lambda _: self._react(self._draw_typed), "value")
        self.targets.observe(lambda _: self._react(self._tick_set), "value")
        for box in self.boxes:
            box.observe(lambda _: self._react(self._name_set), "value")

    def refresh(self) -> None:
        """Count again and show the result."""
        self._react(lambda: None)

    def _react(self, change: Callable[[], None]) -> None:
        """Update the controls that depend on a choice, and count once.

        Their own change events are ignored meanwhile.
        """
        if self._busy:
            return
        self._busy = True
        try:
            change()
            self.page.show(self._page)
        finally:
            self._busy = False

    def _page(self) -> str:
        chosen = None if self.matrix.value == NONE else str(self.matrix.value)
        shape = f"{self.outputs.value}x{self.inputs.value}" if chosen == TYPED else chosen
        plan = self._recount(str(self.method.value), int(self.rank.value), self._targets(), shape)
        for control in (self.rank, self.typed):
            control.disabled = "rank" not in plan.reads
        for control in (self.targets, *self.boxes):
            control.disabled = "targets" not in plan.reads
        options = [*plan.matrices, TYPED] if plan.matrices else [NONE]
        set_options(self.matrix, options, chosen if chosen in options else options[0])
        for control in (self.matrix, self.outputs, self.inputs):
            control.disabled = options == [NONE]
        if plan.shape is not None:
            self.outputs.value, self.inputs.value = plan.shape
        return plan.page

    def _draw_typed(self) -> None:
        """Draw the matrix whose sides are typed."""
        if self.matrix.value != NONE:
            self.matrix.value = TYPED

    def _targets(self) -> str:
        if self.targets.value != OWN:
            return str(self.targets.value)
        return ",".join(kind for kind, box in self._ticks() if box.value)

    def _ticks(self) -> Iterable[tuple[str, Any]]:
        # Only the first kinds have boxes.
        return zip(self._kinds, self.boxes, strict=False)

    def _set_rank(self, rank: int) -> None:
        """One rank in both of its controls."""
        self.rank.max = max(self.rank.max, rank)
        self.rank.value = self.typed.value = rank

    def _tick_set(self) -> None:
        """Tick the modules of the selected set."""
        if self.targets.value != OWN:
            members = self._sets[str(self.targets.value)]
            for kind, box in self._ticks():
                box.value = kind in members

    def _name_set(self) -> None:
        """Select the name of the ticked set, if it has one."""
        ticked = {kind for kind, box in self._ticks() if box.value}
        found = (name for name, kinds in self._sets.items() if set(kinds) == ticked)
        self.targets.value = next(found, OWN)


def _side(name: str) -> Any:
    """A field for one side of a matrix."""
    return named(ipywidgets.BoundedIntText, name, "13rem", min=1, max=LARGEST, value=1)


def _ranks(choices: Choices) -> tuple[Any, Any]:
    """A slider, and a field beside it for the same rank.

    In ipywidgets a slider's handle has no accessible name; the field has one, and accepts ranks
    beyond the slider's range.
    """
    reach = max(choices.rank, min(SLIDES_TO, choices.largest_rank))
    slider = named(ipywidgets.IntSlider, "Rank", "22rem", min=1, max=reach, value=choices.rank)
    largest = max(choices.rank, choices.largest_rank)
    field = named(
        ipywidgets.BoundedIntText, "Rank, typed", "11rem", min=1, max=largest, value=choices.rank
    )
    return slider, field
