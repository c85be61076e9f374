"""What is recorded of how an adapter was made, for `script`: its steps, without a tensor.

Knows adapters, rows and settings; writes no script and trains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lora_magic.adapters.live_adapter import History, LiveAdapter
from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Row
from lora_magic.export.script.long_rows import LongRows, characters
from lora_magic.export.script.steps import Opened, Trained
from lora_magic.training import batches
from lora_magic.training.encode import Encoded
from lora_magic.training.spec import TrainSpec
from lora_magic.training.summary import RunSummary

#: The most characters of a run's rows that are kept with an adapter, beside its tensors.
MOST = 20_000_000


@dataclass(frozen=True, eq=False)
class Making:
    """A run that is about to begin: the steps before it, and its own, which took none yet."""

    before: tuple[object, ...]
    run: Trained

    @classmethod
    def of(
        cls,
        attached: LiveAdapter,
        encoded: Encoded,
        settings: TrainSpec,
        form: PromptForm | None,
        rows: Sequence[Row],
        held_out: Sequence[Row] | None,
        *,
        more: bool,
        resumed: History | None = None,
        replayed: Sequence[Row] | None = None,
    ) -> Making:
        """A run from the adapter's initial state, or with `more` from its current one.

        `resumed` is the history before a run that is resumed. `replayed` are the guard's rows that
        are trained on, too.
        """
        before = attached.start_steps
        if more:
            before = attached.steps if resumed is None else _before(attached, encoded, resumed)
        began = attached.history if resumed is None else resumed
        train, measured = batches.sides(encoded, settings)
        run = Trained(
            spec=attached.spec,
            settings=settings.fitted(len(train), len(measured)),
            form=form,
            rows=_kept(rows, before),
            held_out=None if held_out is None else _kept(held_out, before),
            # From an adapter that was never trained, it began with the initial state. (Only a run
            # from the start gives EVA's A, which the rows determine.)
            continued=more and (began.ready or attached.spec.init == "eva"),
            steps=0,
            planned=0,
            data_hash=encoded.data_hash,
            other={} if replayed is None else {"replay": _kept(replayed, before)},
        )
        return cls(before, run)

    def after(self, summary: RunSummary) -> tuple[object, ...]:
        """How the adapter is made after the run."""
        steps, planned = summary.kept_steps, summary.planned_steps
        other = {**self.run.other, "ended": summary.ended}
        return (*self.before, replace(self.run, steps=steps, planned=planned, other=other))


def opened(typed: str, folder: Path, attached: LiveAdapter, here: bool) -> Opened:
    """The step of an adapter that was read from a folder, which is `here` or was fetched."""
    if here:
        return Opened(str(folder.absolute()), attached.spec, attached.saved_as)
    return Opened(typed, attached.spec)


def _before(attached: LiveAdapter, encoded: Encoded, history: History) -> tuple[object, ...]:
    """The steps before a run that is resumed; none if these are not known any more.

    The adapter has the steps that the run took before it was stopped, or none of them.
    """
    if attached.history == history:
        return attached.steps
    last = attached.steps[-1] if attached.steps else None
    stopped = isinstance(last, Trained) and last.continued and last.data_hash == encoded.data_hash
    return attached.steps[:-1] if stopped else ()


def _kept(rows: Sequence[Row], before: Iterable[object]) -> Sequence[Row]:
    """The rows to keep: those of a step before, if they are the same, and none that are too long.

    A run that is continued on the same rows again and again keeps them once.
    """
    if characters(rows) > MOST:
        return LongRows.of(rows)
    kept = tuple(rows)
    return next((known for known in _rows_of(before) if known == kept), kept)


def _rows_of(steps: Iterable[object]) -> Iterator[Sequence[Row]]:
    for step in steps:
        if isinstance(step, Trained):
            yield from (rows for rows in (step.rows, step.held_out) if rows is not None)
