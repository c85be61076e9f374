"""Trains one of a session's adapters on rows; an error restores the adapter.

Knows the session's state and the run; knows no format of rows and no notebook.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lora_magic.adapters.live_adapter import History, LiveAdapter, Record
from lora_magic.adapters.spec import BASE_NAME
from lora_magic.adapters.training_hooks import hooks_of
from lora_magic.base.prompt import PromptForm
from lora_magic.base.recipe import Recipe
from lora_magic.checks import is_number
from lora_magic.compare.limits import check_known
from lora_magic.errors import CommandError, TrainingStopped
from lora_magic.interrupts import Stop
from lora_magic.training import encode, run
from lora_magic.training.encode import Encoded
from lora_magic.training.forgetting import Forgetting, Unmeasured, recorded
from lora_magic.training.rate_curve import RateCurve
from lora_magic.training.reporter import Reporter, Result, SilentReporter
from lora_magic.training.row import Row
from lora_magic.training.spec import TrainSpec, plan
from lora_magic.training.summary import RunSummary

from . import find_rate, forgetting
from .session_state import SessionState


def train(
    state: SessionState,
    attached: LiveAdapter,
    rows: Sequence[Row],
    *,
    template: str | None,
    system: str | None,
    more: bool,
    reporter: Reporter | None,
    held_out: Sequence[Row] | None = None,
    measured: bool = True,
    **flags: Any,
) -> RunSummary | RateCurve:
    """Train from the adapter's initial state, or with `more` from its current one.

    `held_out` are rows that are only measured, instead of a part of `rows`. With the flag `lr` at
    "find" nothing is trained (`find_rate.find`).
    Forgetting is measured last, after the training is recorded: an error there does not affect it.
    Raises `TrainingStopped` if the user stopped the run: the adapter keeps its steps. Any other
    error of the run restores the weights.
    """
    tokenizer = state.base.needs_tokenizer()
    form = _form(state, attached if more else None, template, system)
    room = state.base.context - attached.tokens
    recipe = _recipe(state, attached, flags.get("lora_plus"))
    finding = flags.get("lr") == find_rate.FIND
    asked = find_rate.flags_of(flags) if finding else flags
    other = None if held_out is None else len(held_out)
    spec = plan(recipe, len(rows), context=room, held_out=other, **asked)

    def encoded_of(some: Sequence[Row]) -> Encoded:
        if form is None:
            classes = state.base.task.labels
            found = encode.encode_labelled(some, tokenizer, classes, spec.max_length)
        else:
            found = encode.encode(some, tokenizer, form, spec.max_length)
        check_known([example.tokens for example in found.examples], state.base.model)
        return found

    encoded = encoded_of(rows)
    if held_out is not None:
        encoded = encoded.measured_on(encoded_of(held_out))
        flags["eval"] = f"{len(held_out)} other rows"
    reporter = reporter or SilentReporter()
    if finding:
        return find_rate.find(state, attached, encoded, spec, more=more, reporter=reporter)
    example = next(filter(None, map(_asked, rows)), "")

    def record(summary: RunSummary) -> Record:
        before = attached.history if more else attached.start_history
        history = _history(before, summary)
        return Record(form, history, run=_recorded(summary, flags), example=example)

    summary = _run(state, attached, encoded, spec, more, _WithoutFinish(reporter), record)
    if measured:
        summary = _with_forgetting(state, attached, summary, reporter)
    if summary.stopped:
        raise TrainingStopped(
            f"{attached.name} stopped after step {summary.steps} of {summary.planned_steps}; "
            "it keeps what it learned. To continue, run the cell again with --continue."
        )
    return summary


def _asked(row: Row) -> str:
    """What a row asks: its prompt, or the user's first turn of a conversation; "" for a text."""
    turns = [turn.content for turn in row.messages or () if turn.role == "user"]
    return row.prompt or next(iter(turns), "")


class _WithoutFinish:
    """Passes a run's events on, except its end: the receipt waits for the forgetting."""

    def __init__(self, reporter: Reporter) -> None:
        self.start, self.step = reporter.start, reporter.step
        self.stop = getattr(reporter, "stop", None)

    def finish(self, summary: Result) -> None:
        """Does nothing: `_with_forgetting` finishes."""


def _with_forgetting(
    state: SessionState, attached: LiveAdapter, summary: RunSummary, reporter: Reporter
) -> RunSummary:
    """The summary with the adapter's forgetting, which its card and the reporter get too.

    ■ ends the measurement as it ends a run: once, after the current pass; twice, at once. Either
    way the receipt is shown.
    """
    if state.base.task.classifies:
        reporter.finish(summary)
        return summary
    # If the button stopped the run, its event is still set.
    stop = Stop(None if summary.stopped else getattr(reporter, "stop", None))
    found: Forgetting = Unmeasured("stopped")
    try:
        with stop:
            found = forgetting.measure(
                state, attached, lambda: stop.requested, brief=summary.stopped
            )
    finally:
        attached.run["forgetting"] = recorded(found)
        summary = replace(summary, forgetting=found)
        reporter.finish(summary)
    return summary


def _recipe(state: SessionState, attached: LiveAdapter, ratio: Any) -> Recipe:
    """The base's recipe with the method's own learning rate.

    With LoRA+ the geometric mean of A's and B's rates is the recipe's rate. Virtual tokens act
    through the cache, which a checkpointed block does not get: they would not be trained, or the
    mask would not fit.
    """
    recipe = state.base.recipe
    spread = math.sqrt(ratio) if is_number(ratio) and ratio > 0 else 1.0
    rate = recipe.learning_rate * attached.method.rate / spread
    checkpointing = recipe.checkpointing and not attached.tokens
    return replace(recipe, learning_rate=rate, checkpointing=checkpointing)


def _form(
    state: SessionState, continued: LiveAdapter | None, template: str | None, system: str | None
) -> PromptForm | None:
    """The prompt's form: from the flags, else of the continued adapter; None for a classifier."""
    if state.base.task.classifies:
        if template is not None or system is not None:
            raise CommandError(
                "a classifier reads the text as it is: omit --template and --system."
            )
        return None
    previous = continued.form if continued and template is None and system is None else None
    return previous or PromptForm.of(state.base.needs_tokenizer(), template, system)


def _run(
    state: SessionState,
    attached: LiveAdapter,
    encoded: Encoded,
    spec: TrainSpec,
    more: bool,
    reporter: Reporter,
    record: Callable[[RunSummary], Record],
) -> RunSummary:
    """Run and record, both or neither: outside a pass an interrupt is only noted."""
    with (
        Stop(getattr(reporter, "stop", None), deferring=True) as stop,
        state.all_or_nothing(attached),
    ):
        summary = steps(state, attached, encoded, spec, more, reporter, stop)
        attached.set_record(record(summary))
    return summary


def steps(
    state: SessionState,
    attached: LiveAdapter,
    encoded: Encoded,
    spec: TrainSpec,
    more: bool,
    reporter: Reporter,
    stop: Stop,
) -> RunSummary:
    """Activate the adapter and run; the caller guards weights and state, and records."""
    base = state.base
    if not more:
        attached.set_state(attached.start)
    # A person may have changed flags of the base since the last verb.
    state.activate(BASE_NAME)
    base.freeze()
    state.activate(attached.name)
    hooks = hooks_of(base.model, state.slots, attached, more=more)
    with attached.trainable():
        return run.run(
            attached.name,
            base.model,
            base.tokenizer,
            encoded,
            spec,
            hooks=hooks,
            reporter=reporter,
            stop=stop,
            frozen=base.fingerprint.tensors(),
        )


def _history(before: History, summary: RunSummary) -> History:
    """The history of what the run began with, and the run."""
    return replace(
        before,
        steps=before.steps + summary.kept_steps,
        first_loss=before.first_loss if before.steps else summary.first_loss,
        last_loss=summary.last_loss,
        rows=summary.examples,
    )


#: Fields of a summary that an adapter's card records.
_RECORDED = (
    *("examples", "held_out", "steps", "planned_steps", "learning_rate", "batch_size", "seed"),
    *("last_loss", "held_out_before", "held_out_after", "ended", "best_step"),
)


def _recorded(summary: RunSummary, flags: Mapping[str, Any]) -> dict[str, Any]:
    """What an adapter's card records of its last run."""
    return {
        "data_sha256": summary.data_hash,
        **{name: getattr(summary, name) for name in _RECORDED},
        "flags": {key: value for key, value in flags.items() if value is not None},
    }
