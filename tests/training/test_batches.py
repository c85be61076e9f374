"""Which examples make a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import pytest

from lora_magic.base.recipe import SMALL
from lora_magic.data.row import Message, Row
from lora_magic.errors import DataError
from lora_magic.training.batches import evaluations, held_out_below, sides, split, steps
from lora_magic.training.encode import Example
from lora_magic.training.spec import plan
from tests.training.adapted import encoded


def flat(made: list[list[list[int]]]) -> list[int]:
    return list(chain.from_iterable(chain.from_iterable(made)))


@pytest.mark.parametrize("rows", [1, 5, 13, 16, 40])
def test_every_step_has_the_whole_batch_in_passes_that_are_about_equal(rows: int) -> None:
    spec = plan(SMALL, rows, steps=7)
    made = steps(rows, spec)
    assert len(made) == 7
    for step in made:
        sizes = [len(part) for part in step]
        assert sum(sizes) == spec.batch_size
        assert len(sizes) == spec.accumulation
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= SMALL.batch_size


@pytest.mark.parametrize("rows", [1, 5, 13, 40, 100])
def test_with_epochs_every_example_is_read_exactly_so_often(rows: int) -> None:
    spec = plan(SMALL, rows, epochs=3, eval=0)
    made = steps(rows, spec)
    assert Counter(flat(made)) == dict.fromkeys(range(rows), 3)
    assert len(made) == spec.steps
    # The Trainer groups the passes by their number: only the last step may have fewer.
    assert all(len(step) == spec.accumulation for step in made[:-1])
    assert 1 <= len(made[-1]) <= spec.accumulation


def test_examples_are_read_equally_often_give_or_take_one() -> None:
    counts = Counter(flat(steps(13, plan(SMALL, 13, steps=9))))
    assert set(counts) == set(range(13))
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_seed_decides_the_order() -> None:
    first, again, other = (
        flat(steps(40, plan(SMALL, 40, steps=5, seed=seed))) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def placed(*positions: float, turns: int = 1) -> list[Example]:
    """Rows at these positions, each with some examples."""
    return [
        Example((1, 2), (-100, 2), row, position=position)
        for row, position in enumerate(positions)
        for _ in range(turns)
    ]


def held_out(positions: Sequence[float], eval: float | None) -> set[float]:
    below = held_out_below(positions, eval)
    return {p for p in positions if p <= below}


def asked(number: int) -> float:
    return Row(f"Question {number}?", "Yes.").position


def test_held_out_rows_are_apart_and_whole() -> None:
    everything = placed(*map(asked, range(60)), turns=2)
    train, held = split(everything, plan(SMALL, 60))
    assert len(train) + len(held) == 120
    assert held
    assert not {e.row for e in train} & {e.row for e in held}
    assert {e.row for e in held} == {r for r in range(60) if asked(r) < 0.1}


def test_a_share_holds_out_the_positions_below_it_whatever_the_others_are() -> None:
    positions = [asked(number) for number in range(400)]
    assert held_out(positions, 0.25) == {p for p in positions if p < 0.25}
    fewer = positions[::3]
    assert held_out(fewer, 0.25) == held_out(positions, 0.25) & set(fewer)
    assert held_out(positions[::-1], 0.25) == held_out(positions, 0.25)


def test_a_number_holds_out_the_smallest_positions() -> None:
    positions = [asked(number) for number in range(100)]
    for count in (1, 17, 99):
        assert held_out(positions, count) == set(sorted(positions)[:count])


def test_by_default_a_tenth_is_held_out_at_most_500_rows_and_none_below_50() -> None:
    positions = [asked(number) for number in range(20_000)]
    assert held_out(positions[:49], None) == set()
    assert held_out(positions[:50], None) == {p for p in positions[:50] if p < 0.1}
    assert held_out(positions, None) == set(sorted(positions)[:500])


@pytest.mark.parametrize("eval", [None, 0.1, 0.001])
def test_a_share_holds_out_at_least_one_row(eval: float | None) -> None:
    positions = [0.5 + number / 200 for number in range(60)]
    assert held_out(positions, eval) == {0.5}


@pytest.mark.parametrize("eval", [0.99, 60, 59])
def test_at_least_one_row_is_left_to_train_on(eval: float) -> None:
    positions = [number / 200 for number in range(60)]
    assert held_out(positions, eval) == set(positions[:-1])


def test_rows_that_ask_the_same_stay_together() -> None:
    positions = [0.1, 0.2, 0.2, 0.2, 0.3, 0.4]
    assert held_out(positions, 2) == {0.1, 0.2}
    assert held_out([0.1, 0.2, 0.2], 2) == {0.1}
    assert held_out([0.2] * 60, 5) == set()


def test_the_seed_the_order_and_more_rows_do_not_change_the_side_of_a_row() -> None:
    rows = [Row(f"Question {number}?", f"Answer {number}.") for number in range(80)]

    def side_of(some: Sequence[Row], seed: int) -> dict[str, bool]:
        examples = encoded(some).examples
        held = split(examples, plan(SMALL, len(some), eval=0.3, seed=seed))[1]
        return {some[e.row].completion: e in held for e in examples}

    wanted = side_of(rows, 0)
    assert set(wanted.values()) == {True, False}
    assert side_of(rows, 5) == wanted
    assert side_of(rows[::-1], 0) == wanted
    more = [Row(f"Another {number}?", f"And {number}.") for number in range(50)]
    assert wanted.items() <= side_of([*more, *rows], 0).items()


def test_copies_of_a_row_and_the_turns_of_a_conversation_fall_on_one_side() -> None:
    rows = [Row(f"Question {number}?", f"Answer {copy}.") for number in range(40) for copy in "ab"]
    chats = [
        Row(
            None,
            "",
            (
                Message("user", f"Hello {number}"),
                Message("assistant", "Hi."),
                Message("user", "And?"),
                Message("assistant", "No."),
            ),
        )
        for number in range(40)
    ]
    for some in (rows, chats):
        examples = encoded(some).examples
        assert len(examples) == 80
        train, held = split(examples, plan(SMALL, len(some), eval=0.3))
        assert train
        assert held
        assert not {some[e.row].asked for e in train} & {some[e.row].asked for e in held}


def test_another_set_is_held_out_and_nothing_that_it_asks_is_trained_on() -> None:
    rows = [Row(f"Question {number}?", "Yes.") for number in range(20)]
    other = [Row("Question 3?", "No."), Row("Something else?", "No.")]
    both = encoded(rows).measured_on(encoded(other))
    train, held = sides(both, plan(SMALL, 20, held_out=2))
    assert [e.row for e in train] == [r for r in range(20) if r != 3]
    assert tuple(held) == encoded(other).examples
    assert both.data_hash not in (encoded(rows).data_hash, encoded(other).data_hash)
    with pytest.raises(DataError, match="--eval: every training row has the same prompt"):
        sides(encoded(rows).measured_on(encoded(rows)), plan(SMALL, 20, held_out=20))


@pytest.mark.parametrize("held", [1, 3, 10, 100])
@pytest.mark.parametrize("batch", [1, 4, 30])
@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_measuring_in_between_costs_at_most_a_twentieth_of_training(
    count: int, batch: int, held: int
) -> None:
    taken = [[list(range(batch))] for _ in range(count)]
    places = evaluations(taken, held, decisive=False)
    # To measure an example costs a third of training it.
    assert len(places) * held / 3 <= count * batch / 20
    assert all(0 < place < count for place in places)
    assert len(places) <= 9


def shares(rows: int, guard: int, **flags: Any) -> list[tuple[int, int]]:
    """For each step, how many of its examples are the run's own, and how many guard rows."""
    spec = plan(SMALL, rows, eval=0, **flags)
    made = [list(chain.from_iterable(step)) for step in steps(rows, spec, guard)]
    assert all(0 <= index < rows + guard for step in made for index in step)
    return [
        (len([i for i in step if i < rows]), len([i for i in step if i >= rows])) for step in made
    ]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize(("rows", "guard"), [(3, 40), (40, 3), (100, 100)])
def test_guard_rows_take_their_share_of_every_step(share: float, rows: int, guard: int) -> None:
    made = shares(rows, guard, steps=50, replay=share)
    assert len(made) == 50
    size = sum(made[0])
    assert size == plan(SMALL, rows, steps=50, eval=0).batch_size
    for own, replayed in made:
        assert own + replayed == size
        assert abs(replayed - share * size) < 1
    assert sum(replayed for _, replayed in made) == pytest.approx(share * 50 * size, abs=0.5)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("rows", [1, 2, 13, 100])
def test_with_epochs_and_replay_every_own_example_is_still_read_exactly_so_often(
    share: float, rows: int
) -> None:
    spec = plan(SMALL, rows, epochs=3, eval=0, replay=share)
    read = Counter(flat(steps(rows, spec, 20)))
    assert {index: read[index] for index in range(rows)} == dict.fromkeys(range(rows), 3)
    replayed = sum(count for index, count in read.items() if index >= rows)
    assert replayed == pytest.approx(share * read.total(), abs=1)
    assert len(steps(rows, spec, 20)) == spec.steps


def test_guard_rows_are_read_equally_often_and_the_seed_decides_their_places() -> None:
    first, again, other = (
        flat(steps(13, plan(SMALL, 13, steps=40, replay=0.3, seed=seed), 7)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    counts = Counter(index for index in first if index >= 13)
    assert set(counts) == set(range(13, 20))
    assert max(counts.values()) - min(counts.values()) <= 1


def test_without_replay_the_order_is_that_of_a_run_without_a_guard() -> None:
    spec = plan(SMALL, 13, steps=9)
    assert steps(13, spec, 7) == steps(13, spec)


@pytest.mark.parametrize("decisive", [True, False])
def test_without_held_out_examples_nothing_is_measured(decisive: bool) -> None:
    assert evaluations([[[0]]] * 100, 0, decisive=decisive) == frozenset()


@pytest.mark.parametrize("count", [1, 7, 10, 60, 163])
def test_measurements_that_decide_are_ten_or_after_every_step(count: int) -> None:
    places = sorted(evaluations([[[0]]] * count, 500, decisive=True))
    assert len(places) == min(10, count)
    assert places[-1] == count
    gaps = [b - a for a, b in pairwise([0, *places])]
    assert max(gaps) - min(gaps) <= 1
