"""The board: every adapter in one table, with what was measured of it and where that is the best.

Knows adapters as names and numbers, and the records of their runs; knows no model and no session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lora_magic.errors import CommandError, near
from lora_magic.frames import frame
from lora_magic.numbers import figures
from lora_magic.printable import one_line

from . import COLUMNS as COLUMNS

if TYPE_CHECKING:
    from lora_magic.adapters.live_adapter import Adapter

#: Columns with a best value, and whether it is the highest.
HIGHEST = {"held_out": False, "gain": True, "subject": True, "truth": True, "guard": False}
#: Columns that are sorted from the highest value down, unless asked otherwise.
FALLING = ("gain", "subject", "truth", "when", "saved")

#: Characters of a hash, and points of a curve.
_HASH, _POINTS = 8, 64

_WHOLE, _REAL, _TEXT = "Int64", "Float64", "string"
_TYPES = {
    **dict.fromkeys(("adapter", "method", "data", "when", "saved"), _TEXT),
    **dict.fromkeys(("rank", "parameters", "bytes", "steps"), _WHOLE),
    **dict.fromkeys(("held_out", "base_held_out", "gain"), _REAL),
    **dict.fromkeys(("subject", "truth", "guard", "seconds"), _REAL),
}


@dataclass(frozen=True)
class BoardRow:
    """An adapter and one set of rows that it was measured on; None where nothing was measured.

    `method` is the method with its variants, `rank` None for a method without one. `parameters` are
    trainable ones, `bytes` the size of its tensors. `steps` are the optimizer steps of its weights,
    over all runs; None if it was trained elsewhere or made from others.

    `data` is a hash of the rows that `held_out` was measured on, as the adapter reads them: equal
    where the same base read the same tokens, so that losses can be compared. `held_out` is the mean
    loss there with the weights that were kept, `base_held_out` the base's, both in nats per token
    (of a classifier: per row; of preferences: per pair), and `gain` is `base_held_out` −
    `held_out`. The rows are those that its last run held out, and those of each evaluation; of a
    sweep also those that did not decide the choice.

    `subject` and `truth` are the shares (0 to 1) of the forgetting questions that it answered on
    topic, and correctly; None on a base whose forgetting is measured as a loss on text. `guard` is
    the mean loss on the rows of --guard after its last run, in nats per token.

    `seconds` is what its last run took, of several adapters in one batch the batch; measuring is
    not included. `when` is the end of that run or the time of the evaluation (ISO 8601, UTC).
    `saved` is the folder that has its current state, "" if none has. `guard_data` is a hash of the
    guard's rows.
    """

    adapter: str
    method: str
    rank: int | None
    parameters: int
    bytes: int
    steps: int | None
    data: str | None = None
    held_out: float | None = None
    base_held_out: float | None = None
    gain: float | None = None
    subject: float | None = None
    truth: float | None = None
    guard: float | None = None
    seconds: float | None = None
    when: str | None = None
    saved: str = ""
    guard_data: str | None = None


@dataclass(frozen=True)
class Curve:
    """The losses of an adapter's last run: points (steps taken, nats per token).

    They are on the held-out rows with the hash `data`, or, without any, the training loss, averaged
    over stretches of steps.
    """

    adapter: str
    held_out: bool
    points: tuple[tuple[int, float], ...]
    data: str | None = None


@dataclass(frozen=True)
class Board:
    """Adapters and what was measured of them.

    `rows` are in the order shown: at first those with the same `data` together, the lowest
    `held_out` first. `marks` are the best values among rows with the same `data`.
    """

    rows: tuple[BoardRow, ...]
    curves: tuple[Curve, ...] = ()

    @property
    def marks(self) -> frozenset[tuple[int, str]]:
        """The places (row, column) of the best values among rows with the same `data`.

        Nothing is marked where there is one value only or all are equal, and no loss on rows that
        are not known.
        """
        return frozenset(
            place for column in HIGHEST for rows in self._groups(column) for place in rows
        )

    def _groups(self, column: str) -> Iterable[list[tuple[int, str]]]:
        """The places of the best values of a column, for each set of rows to compare."""
        groups: dict[object, list[tuple[int, float]]] = {}
        for place, row in enumerate(self.rows):
            value: float | None = getattr(row, column)
            known = row.data is not None or column in ("subject", "truth", "guard")
            if value is not None and known:
                key = (row.data, row.guard_data if column == "guard" else None)
                groups.setdefault(key, []).append((place, value))
        for found in groups.values():
            values = [value for _, value in found]
            best = max(values) if HIGHEST[column] else min(values)
            if min(values) < max(values):
                yield [(place, column) for place, value in found if value == best]

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters' names, each once."""
        return tuple(dict.fromkeys(row.adapter for row in self.rows))

    @property
    def data(self) -> tuple[str, ...]:
        """The hashes of the rows that were measured, each once, those of most adapters first."""
        found = [row.data for row in self.rows if row.data is not None]
        return tuple(sorted(dict.fromkeys(found), key=lambda one: -found.count(one)))

    @property
    def line(self) -> str:
        """How many adapters, and which has the lowest held-out loss on the rows of most of them."""
        count = len(self.adapters)
        if not count:
            return "no adapter is attached; type: %lora attach NAME"
        line = f"{count} adapter{'s' * (count != 1)}"
        if not self.data:
            return f"{line}; no held-out loss: to hold out some rows, train with --eval 0.2"
        first, *others = sorted(
            (row for row in self.rows if row.data == self.data[0]), key=lambda r: r.held_out or 0.0
        )
        told = f"{first.adapter} has held-out loss {_loss(first.held_out)}"
        if first.gain is not None:
            told += f", the base {_loss(first.base_held_out)}"
        if others:
            told += f"; the next, {others[0].adapter}, {_loss(others[0].held_out)}"
            told = told.replace("has held-out loss", "has the lowest held-out loss,")
        return f"{line}; {told} (nats, data {first.data})"

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know when comparing."""
        if len(self.data) < 2:
            return ()
        return (
            f"{len(self.data)} sets of rows were measured, and losses on different rows cannot be "
            "compared: ★ marks the best among rows with the same data",
        )

    def sorted(self, column: str, falling: bool | None = None) -> Board:
        """The rows by a column, from the lowest value up or, if `falling`, from the highest down.

        The default is falling for gain, subject, truth, when and saved. Missing values come last.
        Raises `CommandError` for an unknown column.
        """
        if column not in COLUMNS:
            raise CommandError(
                f"board: --sort {column!r}: expected one of {', '.join(COLUMNS)}."
                f"{near(str(column), COLUMNS)}"
            )
        down = column in FALLING if falling is None else falling
        missing = ("", None)
        known = [row for row in self.rows if getattr(row, column) not in missing]
        rest = [row for row in self.rows if getattr(row, column) in missing]
        known.sort(key=lambda row: getattr(row, column), reverse=down)
        return replace(self, rows=(*known, *rest))

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row for each adapter and set of rows; missing values are NA.

        Its columns are those of `BoardRow`, without `guard_data`.
        """
        rows = ([getattr(row, name) for name in COLUMNS] for row in self.rows)
        return frame(rows, COLUMNS, _TYPES)

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import board

        return board.bundle(self)


def board_of(found: Iterable[tuple[Adapter, Mapping[str, Any], str]]) -> Board:
    """The board of adapters, each with the record of its last run and the folder that has it."""
    adapters = list(found)
    rows = [row for one in adapters for row in _rows(*one)]
    # The base's loss on the same rows is the same, whichever adapter's run has measured it.
    base: dict[str | None, float] = {
        r.data: r.base_held_out for r in rows if r.data and r.base_held_out is not None
    }
    rows = [_with_base(row, base.get(row.data, row.base_held_out)) for row in rows]
    board = Board(tuple(rows), tuple(filter(None, (_curve(a.name, run) for a, run, _ in adapters))))
    order: dict[str | None, int] = {data: place for place, data in enumerate(board.data)}
    last = len(order)
    rows.sort(key=lambda r: (order.get(r.data, last), r.held_out is None, r.held_out or 0.0))
    return replace(board, rows=tuple(rows))


def _with_base(row: BoardRow, base: float | None) -> BoardRow:
    if base is None or row.held_out is None:
        return row
    return replace(row, base_held_out=base, gain=base - row.held_out)


def _rows(adapter: Adapter, run: Mapping[str, Any], saved: str) -> list[BoardRow]:
    """A row for each set of rows that an adapter was measured on, or one without a loss."""
    forgetting, guard = run.get("forgetting") or {}, run.get("guard") or {}
    past = adapter.history
    own = BoardRow(
        adapter=adapter.name,
        method=adapter.spec.variant,
        rank=adapter.spec.rank or None,
        parameters=adapter.trainable,
        bytes=adapter.checkpoint_bytes,
        steps=None if not past.steps and (past.elsewhere or past.made) else past.steps,
        subject=_share(forgetting, "subject"),
        truth=_share(forgetting, "right"),
        guard=guard.get("after"),
        guard_data=_short(run.get("guard_sha256")),
        seconds=run.get("seconds"),
        when=_time(run.get("when")),
        saved=saved,
    )
    sets = [replace(own, **measured) for measured in _measured(run)]
    return sets or [own]


def _measured(run: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """What was measured on each set of rows; an evaluation comes before a run's own measurement."""
    sweep = run.get("sweep") or {}
    found = [
        (run.get("held_out_sha256"), run.get("held_out_after"), run.get("base_held_out"), None),
        (sweep.get("sha256"), sweep.get("reported"), sweep.get("base_loss"), None),
        *(
            (data, one.get("loss"), one.get("base_loss"), _time(one.get("when")))
            for data, one in (run.get("evaluations") or {}).items()
        ),
    ]
    sets: dict[str | None, dict[str, Any]] = {}
    for data, loss, base, when in found:
        if loss is not None:
            told = {"data": _short(data), "held_out": loss, "base_held_out": base}
            sets[_short(data)] = {**told, **({"when": when} if when else {})}
    return sets.values()


def _curve(name: str, run: Mapping[str, Any]) -> Curve | None:
    curve = run.get("curve") or {}
    points = [(step, loss) for step, loss in curve.get("points", ())][:_POINTS]
    if not points:
        return None
    held_out = bool(curve.get("held_out"))
    data = _short(run.get("held_out_sha256")) if held_out else None
    return Curve(name, held_out, tuple(points), data)


def _share(forgetting: Mapping[str, Any], what: str) -> float | None:
    """Of the questions that were asked, the share with that answer; None without questions."""
    total, part = forgetting.get("questions"), forgetting.get(what)
    return part / total if total and part is not None and part <= total else None


def _short(data: str | None) -> str | None:
    return one_line(data)[:_HASH] if data else None


def _time(when: str | None) -> str | None:
    """A time from a file; None for a text that is none."""
    try:
        return datetime.fromisoformat(when).isoformat(timespec="seconds") if when else None
    except ValueError:
        return None


def _loss(loss: float | None) -> str:
    return figures(loss)
