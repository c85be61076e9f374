"""What a run will do, decided before it begins: its settings, and the rows as tokens.

Knows the session's state, rows and encoding; trains nothing, and knows no reporter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.base.prompt import PromptForm
from lora_magic.base.recipe import Recipe
from lora_magic.checks import is_number
from lora_magic.compare.limits import check_known
from lora_magic.data.row import Row, Rows
from lora_magic.errors import CommandError
from lora_magic.training import encode, preference
from lora_magic.training.encode import Encoded
from lora_magic.training.progress import Snapshot
from lora_magic.training.spec import TrainSpec, plan

from . import guard as guards
from .guard import GuardRows
from .session_state import SessionState

#: The default rate for preferences, as a multiple of that for completions. At 0.1 the embedded
#: model forgets nothing, at 1 everything (tests/benchmarks/results/preference_rate.txt).
PREFERENCE_RATE = 0.1


@dataclass(frozen=True, eq=False)
class Job:
    """What the steps of a run follow from, beside its adapter.

    The rows as tokens, and the settings. With `more` the adapter was trained before. With `start`
    the run goes on from that snapshot.
    """

    encoded: Encoded
    spec: TrainSpec
    more: bool = False
    start: Snapshot | None = None


@dataclass(frozen=True, eq=False)
class Prepared:
    """A run's settings, its rows and the guard's as tokens, and what was left out of them."""

    spec: TrainSpec
    encoded: Encoded
    guarded: GuardRows | None
    notes: str


def prepare(
    state: SessionState,
    attached: LiveAdapter,
    rows: Sequence[Row],
    form: PromptForm | None,
    *,
    held_out: Sequence[Row] | None,
    guard: Sequence[Row] | None,
    skip_bad: bool,
    notes: str,
    flags: Mapping[str, Any],
) -> Prepared:
    """Plan a run over rows, and encode them, those of `--eval` and those of `--guard`.

    Raises `CommandError` for flags that do not fit the rows, and `DataError` for rows that cannot
    be encoded.
    """
    spec = settings(state, attached, rows, held_out, flags)

    def tokens_of(some: Sequence[Row]) -> Encoded:
        return encoded_rows(state, some, form, spec.max_length, skip_bad)

    encoded, notes = both_sides(rows, held_out, tokens_of, notes)
    guarded = guards.read(state, guard, flags.get("replay"), tokens_of, spec.pass_size)
    if guarded and guard is not None:
        notes = noted(notes, "--guard", guard, guarded.measured, guarded.replay)
    if guarded and guarded.replay:
        encoded = encoded.replaying(guarded.replay)
    return Prepared(spec, encoded, guarded, notes)


def settings(
    state: SessionState,
    attached: LiveAdapter,
    rows: Sequence[Row],
    held_out: Sequence[Row] | None,
    flags: Mapping[str, Any],
) -> TrainSpec:
    """The settings of a run of an adapter; raises `CommandError` for flags that do not fit."""
    room = state.base.context - attached.tokens
    recipe = recipe_for(state, attached, flags.get("lora_plus"))
    prefers = preference.are_preferences(rows)
    if prefers:
        recipe = recipe._replace(learning_rate=recipe.learning_rate * PREFERENCE_RATE)
        if flags.get("replay") is not None:
            raise CommandError("--replay does not work with preferences: omit it; --guard does.")
    if flags.get("checkpointing"):
        _refuse_checkpointing(state, attached)
    other = None if held_out is None else len(held_out)
    spec = plan(recipe, len(rows), context=room, prefers=prefers, held_out=other, **flags)
    # Virtual tokens act through the cache, which a checkpointed block does not get.
    return replace(spec, can_checkpoint=not attached.tokens)


def _refuse_checkpointing(state: SessionState, attached: LiveAdapter) -> None:
    """Raise `CommandError` where activations cannot be computed again."""
    why = ""
    if attached.tokens:
        why = f"{attached.name} acts through the cache, which is not there in the second pass"
    elif not getattr(state.base.model, "supports_gradient_checkpointing", False):
        why = f"{type(state.base.model).__name__} does not support it"
    if why:
        raise CommandError(f"--checkpointing: {why}; omit it. --batch-size saves memory too.")


def both_sides(
    rows: Sequence[Row],
    held_out: Sequence[Row] | None,
    encode: Callable[[Sequence[Row]], Encoded],
    notes: str,
) -> tuple[Encoded, str]:
    """Rows and those of `--eval`, if there are any, as tokens; and the notes with what was left
    out of these."""
    encoded = encode(rows)
    if held_out is None:
        return encoded, notes
    if preference.are_preferences(held_out) != preference.are_preferences(rows):
        raise CommandError("--eval: give rows of the same kind as those to train on.")
    measured = encode(held_out)
    return encoded.measured_on(measured), noted(notes, "--eval", held_out, measured)


def rows_needed(recipe: Recipe, steps: object, batch_size: object) -> int | None:
    """The rows that a run of so many steps needs of a stream; None if its length is not given.

    Held-out rows are taken from these: the others are then seen a little more than once.
    """
    batch = recipe.batch_size * recipe.accumulation if batch_size is None else batch_size
    if not isinstance(steps, int) or not isinstance(batch, int):
        return None  # Other values are refused when the run is planned.
    return steps * batch if steps * batch > 0 else None


def encoded_rows(
    state: SessionState,
    rows: Sequence[Row],
    form: PromptForm | None,
    max_length: int,
    skip_bad: bool = False,
) -> Encoded:
    """Rows as tokens in the prompt's form; without one, as a classifier reads them.

    With `skip_bad` rows that cannot be encoded are left out, and the record lists them.
    """
    tokenizer = state.base.needs_tokenizer()
    prefers = preference.are_preferences(rows)
    if form is None and prefers:
        raise CommandError("a classifier learns labels, not preferences: load a language model.")
    if form is None:
        labels = state.base.task.labels
        encoded = encode.encode_labelled(rows, tokenizer, labels, max_length, skip_bad=skip_bad)
    else:
        how = preference.encode_preferences if prefers else encode.encode
        encoded = how(rows, tokenizer, form, max_length, skip_bad=skip_bad)
    check_known([example.tokens for example in encoded.examples], state.base.model)
    return encoded


def noted(notes: str, flag: str, rows: Sequence[Row], *encoded: Encoded | None) -> str:
    """The notes with what a flag's rows have left out."""
    own = [rows.note] if isinstance(rows, Rows) else []
    told = " · ".join(filter(None, [*own, *(one.skipped for one in encoded if one)]))
    return " · ".join(filter(None, (notes, f"{flag}: {told}" if told else "")))


def recipe_for(state: SessionState, attached: LiveAdapter, ratio: Any) -> Recipe:
    """The base's recipe with the method's own learning rate.

    With LoRA+ the geometric mean of A's and B's rates is the recipe's rate. Virtual tokens act
    through the cache, which a checkpointed block does not get: they would not be trained, or the
    mask would not fit.
    """
    recipe = state.base.recipe
    spread = math.sqrt(ratio) if is_number(ratio) and ratio > 0 else 1.0
    rate = recipe.learning_rate * attached.method.rate / spread
    checkpointing = recipe.checkpointing and not attached.tokens
    return recipe._replace(learning_rate=rate, checkpointing=checkpointing)


def form_for(
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
