"""`train a,b,c`: several of a session's adapters on the same rows, and what is recorded of them.

Knows the session's state and the runs; knows no format of rows and no notebook.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.data.row import Row
from lora_magic.errors import AdapterError, CommandError, TrainingError, TrainingStopped, listed
from lora_magic.training.reporter import Reporter, SilentReporter
from lora_magic.training.summaries import Summaries
from lora_magic.training.summary import RunSummary

from . import find_rate, train
from .arms import Arm, Outcome, train_arms
from .session_state import SessionState

#: Flags of a single run, and what to do instead.
_OF_ONE = {
    "resume": "--resume continues a single run",
    "replay": "--replay works for a single adapter",
    "guard": "--guard works for a single adapter",
    "report_to": "--report-to follows a single run",
}


def named(state: SessionState, given: object) -> list[LiveAdapter] | None:
    """The adapters of `a,b,c` or of a list of names; None for a single name.

    Raises `CommandError` for no name and for one that occurs twice, `AdapterError` for all that are
    not attached.
    """
    if isinstance(given, str) and "," in given:
        names: list[Any] = [name for part in given.split(",") if (name := part.strip())]
    elif isinstance(given, list | tuple):
        names = list(given)
    else:
        return None
    if not names:
        raise CommandError(f"train {given!r}: expected an adapter's name, or several: a,b,c")
    twice = [name for at, name in enumerate(names) if name in names[:at]]
    if twice:
        raise CommandError(f"train: {twice[0]} is named twice; name each adapter once.")
    unknown = [name for name in names if name not in state.attached]
    if len(unknown) > 1:
        raise AdapterError(
            f"no adapters {listed(map(repr, unknown))}; attached: {listed(state.attached)}."
        )
    return [state.named(name) for name in names]


def refuse_of_one(**flags: Any) -> None:
    """Raise `CommandError` for the flags that only a run of one adapter has."""
    found = [why for flag, why in _OF_ONE.items() if flags.get(flag) not in (None, False)]
    if flags.get("lr") == find_rate.FIND:
        found.append("--lr find searches the rate of a single adapter")
    if found:
        raise CommandError(f"{'; '.join(found)}: name one adapter, or omit the flag.")


def several(
    state: SessionState,
    attached: Sequence[LiveAdapter],
    rows: Sequence[Row],
    *,
    flags: Mapping[str, Any],
    reporter: Reporter | None,
    **options: Any,
) -> Summaries:
    """Train adapters on the same rows; `options` are those of `train_arms`.

    Afterwards the one with the lowest held-out loss is active, without held-out rows the last
    named. One that fails is as it was, and the others stay trained. Forgetting is measured after
    all training is recorded, for each adapter.

    Raises `TrainingError` if all of them fail, and `TrainingStopped` if the user stopped the run:
    the adapters keep their steps.
    """
    reporter = reporter or SilentReporter()
    arms = [Arm(one, {}) for one in attached]
    outcomes = train_arms(
        state, arms, rows, flags=flags, reporter=reporter, followed=True, **options
    )
    state.runs = [o.run for o in outcomes if o.run and (o.summary or o.error)]
    done = [outcome for outcome in outcomes if outcome.summary is not None]
    failed = {o.attached.name: str(o.error) for o in outcomes if o.error is not None}
    if not done:
        raise TrainingError("; ".join(failed.values()))
    found = Summaries(_summaries(done), _how(outcomes), failed)
    best = found.best or found[-1]
    state.activate(best.adapter)
    found = Summaries(_measured(state, done, reporter), found.how, failed)
    reporter.finish(found)
    if any(summary.stopped for summary in found):
        raise TrainingStopped(_stopped(found))
    return found


def _summaries(outcomes: Iterable[Outcome]) -> list[RunSummary]:
    return [outcome.summary for outcome in outcomes if outcome.summary is not None]


def _how(outcomes: Sequence[Outcome]) -> str:
    """Which adapters were trained in one batch."""
    stacked = [outcome.attached.name for outcome in outcomes if outcome.stacked]
    alone = [o.attached.name for o in outcomes if not o.stacked and o.summary is not None]
    if not stacked:
        return "one after another"
    return "in one batch" + (f": {listed(stacked)}; then {listed(alone)}" if alone else "")


def _measured(
    state: SessionState, outcomes: Sequence[Outcome], reporter: Reporter
) -> list[RunSummary]:
    """The summaries with what was forgotten."""
    silent = _Silent(getattr(reporter, "stop", None))
    summaries = []
    for outcome in outcomes:
        assert outcome.summary is not None  # the caller has chosen
        assert outcome.run is not None  # it has begun
        summary = train.with_forgetting(state, outcome.attached, outcome.summary, silent, None)
        summaries.append(summary)
        outcome.run.summary = summary
    return summaries


class _Silent(SilentReporter):
    """Tells nothing, and ends a measurement when the reporter of the run does."""

    def __init__(self, stop: Any) -> None:
        super().__init__()
        self.stop = stop


def _stopped(found: Summaries) -> str:
    steps = ", ".join(f"{one.adapter} after step {one.steps}" for one in found if one.stopped)
    return (
        f"stopped: {steps}; the adapters keep what they learned. To continue, "
        "run the cell again with --continue."
    )
