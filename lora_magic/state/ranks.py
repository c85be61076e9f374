"""Measures an adapter truncated to each rank, on rows, in as few passes as memory allows.

Knows the session's state; does not know how ΔW is truncated, nor which rank is enough. Attaches
nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lora_magic.adapters.combine import Truncations, default_name, shared_out
from lora_magic.adapters.spec import BASE_NAME
from lora_magic.compare.stack import Stack, Variant, keeps_rows, stacked
from lora_magic.data.row import Row, Rows
from lora_magic.errors import DataError
from lora_magic.evaluation import items as encoding
from lora_magic.evaluation.answers import Answering
from lora_magic.evaluation.losses import Loss, Losses
from lora_magic.evaluation.passes import Passes, Watch
from lora_magic.evaluation.ranks import Measured, RankEvidence
from lora_magic.paths import quoted
from lora_magic.training.run import pad_id

from . import queries
from .evaluating import Evaluating, check_most

if TYPE_CHECKING:
    from torch import nn

    from lora_magic.adapters.combine.truncations import Truncated
    from lora_magic.adapters.live_adapter import LiveAdapter
    from lora_magic.evaluation.items import Item

    from .session_state import SessionState

#: Values that the factors of one batch's truncations may have: 512 MiB in float32.
_FACTORS = 2**27

#: Answers are greedy, and as long as the longest completion at most.
_GREEDY: Mapping[str, Any] = {"temperature": 0.0, "top_p": 1.0, "seed": 0}


def ranks(
    state: SessionState,
    name: str | None,
    read_rows: Callable[..., Rows],
    *,
    most: int | None,
    skip_bad: bool,
    watch: Watch | None,
) -> RankEvidence:
    """Measure base, adapter and every truncation on the rows.

    Raises `AdapterError` for a method without a ΔW, `DataError` for rows that cannot be measured,
    `KeyboardInterrupt` if it is ended before any row was measured.
    """
    began = time.perf_counter()
    attached = state.named_or_active(name, "compress")
    state.base.needs_tokenizer()
    truncations = Truncations(state.base, state.slots, attached)
    check_most(most)
    try:
        rows = read_rows(most=most)
    except DataError as error:
        raise encoding.of_evaluation(error, f"compress {attached.name}") from None
    passes = Passes(watch, f"truncating {attached.name} to each rank …")
    work = _Work(state, attached, truncations, passes, rows[:most], skip_bad)
    steps = truncations.ranks
    whole = [truncations.is_whole(rank) for rank in steps]
    work.measure(
        {2 + at: truncations.at(r) for at, r in enumerate(steps) if not whole[at]}, with_both=True
    )
    made = work.table([1 if same else 2 + at for at, same in enumerate(whole)])
    lost = {rank: overall for rank, overall, _, _ in truncations.report.ranked()}
    found = RankEvidence(
        adapter=attached.name,
        base_loss=made.loss(0),
        loss=made.loss(1),
        gain_low=made.gain_low(),
        losses=tuple(
            made.rank(at, rank, truncations.parameters(rank), lost[rank])
            for at, rank in enumerate(steps)
        ),
        compression=truncations.report,
        rows=len(made.nats),
        different=made.different,
        seconds=0.0,
        notes=(*work.notes, *_left_out(truncations)),
    )
    found = _with_budget(found, work, truncations)
    if found.rank is not None:
        found = replace(found, retrain=_retraining(attached, found.rank))
    return replace(found, seconds=time.perf_counter() - began, stopped=passes.stopped)


def _with_budget(found: RankEvidence, work: _Work, truncations: Truncations) -> RankEvidence:
    """With a rank for each module from the budget of the supported rank, measured on the rows."""
    if found.rank is None or work.passes.stopped:
        return found
    shared = shared_out(found.compression.modules, found.rank)
    work.measure({-1: truncations.at(shared)})
    if work.passes.stopped:
        return found
    rows = [replace(row, rank_after=shared.get(row.module, 0)) for row in found.compression.modules]
    spent = sum(row.rank_after * row.per_rank for row in rows)
    error = found.compression.error_at(shared)
    return replace(found, shared=shared, budget=work.table([-1]).rank(0, found.rank, spent, error))


def _left_out(truncations: Truncations) -> list[str]:
    """A note on the ranks that were not measured."""
    if truncations.report.ranks[-1] == truncations.ranks[-1]:
        return []
    return ["larger ranks are left out: a LoRA would have as many parameters as the matrices"]


def _retraining(attached: LiveAdapter, rank: int) -> tuple[str, ...]:
    """Lines that train an adapter at the rank as this one was, and compare the two."""
    spec, run = attached.spec, attached.run
    new = f"{attached.name}_trained_r{rank}"
    flags = [f"--rank {rank}"]
    if spec.method in ("lora", "adalora") and spec.rank:
        # The same α/r, so that the same learning rate suits both.
        scale = spec.alpha / (spec.rank**0.5 if spec.rslora else spec.rank)
        flags.append(f"--alpha {scale * (rank**0.5 if spec.rslora else rank):g}")
        flags.append(f"--targets {quoted(spec.targets)}")
        flags += [f"--{flag}" for flag in ("rslora", "dora") if getattr(spec, flag)]
    more = f" --steps {run['steps']}" if run.get("steps") else ""
    if len(flags) > 1 and run.get("learning_rate"):
        # Another method's rate would not suit a LoRA.
        more += f" --lr {run['learning_rate']:g}"
    truncated = default_name(attached.name, rank, None)
    return (
        f"%lora attach {new} {' '.join(flags)}",
        f"%lora train {new} --data ROWS{more}",
        f"%lora compress {attached.name} --rank {rank}",
        f"%lora evaluate {truncated},{new} --data HELD_OUT",
    )


@dataclass(frozen=True, eq=False)
class _Group:
    """Variants that share a pass if there is a `stack`, and the columns of what is measured."""

    variants: Sequence[Variant]
    columns: Sequence[int]
    stack: Stack | None


class _Work:
    """Losses and greedy answers by row and column: 0 is the base, 1 the adapter, any other a
    truncation."""

    def __init__(
        self,
        state: SessionState,
        attached: LiveAdapter,
        truncations: Truncations,
        passes: Passes,
        rows: Sequence[Row],
        skip_bad: bool,
    ) -> None:
        self._state, self._truncations, self.passes = state, truncations, passes
        # The base reads rows in its own form, every truncation in the adapter's.
        self._both = [queries.variant(state, one) for one in (BASE_NAME, attached.name)]
        reading = Evaluating(
            state, self._both, None, {}, {"max_new_tokens": None, **_GREEDY}, passes
        )
        read = reading.read(rows, skip_bad)
        self._items, self.notes = read.items, [*read.notes, *reading.notes]
        self._losses: dict[int, dict[int, Loss]] = {}
        self._answers: dict[int, dict[int, str]] = {}

    def measure(self, updates: Mapping[int, Truncated], with_both: bool = False) -> None:
        """Measure the truncations by column, and base and adapter; first all losses."""
        for group in self._groups(updates, with_both):
            self._add(self._losses, group, self._measured)
        if not self._state.base.task.classifies:
            for group in self._groups(updates, with_both):
                self._add(self._answers, group, self._answered)

    def table(self, columns: Sequence[int]) -> Measured:
        """The rows that have all of these columns, and base and adapter.

        Raises `KeyboardInterrupt` if there is none, after a stop.
        """
        every = {0, 1, *columns}
        places = [at for at, found in self._losses.items() if found.keys() >= every]
        # The draws depend on the order of the rows.
        places.sort(key=lambda at: self._items[at].key)
        if not places:
            raise KeyboardInterrupt
        losses = [[self._losses[at][c] for c in (0, 1, *columns)] for at in places]
        said: list[list[object]] = [
            [found[c] for c in (1, *columns)]
            for found in self._answers.values()
            if found.keys() >= every
        ]
        if self._state.base.task.classifies:
            said = [[one.chosen for one in row[1:]] for row in losses]
        return Measured(
            nats=np.array([[one.nats for one in row] for row in losses]),
            tokens=np.array([[float(one.tokens) for one in row] for row in losses]),
            answers=said,
            different=len({self._items[at].key for at in places}),
        )

    def _add(self, found: dict[int, dict[int, Any]], group: _Group, work: _Measure) -> None:
        """Add what `work` finds of a group, unless the person has ended it."""
        if self.passes.stopped:
            return
        items = [_as_read(item, group.columns) for item in self._items]
        for place, values in work(group, items):
            found.setdefault(place, {}).update(zip(group.columns, values, strict=True))

    def _measured(self, group: _Group, items: Sequence[Item]) -> _Found:
        base = self._state.base
        pad = pad_id(base.tokenizer, base.model if base.task.classifies else None)
        given = (base.model, self._state.slots, group.variants)
        losses = Losses.of(*given, stack=group.stack, pad_id=pad)
        return losses.all(items, self.passes).items()

    def _answered(self, group: _Group, items: Sequence[Item]) -> _Found:
        base, name = self._state.base, self._both[1].name
        answering = Answering(
            base.model,
            self._state.slots,
            base.tokenizer,
            group.variants,
            group.stack,
            passes=self.passes,
            context=queries.usable_context(self._state, [name]),
            sampling={"max_new_tokens": self._longest, **_GREEDY},
        )
        return ((at, [one.text for one in made]) for at, made in answering.all(items))

    def _groups(self, updates: Mapping[int, Truncated], with_both: bool) -> Iterator[_Group]:
        """Base and adapter, and the truncations, as many together as can be."""
        slots, linear = self._state.slots, self._linear
        chunks = list(_chunks(updates))
        if with_both:
            first = chunks[0] if chunks and linear and not self._truncations.copies else []
            variants = [*self._both, *(self._variant(updates[column]) for column in first)]
            stack = stacked(slots, variants)
            if stack is None:
                first, variants = [], self._both
                stack = stacked(slots, variants)
            yield _Group(variants, (0, 1, *first), stack)
            chunks = chunks[1:] if first else chunks
        for chunk in chunks:
            some = [updates[column] for column in chunk]
            if linear:
                yield _Group([self._variant(one) for one in some], chunk, self._stack(some))
                continue
            for column, one in zip(chunk, some, strict=True):
                made = self._truncations.adapter(one)
                yield _Group([self._named(made.replacements, None)], [column], None)

    @property
    def _longest(self) -> int:
        """The tokens of the longest completion."""
        every = (item.examples[1][-1] for item in self._items if item.reference is not None)
        return max(example.trained for example in every)

    @property
    def _linear(self) -> bool:
        """Are all of its matrices those of linear layers, which receive a batch's rows in order?"""
        slots = self._state.slots
        rows = self._truncations.report.modules
        return all(keeps_rows(r.module, slots.original(r.module)) for r in rows if r.has_factors)

    def _stack(self, updates: Sequence[Truncated]) -> Stack | None:
        """One batch for truncations, over the trained biases, norms and head that all keep."""
        copies = self._truncations.copies
        return stacked(self._state.slots, [self._named(copies, one) for one in updates])

    def _variant(self, updates: Truncated) -> Variant:
        return self._named(self._truncations.layers(updates), updates)

    def _named(self, modules: Mapping[str, nn.Module], updates: Truncated | None) -> Variant:
        name = f"{self._both[1].name}, truncated"
        return Variant(name, modules, updates, self._both[1].form)


_Found = Iterable[tuple[int, Sequence[Any]]]
_Measure = Callable[[_Group, Sequence["Item"]], _Found]


def _as_read(item: Item, columns: Sequence[int]) -> Item:
    """A row as the variants of these columns read it: the base, or the adapter's form."""
    forms = [0 if column == 0 else 1 for column in columns]
    return replace(
        item,
        examples=tuple(item.examples[form] for form in forms),
        asked=None if item.asked is None else tuple(item.asked[form] for form in forms),
    )


def _chunks(updates: Mapping[int, Truncated]) -> Iterator[list[int]]:
    """Columns whose factors fit into memory together, each padded to the largest rank."""
    chunk: list[int] = []
    for column, one in updates.items():
        values = sum(update.rank * sum(update.shape) for update in one.values())
        if chunk and (len(chunk) + 1) * values > _FACTORS:
            yield chunk
            chunk = []
        chunk.append(column)
    if chunk:
        yield chunk
