"""A training over a session's holdings: from rows to a recorded adapter, or to what was before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lora_magic.adapters.live_adapter import History, LiveAdapter
from lora_magic.adapters.training_hooks import hooks_of
from lora_magic.base.prompt import PromptForm
from lora_magic.base.recipe import Recipe
from lora_magic.checks import is_number
from lora_magic.compare.limits import check_known
from lora_magic.errors import CommandError, TrainingStopped
from lora_magic.training import encode, run
from lora_magic.training.encode import Encoded
from lora_magic.training.forgetting import Forgetting, recorded
from lora_magic.training.reporter import Reporter, SilentReporter
from lora_magic.training.row import Row
from lora_magic.training.spec import TrainSpec, plan
from lora_magic.training.stop import Stop
from lora_magic.training.summary import RunSummary

from . import forgetting
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
    **flags: Any,
) -> RunSummary:
    """Train from the adapter's recorded beginning, or with `more` from where it stands.

    What the adapter kept of its base is measured when all else is done and recorded, so that
    nothing that happens to that number can happen to the training. Raises `TrainingStopped` after a
    person ended the run: the adapter keeps its steps. After any other error of the run its weights
    are what they were.
    """
    tokenizer = state.base.needs_tokenizer()
    form = _form(state, attached if more else None, template, system)
    room = state.base.context - attached.tokens
    recipe = _recipe(state, attached, flags.get("lora_plus"))
    spec = plan(recipe, len(rows), context=room, **flags)
    if form is None:
        classes = state.base.task.labels
        encoded = encode.encode_labelled(rows, tokenizer, classes, spec.max_length)
    else:
        encoded = encode.encode(rows, tokenizer, form, spec.max_length)
    check_known([example.tokens for example in encoded.examples], state.base.model)
    listener = reporter or SilentReporter()
    summary = _run(state, attached, encoded, spec, more, _Awaiting(listener))
    attached.form = form
    attached.history = _history(_before(attached.history, more), summary)
    attached.saved_to = None
    attached.run = _told(summary, flags)
    summary = _with_kept(state, attached, summary, listener)
    if summary.stopped:
        raise TrainingStopped(
            f"{attached.name} stopped after step {summary.steps} of {summary.planned_steps}; "
            "it keeps what it learned. To go on, run the cell again with --continue."
        )
    return summary


class _Awaiting:
    """Tells a reporter all of a run but its end: what was kept is a part of the receipt."""

    def __init__(self, reporter: Reporter) -> None:
        self.start, self.step = reporter.start, reporter.step
        self.stop = getattr(reporter, "stop", None)

    def finish(self, summary: RunSummary) -> None:
        """Nothing yet."""


def _with_kept(
    state: SessionState, attached: LiveAdapter, summary: RunSummary, reporter: Reporter
) -> RunSummary:
    """The summary with what the adapter kept of its base, for its card and for the reporter, too.

    ■ ends the measuring as it ends a run: the first one where it stands next, a second at once,
    and then the receipt is shown all the same.
    """
    if state.base.task.classifies:
        reporter.finish(summary)
        return summary
    # A button that has ended the run stays pressed.
    stop = Stop(None if summary.stopped else getattr(reporter, "stop", None))
    kept: Forgetting = forgetting.unmeasured(state)
    try:
        with stop:
            kept = forgetting.measured(state, attached, lambda: stop.wanted, brief=summary.stopped)
    finally:
        attached.run["kept"] = recorded(kept)
        summary = replace(summary, kept=kept)
        reporter.finish(summary)
    return summary


def _recipe(state: SessionState, attached: LiveAdapter, ratio: Any) -> Recipe:
    """The base's recipe with the method's own rate.

    With LoRA+ A and B learn at rates whose geometric mean is the plain one: λ only parts them.
    Virtual tokens act through the cache, which a block whose activations are computed anew is not
    given: they would not be trained, or the mask would not fit.
    """
    recipe = state.base.recipe
    parted = math.sqrt(ratio) if is_number(ratio) and ratio > 0 else 1.0
    rate = recipe.learning_rate * attached.method.rate / parted
    anew = recipe.checkpointing and not attached.tokens
    return replace(recipe, learning_rate=rate, checkpointing=anew)


def _form(
    state: SessionState, goes_on: LiveAdapter | None, template: str | None, system: str | None
) -> PromptForm | None:
    """The prompt's form that flags ask for, or that training goes on in; a classifier has none."""
    if state.base.task.classifies:
        if template is not None or system is not None:
            raise CommandError(
                "--template and --system are for models that write; a classifier reads the text "
                "as it is."
            )
        return None
    kept = goes_on.form if goes_on and template is None and system is None else None
    return kept or PromptForm.of(state.base.needs_tokenizer(), template, system)


def _run(
    state: SessionState,
    attached: LiveAdapter,
    encoded: Encoded,
    spec: TrainSpec,
    more: bool,
    reporter: Reporter,
) -> RunSummary:
    before = attached.state()
    base = state.base
    try:
        with state.all_or_nothing():
            if not more:
                attached.set_state(attached.start)
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
                )
    except BaseException:
        attached.set_state(before)
        raise


def _history(before: History, summary: RunSummary) -> History:
    first = before.first_loss if before.steps else summary.first_loss
    return History(
        before.steps + summary.steps,
        first,
        summary.last_loss,
        summary.examples,
        before.elsewhere,
        before.made,
        before.lost,
    )


def _before(history: History, more: bool) -> History:
    """Where a run begins: what an adapter was made of stays true of its beginning."""
    return history if more else History(made=history.made, lost=history.lost)


def _told(summary: RunSummary, flags: Mapping[str, Any]) -> dict[str, Any]:
    """What an adapter's card says of its last run."""
    return {
        "data_sha256": summary.data_hash,
        "examples": summary.examples,
        "held_out": summary.held_out,
        "steps": summary.steps,
        "planned_steps": summary.planned_steps,
        "learning_rate": summary.learning_rate,
        "batch_size": summary.batch_size,
        "seed": summary.seed,
        "last_loss": summary.last_loss,
        "held_out_before": summary.held_out_before,
        "held_out_after": summary.held_out_after,
        "flags": {key: value for key, value in flags.items() if value is not None},
    }
