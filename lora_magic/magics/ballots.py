"""A ballot in a cell: buttons while the user votes, afterwards the result in their place.

Nothing that is displayed before the end has a name in it, and so neither has the saved notebook.
Knows IPython's display and a ballot; how the buttons look is up to the views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from lora_magic.evaluation.votes import CHOICES
from lora_magic.magics.show import NOTHING, has_person, note_panel, say
from lora_magic.views.controls.outputs import outputs
from lora_magic.views.controls.votes import VoteControls
from lora_magic.views.controls.widgets import close
from lora_magic.views.votes import ballot_html

if TYPE_CHECKING:
    from lora_magic.state.voting import Ballot

#: What a reopened notebook shows below the count before the end.
GO_ON = "Run this cell again to go on; the votes are kept until the kernel restarts."


def show_ballot(ballot: Ballot) -> None:
    """Display a ballot; IPython calls this. After the end, and for nobody, it is text."""
    shell = get_ipython()
    if ballot.done:
        display(ballot.result())
    elif has_person(shell):
        panel = BallotPanel(ballot)
        note_panel(shell, panel)
        panel.show()
    else:
        say(repr(ballot))


class BallotPanel:
    """The controls of a ballot in one cell; they follow votes cast elsewhere, too."""

    def __init__(self, ballot: Ballot) -> None:
        self._ballot = ballot
        self._handles: list[Any] = []
        self.controls = VoteControls(CHOICES, self._press, self._page)
        self.widget = self.controls.widget
        ballot.listen(self._changed)

    def outputs(self) -> list[dict[str, Any]]:
        """What the cell shows now: a line and the controls, or the result and nothing."""
        if self._ballot.done:
            return [self._ballot.result()._repr_mimebundle_(), NOTHING]
        # Hidden while the controls work: a page that was loaded again does not update it.
        return outputs(self.widget, "", gone=f"{self._ballot.progress} {GO_ON}")

    def show(self) -> None:
        """Display the outputs."""
        self._handles = [display(one, raw=True, display_id=True) for one in self.outputs()]

    def close(self) -> None:
        """Remove the controls, and stop following the ballot. May be called twice."""
        self._handles = []
        close(self.widget)

    def _press(self, name: str) -> None:
        if name in CHOICES:
            self._ballot.vote(name)
        elif name == "back":
            self._ballot.back()
        else:
            self._ballot.finish()

    def _page(self) -> str:
        ballot = self._ballot
        if ballot.done:
            return str(ballot.result()._repr_mimebundle_()["text/html"])
        count = " · ".join((f"Prompt {ballot.cast + 1} of {ballot.asked}", *ballot.notes))
        return ballot_html(count, ballot.prompt, ballot.left, ballot.right)

    def _changed(self) -> None:
        if not self._handles:
            return
        self.controls.refresh()
        if self._ballot.done:
            self.controls.end()
        shown = self.outputs()
        # The line alone while the user votes: a new output for the controls would take the focus.
        for place in range(len(shown) if self._ballot.done else 1):
            self._handles[place].update(shown[place], raw=True)
