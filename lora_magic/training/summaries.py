"""What the runs of several adapters on the same rows did: a tuple that displays itself.

Knows summaries and lines; knows no model and no session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lora_magic.frames import frame
from lora_magic.printable import one_line

from .summary import RunSummary

#: Columns of the frame, each an attribute of `RunSummary`. Losses are in nats per token.
COLUMNS = (
    *("adapter", "steps", "planned_steps", "ended", "best_step", "learning_rate"),
    *("first_loss", "last_loss", "held_out_before", "held_out_after", "seconds"),
)


class Summaries(tuple[RunSummary, ...]):
    """The summaries of adapters that were trained on the same rows, in the order of their names.

    `how` says which of them were trained as blocks of one batch. `failed` has the error's line of
    each adapter that dropped out; it is as before the run, and has no summary.
    """

    how: str
    failed: Mapping[str, str]

    def __new__(
        cls,
        summaries: Iterable[RunSummary],
        how: str = "",
        failed: Mapping[str, str] | None = None,
    ) -> Summaries:
        """A tuple of these summaries."""
        made = super().__new__(cls, summaries)
        made.how, made.failed = how, dict(failed or {})
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self), self.how, self.failed

    @property
    def best(self) -> RunSummary | None:
        """The one with the lowest held-out loss; None without held-out rows."""
        measured = [one for one in self if one.held_out_after is not None]
        return min(measured, key=_held_out) if measured else None

    @property
    def line(self) -> str:
        """One line for all of them."""
        names = ", ".join(one.adapter for one in self)
        parts = [f"{names}: trained on the same rows"] if self else []
        parts += [self.how] if self.how else []
        if self.best is not None:
            parts.append(f"best held-out loss {self.best.held_out_after:.3f}: {self.best.adapter}")
        if self.failed:
            parts.append(f"dropped out: {', '.join(self.failed)}")
        return "; ".join(parts)

    @property
    def lines(self) -> tuple[str, ...]:
        """The line for all of them, one for each summary, and one for each that dropped out."""
        return (self.line, *(one.line for one in self), *self.failed.values())

    def __repr__(self) -> str:
        return "\n".join(map(one_line, self.lines))

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row for each adapter and the columns `COLUMNS`."""
        return frame(([getattr(one, name) for name in COLUMNS] for one in self), COLUMNS)

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views.training import summaries_bundle

        return summaries_bundle(self)


def _held_out(summary: RunSummary) -> float:
    assert summary.held_out_after is not None  # `best` has asked
    return summary.held_out_after
