"""Removes the intruder dimensions of an adapter, and measures what that changed.

Knows the session's state; does not know how intruders are found, nor how losses are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from lora_magic import numbers
from lora_magic.adapters.combine import ModuleRemoval, changed
from lora_magic.adapters.spec import BASE_NAME
from lora_magic.compare.stack import stacked
from lora_magic.data.row import Rows
from lora_magic.errors import DataError
from lora_magic.evaluation import items as encoding
from lora_magic.evaluation.bootstrap import estimates
from lora_magic.evaluation.losses import Losses
from lora_magic.evaluation.passes import Passes, Watch
from lora_magic.frames import frame
from lora_magic.printable import one_line
from lora_magic.training.forgetting import AnswerForgetting, Forgetting, TextForgetting, Unmeasured
from lora_magic.training.run import pad_id

from . import combining, forgetting, queries
from .evaluating import Evaluating, check_most

if TYPE_CHECKING:
    from pandas import DataFrame

    from .session_state import SessionState

#: What an evaluation of losses alone is told of sampling.
_NO_ANSWERS: Mapping[str, Any] = {
    "max_new_tokens": None,
    "temperature": 0.0,
    "top_p": 1.0,
    "seed": 0,
}

#: What a reader must know of the counts.
EQUAL_LOSS = "the count follows ‖ΔW‖/‖W‖, so compare adapters at equal loss"


@dataclass(frozen=True)
class LossChange:
    """Mean losses on the same `rows`, in nats per token (of a classifier: per row).

    `low` and `high` are the 95 % interval of after − before, from a paired bootstrap over the rows.
    """

    base: float
    before: float
    after: float
    low: float
    high: float
    rows: int


@dataclass(frozen=True)
class Removal:
    """A new adapter without the intruder dimensions of another, and what that changed.

    `loss` is None without rows. `forgotten` is what adapter and new adapter forgot of the base, by
    the same measure; None for a classifier. `notes` are about the rows.
    """

    adapter: str
    new: str
    modules: tuple[ModuleRemoval, ...]
    parameters: int
    loss: LossChange | None = None
    forgotten: tuple[Forgetting, Forgetting] | None = None
    notes: tuple[str, ...] = ()

    @property
    def removed(self) -> int:
        """How many intruder dimensions were reduced."""
        return sum(row.found for row in self.modules)

    @property
    def left(self) -> int:
        """How many the new adapter still has."""
        return sum(row.left for row in self.modules)

    @property
    def error(self) -> float:
        """√(Σ‖ΔW − ΔW'‖² / Σ‖ΔW‖²)."""
        return changed(self.modules)

    @property
    def command(self) -> str:
        """What to type next."""
        return f"%lora swap {self.new}"

    @property
    def line(self) -> str:
        """The receipt in one line."""
        return f"{self.new}: {'; '.join(self._said())}; to use it: {self.command}"

    def _said(self) -> Iterator[str]:
        count = len(self.modules)
        modules = f"{count} module{'s' * (count != 1)}"
        if not self.removed:
            yield f"{self.adapter} unchanged, which has no intruder dimension in {modules}"
        else:
            having = sum(row.found > 0 for row in self.modules)
            several = f"intruder dimension{'s' * (self.removed != 1)}"
            yield (
                f"{self.adapter} minus a quarter of each of its {self.removed} {several} (in "
                f"{having} of {modules}), {self.left} of them remain; "
                f"{numbers.percent(self.error)} of ΔW changed"
            )
        if self.loss is not None:
            yield f"held-out loss {loss_line(self.loss)}"
        if self.forgotten is not None:
            yield f"forgetting: {forgetting_line(*self.forgotten)}"
        yield EQUAL_LOSS
        yield from self.notes

    def to_frame(self) -> DataFrame:
        """One row per module: module, intruders (reduced), left, relative_norm (‖ΔW‖/‖W‖ before),
        norm (‖ΔW‖ before), error (‖ΔW − ΔW'‖/‖ΔW‖)."""
        columns = ("module", "intruders", "left", "relative_norm", "norm", "error")
        return frame(map(astuple, self.modules), columns, {"intruders": "int64", "left": "int64"})

    def __repr__(self) -> str:
        return one_line(self.line)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import receipt

        rows = tuple(
            (
                row.module,
                str(row.found),
                str(row.left),
                "n/a" if row.relative_norm is None else numbers.figures(row.relative_norm),
                numbers.percent(row.error),
            )
            for row in sorted(self.modules, key=lambda row: -row.found)
        )
        header = ("Module", "Intruders", "Remain", "‖ΔW‖/‖W‖", "ΔW changed")
        caption = f"{len(rows)} modules, those with the most intruders first; {EQUAL_LOSS}"
        facts = [("parameters", numbers.count(self.parameters)), ("next", self.command)]
        if self.loss is not None:
            facts.insert(0, ("held-out loss", loss_line(self.loss)))
        if self.forgotten is not None:
            facts.insert(0, ("forgetting", forgetting_line(*self.forgotten)))
        table = receipt.Rows(caption, header, rows)
        return receipt.bundle(line=self.line, facts=facts, table=table, more="By module")


def loss_line(loss: LossChange) -> str:
    """`1.100 → 1.130 (+0.030, 95 % from +0.010 to +0.050), base 3.200, on 12 rows`."""
    # Adding 0 turns -0.0 into 0.0.
    differences = (loss.after - loss.before, loss.low, loss.high)
    change, low, high = (f"{round(value, 3) + 0.0:+.3f}" for value in differences)
    rows = f"{loss.rows:,} row{'s' * (loss.rows != 1)}"
    return (
        f"{loss.before:.3f} → {loss.after:.3f} ({change}, 95 % from {low} to {high}), base "
        f"{loss.base:.3f}, on {rows}"
    )


def forgetting_line(before: Forgetting, after: Forgetting) -> str:
    """What adapter and new adapter forgot, in one clause."""
    if isinstance(before, AnswerForgetting) and isinstance(after, AnswerForgetting):
        return (
            f"{before.right} → {after.right} of {after.questions} questions answered "
            f"correctly (base {after.base_right})"
        )
    if isinstance(before, TextForgetting) and isinstance(after, TextForgetting):
        return (
            f"loss on general text {before.loss:.3f} → {after.loss:.3f} (base "
            f"{after.base_loss:.3f})"
        )
    why = next(one.why for one in (before, after) if isinstance(one, Unmeasured))
    return f"not measured ({why})"


def remove(
    state: SessionState,
    name: str | None,
    new: str | None,
    size: combining.Size,
    read_rows: Callable[..., Rows] | None,
    *,
    most: int | None,
    skip_bad: bool,
    replace: bool,
    watch: Watch | None = None,
) -> Removal:
    """Attach the new adapter, and measure base, adapter and new adapter.

    The rows are read first, so that a fault in them costs no time. Raises `AdapterError` for a
    method without factors, `DataError` for rows that cannot be measured, and `KeyboardInterrupt` if
    `watch` ends it.
    """
    rows = None if read_rows is None else _read(state, name, read_rows, most)
    with state.all_or_nothing():
        attached, made, modules = combining.remove_intruders(
            state, name, new, size, replace=replace
        )
        passes = Passes(watch, f"measuring {attached.name} and {made.name} …")
        loss: LossChange | None = None
        notes: Sequence[str] = ()
        if rows is not None:
            names = (BASE_NAME, attached.name, made.name)
            loss, notes = _losses(state, names, rows[:most], passes, skip_bad)
        found = None
        if not state.base.task.classifies:
            found = (
                forgetting.measure(state, attached, passes.look),
                forgetting.measure(state, made, passes.look),
            )
        if passes.stopped:
            raise KeyboardInterrupt
    parameters = made.record().trainable
    return Removal(attached.name, made.name, modules, parameters, loss, found, tuple(notes))


def _read(
    state: SessionState, name: str | None, read_rows: Callable[..., Rows], most: int | None
) -> Rows:
    attached = state.named_or_active(name, "compress")
    check_most(most)
    try:
        return read_rows(most=most)
    except DataError as error:
        raise encoding.of_evaluation(error, f"compress {attached.name}") from None


def _losses(
    state: SessionState, names: Sequence[str], rows: Any, passes: Passes, skip_bad: bool
) -> tuple[LossChange, Sequence[str]]:
    """The losses of base, adapter and new adapter on the rows."""
    import numpy as np

    variants = [queries.variant(state, name) for name in names]
    reading = Evaluating(state, variants, None, {}, _NO_ANSWERS, passes)
    read = reading.read(rows, skip_bad)
    base = state.base
    measuring = Losses.of(
        base.model,
        state.slots,
        variants,
        stack=stacked(state.slots, variants),
        pad_id=pad_id(base.tokenizer, base.model if base.task.classifies else None),
    )
    found = measuring.all(read.items, passes)
    if passes.stopped or not found:
        raise KeyboardInterrupt
    # The draws depend on the order of the rows.
    places = sorted(found, key=lambda at: read.items[at].key)
    nats = np.array([[[one.nats for one in found[at]]] for at in places], dtype=float)
    tokens = np.array([[[one.tokens for one in found[at]]] for at in places], dtype=float)
    (estimated,) = estimates(nats, tokens)
    difference = estimated.difference(1, 2)
    before, own, after = map(float, estimated.values)
    loss = LossChange(before, own, after, difference.low, difference.high, len(places))
    return loss, [*read.notes, *reading.notes]
