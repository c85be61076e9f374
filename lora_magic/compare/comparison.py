"""Answers side by side, as values.

Knows text and numbers. The views draw them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Self

from lora_magic.frames import frame
from lora_magic.printable import one_line

from .diff import Difference, difference

if TYPE_CHECKING:
    from pandas import DataFrame

    from .scores import Scores

_COLUMNS = ("prompt", "adapter", "text", "tokens", "seconds", "batched", "first_logit_change")


#: Answers to a prompt, finished or not: (adapter, text so far, or None before its turn).
Begun = tuple[str, tuple[tuple[str, str | None], ...]]


@dataclass(frozen=True)
class Unfinished:
    """A comparison while its answers are generated: the prompts begun, of `total`."""

    begun: tuple[Begun, ...]
    total: int


@dataclass(frozen=True)
class Pane:
    """One adapter's answer to one prompt.

    `seconds` is the wall time of its pass; if `batched`, one pass makes all panes of the prompt.
    `first_logit_change` is max |Δlogit| over the vocabulary at the first new token, fp32, against
    the base on the same tokens; `note` is a remark on it, or "". `stopped` says that the user ended
    the answer, or that it was not begun. `ids` are the generated tokens, the end token too.
    """

    prompt: str
    adapter: str
    text: str
    tokens: int
    ended: bool
    seconds: float
    batched: bool
    first_logit_change: float
    note: str = ""
    stopped: bool = False
    ids: tuple[int, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Marked:
    """A pane with its words against the base's; `same` says that the two texts are equal."""

    pane: Pane
    words: Difference
    same: bool

    @classmethod
    def of(cls, base: Pane, pane: Pane) -> Self:
        """A pane beside the base's. Answers that the user ended are not called the same."""
        complete = pane is not base and not (base.stopped or pane.stopped)
        return cls(pane, difference(base.text, pane.text), complete and base.text == pane.text)


@dataclass(frozen=True)
class Comparison:
    """Prompts answered under several adapters, the base first for each prompt.

    `left_out` are the adapters that were not named and not trained. `scores` has the probabilities
    of the answers' tokens, if they were asked for. `notes` say which prompts were not answered.
    """

    panes: tuple[Pane, ...]
    temperature: float = 0.0
    seed: int = 0
    left_out: tuple[str, ...] = ()
    top_p: float = 1.0
    scores: Scores | None = None
    notes: tuple[str, ...] = ()

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts, in the order given."""
        return tuple(dict.fromkeys(pane.prompt for pane in self.panes))

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the panes, the base first."""
        return tuple(dict.fromkeys(pane.adapter for pane in self.panes))

    @property
    def stopped(self) -> bool:
        """Did the user end it before all answers were complete, or scored?"""
        cut = self.scores is not None and self.scores.stopped
        return cut or any(pane.stopped for pane in self.panes)

    @property
    def line(self) -> str:
        """One line: adapters, prompts, passes, seconds, and how tokens were sampled."""
        groups = self._groups()
        batched = all(pane.batched for pane in self.panes)
        seconds = sum(
            panes[0].seconds if batched else sum(pane.seconds for pane in panes)
            for _, panes in groups
        )
        count = "1 prompt" if len(groups) == 1 else f"{len(groups)} prompts"
        how = "one pass per prompt" if batched else "one answer after the other"
        nucleus = f", top-p {self.top_p:g}" if self.top_p < 1 else ""
        sampled = f"temperature {self.temperature:g}{nucleus}, seed {self.seed}"
        sampling = sampled if self.temperature else "greedy"
        return f"{' | '.join(self.adapters)} · {count} · {how}, {seconds:.2f} s · {sampling}"

    def to_frame(self) -> DataFrame:
        """Columns prompt, adapter, text, tokens, seconds, batched, first_logit_change."""
        return frame(
            ([getattr(pane, column) for column in _COLUMNS] for pane in self.panes), _COLUMNS
        )

    def marked(self, most: int | None = None) -> list[tuple[str, list[Marked]]]:
        """Each prompt with its panes, or those of the first prompts, and the words that differ."""
        return [
            (prompt, [Marked.of(panes[0], pane) for pane in panes])
            for prompt, panes in self._groups()[:most]
        ]

    def _groups(self) -> list[tuple[str, list[Pane]]]:
        grouped = groupby(self.panes, key=lambda pane: pane.prompt)
        return [(prompt, list(panes)) for prompt, panes in grouped]

    def __repr__(self) -> str:
        return f"{one_line(self.line)}\n\n{self._repr_mimebundle_()['text/plain']}"

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import comparison as view

        return view.bundle(self)
