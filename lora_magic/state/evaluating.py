"""Base and adapters measured on the same rows, and what that leaves on each adapter.

Knows the session's state; does not know how rows are encoded, answered or compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from lora_magic.adapters.live_adapter import Evaluated
from lora_magic.checks import is_whole
from lora_magic.compare import classify as classifying
from lora_magic.compare.classify import UNTRAINED
from lora_magic.compare.limits import check_flags, check_known
from lora_magic.compare.stack import stacked
from lora_magic.data.row import Row, Rows
from lora_magic.errors import CommandError, DataError
from lora_magic.evaluation import evaluation as record
from lora_magic.evaluation import items as encoding
from lora_magic.evaluation import scores
from lora_magic.evaluation.answers import Answering
from lora_magic.evaluation.evaluation import EvaluatedRow, Evaluation
from lora_magic.evaluation.items import Item, Items
from lora_magic.evaluation.losses import Loss, Losses
from lora_magic.evaluation.passes import Passes, Watch
from lora_magic.interrupts import undisturbed
from lora_magic.training.encode import IGNORED, Example
from lora_magic.training.run import pad_id

from . import queries
from .measured import rows_hash
from .mixing import mix_of

if TYPE_CHECKING:
    from lora_magic.compare.generate import Generation
    from lora_magic.compare.mix import Mix
    from lora_magic.compare.stack import Variant
    from lora_magic.scale.work import Workers

    from .session_state import SessionState

#: How more rows of a stream are read.
_STREAMED = "--rows N reads the first N"

#: Values by metric, each for every variant.
Values = dict[str, tuple[float, ...]]

#: What is found of a row at once: its loss or its answer, under every variant.
Found = Sequence["Loss | Generation"]

#: Takes what was found of the row at a place, and finds it for all rows.
Take = Callable[[int, Found], None]
Measure = Callable[[Sequence[Item], Take], None]

#: The metrics of our own, whose names no other can have.
_OWN = (
    *(record.LOSS, record.PERPLEXITY, record.ACCURACY, record.EXACT, record.ROUGE),
    *(record.LENGTH, record.REPETITION),
)


def evaluate(
    state: SessionState,
    adapters: str | Sequence[str] | None,
    read_rows: Callable[..., Rows],
    *,
    metric: Any,
    most: int | None,
    mix: Any,
    sampling: Mapping[str, Any],
    skip_bad: bool,
    watch: Watch | None,
    workers: Workers | None = None,
) -> Evaluation:
    """Measure the rows under base and adapters; when all are done, record it on the adapters.

    With `workers` they measure the rows, and the metrics of a person are computed here.
    """
    began = time.perf_counter()
    variants = queries.variants(state, adapters)
    mixed = mix_of(state, mix)
    names = [variant.name for variant in variants] + ([mixed.name] if mixed else [])
    own = scores.own_metrics(metric, _OWN)
    check_most(most)
    try:
        rows = read_rows(most=most)
    except DataError as error:
        raise encoding.of_evaluation(error) from None
    given = rows[:most]
    count = f"{len(given):,} row{'s' * (len(given) != 1)}"
    line = f"evaluating {count} under {', '.join(names)}"
    passes = Passes(watch, f"{line} …")
    work = Evaluating(state, variants, mixed, own, sampling, passes)
    read = work.read(given, skip_bad)
    measure = None
    if workers is not None:
        # It measures in each worker as this file does here.
        from .spread import RowsElsewhere
        from .worker_rows import Readers

        readers = Readers.of(state, [one.name for one in variants[1:]], mix)
        measure = RowsElsewhere(readers, workers, sampling, passes, line, work.notes)
    measured = work.rows(read, measure)
    every = state.attached if adapters is None else ()
    found = Evaluation.of(
        names,
        measured,
        data_hash=read.data_hash,
        seconds=time.perf_counter() - began,
        labels=state.base.task.labels if state.base.task.classifies else (),
        stopped=work.passes.stopped,
        left_out=tuple(name for name in every if name not in names),
        notes=(
            *filter(None, [rows.note.replace("--steps N reads what N steps need", _STREAMED)]),
            *(*read.notes, *work.notes),
        ),
    )
    state.remember(row.prompt for row in given)
    if not found.stopped:
        _note(state, found, [_hash(state, read, at) for at in range(len(names))])
    return found


def _hash(state: SessionState, read: Items, variant: int) -> str:
    """The hash of what a variant's loss is measured on, as a run has of its held-out rows.

    Without a loss, that of the rows.
    """
    examples = [example for item in read.items for example in item.examples[variant]]
    if not examples:
        return read.data_hash
    return rows_hash(state, examples)


def _answer(example: Example) -> tuple[int, ...]:
    """The tokens that the loss covers."""
    return tuple(label for label in example.labels if label != IGNORED)


def check_most(most: int | None) -> None:
    """Raise `CommandError` for a number of rows that is none."""
    if most is None:
        return
    if not is_whole(most) or most < 1:
        raise CommandError(f"--rows {most!r}: expected a whole number from 1.")


class Evaluating:
    """One evaluation: its variants, the person's metrics, and what a reader should know."""

    def __init__(
        self,
        state: SessionState,
        variants: Sequence[Variant],
        mix: Mix | None,
        own: Mapping[str, scores.Metric],
        sampling: Mapping[str, Any],
        passes: Passes,
    ) -> None:
        self._state, self._variants, self._mix, self._own = state, variants, mix, own
        members = mix.variants if mix else ()
        self._readers = [*variants, *members]
        self._sampling, self.passes = sampling, passes
        self._stack = stacked(state.slots, variants)
        self._context = queries.usable_context(state, [one.name for one in self._readers])
        untrained = queries.untrained(state, [one.name for one in variants])
        self.notes = [f"{one.name}: {UNTRAINED}" for one in variants if one.name in untrained]

    def read(self, rows: Sequence[Row], skip_bad: bool) -> Items:
        """The rows as tokens; raises before anything is measured."""
        base = self._state.base
        if base.task.classifies:
            classifying.refuse_flags(**self._sampling)
            count, labels = len(self._variants), base.task.labels
            read = encoding.read_labelled(
                rows, base.tokenizer, labels, count, self._context, skip_bad=skip_bad
            )
        else:
            check_flags(**self._sampling)
            forms = [variant.form for variant in self._readers]
            if len(set(forms)) > 1:
                self.notes.append("each adapter reads the rows in its own prompt form")
            read = encoding.read(rows, base.tokenizer, forms, self._context, skip_bad=skip_bad)
        tokens = [e.tokens for item in read.items for own in item.examples for e in own]
        tokens += [ids for item in read.items for ids in item.asked or ()]
        check_known(tokens, base.model)
        repeats = len(read.items) - len({item.key for item in read.items})
        if repeats:
            says = "row repeats another" if repeats == 1 else "rows repeat others"
            self.notes.append(f"{repeats} {says}, so the intervals are too narrow")
        self._refuse_other_answers(read.items)
        self._refuse_unmeasurable(read.items)
        return read

    def _refuse_other_answers(self, items: Sequence[Item]) -> None:
        """Raise `CommandError` if members of a mix read an answer as different tokens."""
        for item in items:
            members = item.examples[len(self._variants) :]
            said = {tuple(_answer(example) for example in own) for own in members}
            if len(said) > 1:
                raise CommandError(
                    "--mix: its members were trained in prompt forms that end an answer with "
                    "different tokens, so their probabilities have no common ones; train them "
                    "with the same --template, or name others."
                )

    def _refuse_unmeasurable(self, items: Sequence[Item]) -> None:
        """Raise `DataError` if no row has what a metric needs; note the rows that lack it."""
        without = sum(item.reference is None for item in items)
        if without == len(items) and not self._own:
            raise DataError(
                "no row has a completion, which loss, exact match and ROUGE-L need: give rows with "
                "completions, or measure the answers by a function of your own (--metric)."
            )
        if without:
            rows = f"{without} row{'s' * (without != 1)}"
            self.notes.append(f"{rows} without a completion: no loss, exact match and ROUGE-L")
        texts = sum(item.asked is None for item in items)
        if self._state.base.task.classifies or not texts:
            return
        if texts == len(items) and self._own:
            raise CommandError(
                f"--metric {next(iter(self._own))}: the rows are texts without prompts, so nothing "
                "is answered; give rows with prompts, or omit --metric."
            )
        self.notes.append(f"{texts} text{'s' * (texts != 1)} without a prompt: loss only")

    def rows(self, read: Items, measure: Measure | None = None) -> list[EvaluatedRow]:
        """The rows that were measured: all, or after a stop those that were done by then.

        `measure` finds their losses and answers, by default here. Raises `KeyboardInterrupt` if no
        row was measured.
        """
        made: dict[int, EvaluatedRow] = {}

        def take(at: int, found: Found) -> None:
            made[at] = self._row(read.items[at], made.get(at), found)

        (measure or self.measure)(read.items, take)
        if not made:
            raise KeyboardInterrupt
        return [made[at] for at in sorted(made)]

    def measure(self, items: Sequence[Item], take: Take) -> None:
        """Give `take` the losses of each row and then its answers, by its place, until a stop."""
        answering, base = self._answering(), self._state.base
        pad = pad_id(base.tokenizer, base.model if base.task.classifies else None)
        measuring = Losses.of(
            base.model,
            self._state.slots,
            self._variants,
            stack=self._stack,
            pad_id=pad,
            mix=self._mix,
        )
        for at, losses in measuring.each(items, self.passes):
            take(at, losses)
        if answering and not self.passes.stopped:
            for at, answers in answering.all(items):
                take(at, answers)

    def _row(self, item: Item, before: EvaluatedRow | None, found: Found) -> EvaluatedRow:
        """A row with what was found of it, beside what was known before."""
        answers: tuple[str | None, ...] = ()
        values, tokens = (dict(before.values), before.tokens) if before else (Values(), ())
        if isinstance(found[0], Loss):
            losses = [one for one in found if isinstance(one, Loss)]
            answers, tokens = self._labels(losses), tuple(one.tokens for one in losses)
            values |= self._of_loss(item, losses)
        else:
            said = [one for one in found if not isinstance(one, Loss)]
            answers = tuple(one.text for one in said)
            values |= self._of_answers(item, said)
        return EvaluatedRow(
            item.number, item.key, item.prompt, item.reference, answers, values, tokens
        )

    def _answering(self) -> Answering | None:
        """What generates the answers; None for a classifier, whose answers are its labels."""
        base = self._state.base
        if base.task.classifies:
            return None
        return Answering(
            base.model,
            self._state.slots,
            base.tokenizer,
            self._variants,
            self._stack,
            passes=self.passes,
            context=self._context,
            sampling=self._sampling,
            mix=self._mix,
        )

    def _labels(self, losses: Sequence[Loss]) -> tuple[str | None, ...]:
        """The label that each variant of a classifier gives."""
        names = self._state.base.task.labels
        return tuple(None if one.chosen is None else names[one.chosen] for one in losses)

    def _of_loss(self, item: Item, losses: Sequence[Loss]) -> Values:
        """A row's loss, and what a classifier's label is worth."""
        values: Values = {record.LOSS: tuple(one.nats / one.tokens for one in losses)}
        labels = self._labels(losses)
        if None in labels:
            return values
        values[record.ACCURACY] = tuple(float(label == item.reference) for label in labels)
        return values | self._own_values(item, [label or "" for label in labels])

    def _of_answers(self, item: Item, made: Sequence[Generation]) -> Values:
        """What the answers to a row are worth."""
        texts, own, values = [one.text for one in made], item.reference, Values()
        if own is not None:
            values[record.EXACT] = tuple(scores.exact_match(text, own) for text in texts)
            values[record.ROUGE] = tuple(scores.rouge_l(text, own) for text in texts)
        values[record.LENGTH] = tuple(float(one.tokens) for one in made)
        values[record.REPETITION] = tuple(map(scores.repetition, texts))
        return values | self._own_values(item, texts)

    def _own_values(self, item: Item, texts: Sequence[str]) -> Values:
        """The person's own metrics; each sees a row as soon as it is answered."""
        said = (item.prompt, item.reference)
        return {
            name: tuple(
                scores.own_value(name, metric, item.number, said[0], text, said[1])
                for text in texts
            )
            for name, metric in self._own.items()
        }


def _note(state: SessionState, found: Evaluation, hashes: Sequence[str]) -> None:
    """Record the evaluation on each of its adapters, for the board and for the card.

    The base's loss is known where it has read the same tokens. A new record replaces the old one,
    which a rollback may hold. Training replaces it with its own.
    """
    when = datetime.now(UTC).isoformat(timespec="seconds")
    # An interrupt that is deferred undoes it: it is recorded if the verb returns, or not at all.
    with state.all_or_nothing(), undisturbed():
        for name, data in zip(found.adapters, hashes, strict=True):
            if name not in state.attached:
                continue
            attached = state.attached[name]
            own = {mean.metric: _finite(mean.value) for mean in found.means if mean.adapter == name}
            made = Evaluated(
                rows=len(found.rows),
                loss=own.get(record.LOSS),
                base_loss=_loss(found, record.BASE) if data == hashes[0] else None,
                seconds=found.seconds,
                when=when,
                metrics=own,
            )
            before = attached.run.get("evaluations") or {}
            attached.run = {
                **attached.run,
                "evaluations": {**before, data: asdict(made)},
            }


def _loss(found: Evaluation, name: str) -> float | None:
    mean = found.mean(name, record.LOSS)
    return None if mean is None else _finite(mean.value)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
