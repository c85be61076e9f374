"""A board's numbers: what is compared with what, what is missing, and how it is sorted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas
import pytest

from lora_magic.adapters.live_adapter import Adapter, History
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.errors import CommandError
from lora_magic.evaluation.board import COLUMNS, Board, BoardRow, board_of

ROW = BoardRow("a", "lora", 8, 24576, 98304, 60)


def adapter(name: str = "a", **more: Any) -> Adapter:
    """An adapter with this history, of 60 steps unless told otherwise."""
    usual: dict[str, Any] = {"trainable": 24576, "formula": 24576, "differing": ()}
    usual |= {"base_parameters": 10**6, "checkpoint_bytes": 98304, "history": History(steps=60)}
    spec = AdapterSpec(rank=8, alpha=16.0, targets="q_proj", seed=1)
    return Adapter(name, spec, ("q_proj",), **{**usual, **more})


def measured(data: str, loss: float, base: float | None = None, **more: Any) -> dict[str, Any]:
    """The record of a run."""
    return {"held_out_sha256": data, "held_out_after": loss, "base_held_out": base, **more}


def board(**runs: dict[str, Any]) -> Board:
    return board_of((adapter(name), run, "") for name, run in runs.items())


def marked(found: Board, column: str) -> set[tuple[str, str | None]]:
    """The adapters with the best value of a column, and the rows it was measured on."""
    rows = [found.rows[place] for place, name in found.marks if name == column]
    return {(row.adapter, row.data) for row in rows}


def test_the_best_value_is_marked_among_rows_with_the_same_data() -> None:
    found = board(
        a=measured("one", 0.9, 2.0),
        b=measured("one", 0.5, 2.0),
        c=measured("two", 0.1, 0.3),
        d=measured("two", 0.2, 0.3),
    )
    assert marked(found, "held_out") == {("b", "one"), ("c", "two")}
    assert marked(found, "gain") == {("b", "one"), ("c", "two")}
    assert "losses on different rows cannot be compared" in found.notes[0]
    assert board(a=measured("one", 0.9), b=measured("one", 0.5)).notes == ()


def test_equal_values_share_the_mark_and_nothing_is_marked_where_all_are_equal() -> None:
    found = board(a=measured("x", 0.5), b=measured("x", 0.5), c=measured("x", 0.6))
    assert marked(found, "held_out") == {("a", "x"), ("b", "x")}
    assert board(a=measured("x", 0.5), b=measured("x", 0.5)).marks == frozenset()
    assert board(a=measured("x", 0.5), b=measured("y", 0.4)).marks == frozenset()


def test_losses_on_rows_that_are_not_known_are_shown_and_never_marked() -> None:
    found = board(a={"held_out_after": 0.5}, b={"held_out_after": 0.9})
    assert [(row.held_out, row.data) for row in found.rows] == [(0.5, None), (0.9, None)]
    assert found.marks == frozenset()


def test_shares_are_marked_from_the_highest_down_and_guards_only_on_the_same_rows() -> None:
    def told(right: int, guard: float, rows: str) -> dict[str, Any]:
        forgetting = {"measure": "answers", "questions": 24, "subject": 20, "right": right}
        return {"forgetting": forgetting, "guard": {"after": guard}, "guard_sha256": rows}

    found = board(a=told(18, 0.4, "g"), b=told(12, 0.5, "g"), c=told(6, 0.1, "other"))
    assert [row.truth for row in found.rows] == [0.75, 0.5, 0.25]
    assert {row.subject for row in found.rows} == {20 / 24}
    assert marked(found, "truth") == {("a", None)}
    assert marked(found, "guard") == {("a", None)}
    assert marked(found, "subject") == set()


def test_forgetting_that_is_a_loss_on_text_is_no_share() -> None:
    text = {"measure": "text", "tokens": 100, "base_loss": 2.0, "loss": 2.5}
    (row,) = board(a={"forgetting": text}).rows
    assert (row.subject, row.truth) == (None, None)


def test_the_bases_loss_on_the_same_rows_holds_for_every_adapter() -> None:
    found = board(a=measured("x", 0.5, 2.0), b=measured("x", 0.75), c=measured("y", 0.9))
    told = {row.adapter: (row.base_held_out, row.gain) for row in found.rows}
    assert told == {"a": (2.0, 1.5), "b": (2.0, 1.25), "c": (None, None)}


def test_there_is_a_row_for_each_set_of_rows_and_an_evaluation_comes_first() -> None:
    evaluations = {
        "x": {"rows": 4, "loss": 0.51, "base_loss": 2.01, "when": "2026-11-29T12:00:00+00:00"},
        "z": {"rows": 9, "loss": 0.7, "base_loss": 1.7, "seconds": 1.0, "metrics": {"length": 3.0}},
    }
    found = board(
        a=measured("x", 0.5, 2.0, when="2026-11-28T12:00:00+00:00", seconds=7.0)
        | {
            "evaluations": evaluations,
            "sweep": {"reported": 0.6, "base_loss": 2.2, "sha256": "y"},
        }
    )
    losses = {row.data: (row.held_out, row.base_held_out, row.when) for row in found.rows}
    assert losses == {
        "x": (0.51, 2.01, "2026-11-29T12:00:00+00:00"),
        "y": (0.6, 2.2, "2026-11-28T12:00:00+00:00"),
        "z": (0.7, 1.7, "2026-11-28T12:00:00+00:00"),
    }
    assert {row.seconds for row in found.rows} == {7.0}


def test_what_was_not_measured_is_missing_and_its_adapter_is_there() -> None:
    made = History(made="0.5·a + 0.5·b", lost="nothing")
    found = board_of(
        [
            (adapter("fresh", history=History()), {}, ""),
            (adapter("opened", history=History(elsewhere=True)), {}, "/home/opened"),
            (adapter("blend", history=made), {}, ""),
            (adapter("trained"), measured("x", 0.5), ""),
        ]
    )
    table = found.to_frame().set_index("adapter")
    assert list(found.to_frame().columns) == list(COLUMNS)
    assert table.loc["fresh", "steps"] == 0
    assert table.loc[["opened", "blend"], "steps"].isna().all()
    assert table.loc[["fresh", "opened", "blend"], "held_out"].isna().all()
    assert (table.loc["opened", "saved"], table.loc["trained", "saved"]) == ("/home/opened", "")


def test_the_frame_has_types_and_missing_values_that_pandas_knows() -> None:
    table = Board((ROW, replace(ROW, rank=None, held_out=0.5, data="x"))).to_frame()
    types = {name: str(kind) for name, kind in table.dtypes.items()}
    assert {types[name] for name in ("rank", "parameters", "bytes", "steps")} == {"Int64"}
    reals = ("held_out", "base_held_out", "gain", "subject", "truth", "guard", "seconds")
    assert {types[name] for name in reals} == {"Float64"}
    assert {types[name] for name in ("adapter", "method", "data", "when", "saved")} == {"string"}
    assert table["held_out"][0] is pandas.NA
    assert table["rank"][1] is pandas.NA
    assert len(Board(()).to_frame()) == 0


def test_missing_values_come_last_in_both_directions() -> None:
    rows = tuple(replace(ROW, adapter=str(x), held_out=x, gain=x) for x in (0.7, None, 0.2, 0.9))
    found = Board(rows)
    assert [r.held_out for r in found.sorted("held_out").rows] == [0.2, 0.7, 0.9, None]
    assert [r.held_out for r in found.sorted("held_out", True).rows] == [0.9, 0.7, 0.2, None]
    assert [r.gain for r in found.sorted("gain").rows] == [0.9, 0.7, 0.2, None]


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("falling", [False, True, None])
def test_every_column_sorts_and_loses_no_row(column: str, falling: bool | None) -> None:
    found = board(a=measured("x", 0.5, 2.0, when="2026-11-28"), b={}, c=measured("y", 0.9))
    assert set(found.sorted(column, falling).rows) == set(found.rows)


def test_an_unknown_column_is_one_line_with_the_near_miss() -> None:
    with pytest.raises(CommandError, match=r"'helt_out'.*expected one of.*Did you mean 'held_out'"):
        Board((ROW,)).sorted("helt_out")


def test_the_line_says_which_is_best_by_how_much_and_what_to_type_without_any() -> None:
    found = board(a=measured("x", 0.9, 2.5), b=measured("x", 0.5, 2.5), c=measured("y", 0.1))
    assert "3 adapters; b has the lowest held-out loss, 0.500, the base 2.50" in found.line
    assert "the next, a, 0.900" in found.line
    assert "data x" in found.line
    assert Board(()).line == "no adapter is attached; type: %lora attach NAME"
    assert "--eval" in board(a={}).line


def test_a_curve_is_bounded_and_says_what_it_was_measured_on() -> None:
    points = [[step, 1.0] for step in range(10_000)]
    found = board(a=measured("x", 0.5, curve={"held_out": True, "points": points}), b={})
    (curve,) = found.curves
    assert (curve.adapter, curve.held_out, curve.data) == ("a", True, "x")
    assert len(curve.points) <= 64


def test_a_time_that_is_none_is_missing() -> None:
    (row,) = board(a={"when": "yesterday\n<b>"}).rows
    assert row.when is None
