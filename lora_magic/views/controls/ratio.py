"""Method, rank and target modules, and what they would train: counted at each change.

Knows names and numbers; what a choice comes to, the function `recount` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ipywidgets

from lora_magic.views.controls.parts import Page, named, row, set_options, tick

#: More kinds of modules than this are not given a box each.
BOXES = 16
#: The slider's last rank; a larger one is typed.
SLIDES_TO = 256
OWN = "as ticked"


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
    """What a choice comes to: a page, the modules that can be drawn, and what the method reads."""

    page: str
    matrices: Sequence[str]
    reads: frozenset[str]


#: (method, rank, targets, matrix) to a plan; the last is one of the plan's matrices, or nothing.
Recount = Callable[[str, int, str, str | None], Plan]


class RatioControls:
    """A method, a rank and targets to choose, and the picture of one matrix."""

    def __init__(self, choices: Choices, recount: Recount) -> None:
        self._recount, self._sets, self._kinds = recount, dict(choices.sets), list(choices.kinds)
        self.page = Page()
        self.method = named(
            ipywidgets.Dropdown, "Method", options=list(choices.methods), value=choices.method
        )
        self.rank = named(
            ipywidgets.IntSlider,
            "Rank",
            "22rem",
            min=1,
            max=max(choices.rank, min(SLIDES_TO, choices.largest_rank)),
            value=choices.rank,
        )
        # A slider's handle has no name of its own in ipywidgets; this field says the same rank,
        # and takes those that the slider does not reach.
        self.typed = named(
            ipywidgets.BoundedIntText,
            "Rank, typed",
            "11rem",
            min=1,
            max=choices.largest_rank,
            value=choices.rank,
        )
        names = [*self._sets, OWN]
        chosen = choices.targets if choices.targets in self._sets else OWN
        self.targets = named(ipywidgets.Dropdown, "Targets", options=names, value=chosen)
        ticked = self._sets.get(chosen) or choices.targets.split(",")
        self.boxes = [tick(kind, kind in ticked) for kind in self._kinds[:BOXES]]
        self.matrix = named(ipywidgets.Dropdown, "Picture of", options=["–"], value="–")
        self.widget = ipywidgets.VBox(
            [
                row(self.method, self.rank, self.typed),
                row(self.targets, *self.boxes),
                row(self.matrix),
                self.page.widget,
            ]
        )
        self._busy = False
        # What can be picked is known at once; the page is for the first choice.
        self._page()
        for control in (self.method, self.matrix):
            control.observe(lambda _: self.refresh(), "value")
        self.rank.observe(lambda change: self._ranked(change.new), "value")
        self.typed.observe(lambda change: self._ranked(change.new), "value")
        self.targets.observe(lambda change: self._picked(change.new), "value")
        for box in self.boxes:
            box.observe(lambda _: self._ticked(), "value")

    def refresh(self) -> None:
        """Count anew and show it."""
        if self._busy:
            return
        self._busy = True
        try:
            self.page.show(self._page)
        finally:
            self._busy = False

    def _page(self) -> str:
        chosen = None if self.matrix.value == "–" else str(self.matrix.value)
        plan = self._recount(str(self.method.value), int(self.rank.value), self._asked(), chosen)
        for control in (self.rank, self.typed):
            control.disabled = "rank" not in plan.reads
        for control in (self.targets, *self.boxes):
            control.disabled = "targets" not in plan.reads
        options = [*plan.matrices] or ["–"]
        set_options(self.matrix, options, chosen if chosen in options else options[0])
        self.matrix.disabled = options == ["–"]
        return plan.page

    def _asked(self) -> str:
        if self.targets.value != OWN:
            return str(self.targets.value)
        ticked = [kind for kind, box in zip(self._kinds, self.boxes, strict=False) if box.value]
        return ",".join(ticked)

    def _ranked(self, rank: int) -> None:
        """One rank in both of its controls; then count."""
        if self._busy:
            return
        self._busy = True
        try:
            self.rank.max = max(self.rank.max, rank)
            self.rank.value = self.typed.value = rank
        finally:
            self._busy = False
        self.refresh()

    def _picked(self, name: str) -> None:
        """Tick what the set holds; then count."""
        if self._busy:
            return
        self._busy = True
        try:
            for kind, box in zip(self._kinds, self.boxes, strict=False):
                box.value = box.value if name == OWN else kind in self._sets[name]
        finally:
            self._busy = False
        self.refresh()

    def _ticked(self) -> None:
        """Name the set that is ticked, if there is one; then count."""
        if self._busy:
            return
        self._busy = True
        try:
            ticked = {k for k, box in zip(self._kinds, self.boxes, strict=False) if box.value}
            found = (name for name, kinds in self._sets.items() if set(kinds) == ticked)
            self.targets.value = next(found, OWN)
        finally:
            self._busy = False
        self.refresh()
