"""Which examples make a step."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any

import pytest

from lora_magic.base.recipe import SMALL
from lora_magic.training.batches import evaluations, split, steps
from lora_magic.training.encode import Example
from lora_magic.training.spec import plan


def examples(*rows: int) -> list[Example]:
    return [Example((1, 2), (-100, 2), row) for row in rows]


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


def test_held_out_rows_are_apart_and_whole() -> None:
    everything = examples(*[row for row in range(60) for _ in range(2)])
    train, held = split(everything, plan(SMALL, 60))
    assert len(held) == 2 * 6
    assert len(train) + len(held) == 120
    assert not {e.row for e in train} & {e.row for e in held}


def test_one_row_is_always_left_to_train_on() -> None:
    train, held = split(examples(0, 0, 0), plan(SMALL, 50))
    assert (len(train), len(held)) == (3, 0)


@pytest.mark.parametrize("held", [1, 3, 10, 100])
@pytest.mark.parametrize("batch", [1, 4, 30])
@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_measuring_in_between_costs_at_most_a_twentieth_of_training(
    count: int, batch: int, held: int
) -> None:
    taken = [[list(range(batch))] for _ in range(count)]
    places = evaluations(taken, held)
    # To measure an example costs a third of training it.
    assert len(places) * held / 3 <= count * batch / 20
    assert all(0 < place < count for place in places)
    assert len(places) <= 9


def test_without_held_out_examples_nothing_is_measured() -> None:
    assert evaluations([[[0]]] * 100, 0) == frozenset()


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
