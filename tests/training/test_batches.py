"""Which examples make a step."""

from __future__ import annotations

from collections import Counter
from itertools import chain

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
