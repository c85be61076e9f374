"""Which examples are held out, which make each step, and a batch as tensors.

A hash of what a row asks decides whether it is held out, the seed alone the order. Knows encoded
examples; knows no row and no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from lora_magic.errors import DataError

from .encode import IGNORED, Encoded, Example
from .spec import HOLD_OUT_FROM, HOLD_OUT_MOST, HOLD_OUT_SHARE, TrainSpec
from .world import World, share

#: The input that marks a pass whose loss does not count: the other workers need it.
IDLE = "idle"

#: One optimizer step: its passes, each the indices of the examples read at once.
Step = list[list[int]]


def sides(encoded: Encoded, spec: TrainSpec) -> tuple[list[Example], list[Example]]:
    """The examples to train on and those held out, from one set of rows or from two."""
    if encoded.held_out is None:
        return split(encoded.examples, spec)
    return apart(encoded.examples, encoded.held_out), list(encoded.held_out)


def split(examples: Sequence[Example], spec: TrainSpec) -> tuple[list[Example], list[Example]]:
    """The examples to train on and those held out, each in their order.

    Whole rows are held out, since the turns of one conversation repeat each other.
    """
    limit = held_out_below([e.position for e in _first_of_rows(examples)], spec.eval)
    train = [example for example in examples if example.position > limit]
    return train, [example for example in examples if example.position <= limit]


def held_out_below(positions: Sequence[float], eval: float | None) -> float:
    """The largest position of a held-out row among the rows' positions; −1 if none is held out.

    A position is a hash of what a row asks, so the split depends on nothing else: not on the seed,
    on the order, nor on rows added later. A share `eval` holds out the positions below it, at least
    the smallest one; a number the rows with the smallest positions. Rows that ask the same have the
    same position and stay together, so that there may be more than that number; at least one row is
    left to train on. By default (None) it is a tenth, at most 500 rows, and none below 50 rows.
    """
    order = sorted(positions)
    if eval is None:
        share = HOLD_OUT_SHARE if len(order) >= HOLD_OUT_FROM else 0.0
        count = min(_below(order, share), HOLD_OUT_MOST)
    else:
        share = eval if eval < 1 else 0.0
        count = _below(order, share) if eval < 1 else min(int(eval), len(order))
    if share and not count:
        count = 1
    smaller = [position for position in order if position < order[-1]]
    return min(order[count - 1], smaller[-1]) if count and smaller else -1.0


def _below(order: Sequence[float], share: float) -> int:
    return sum(position < share for position in order)


def _first_of_rows(examples: Sequence[Example]) -> list[Example]:
    """The first example of each row."""
    return list({example.row: example for example in reversed(examples)}.values())


def apart(examples: Sequence[Example], held_out: Sequence[Example]) -> list[Example]:
    """The examples that ask nothing that a held-out one asks.

    Raises `DataError` if there is none.
    """
    asked = {example.position for example in held_out}
    train = [example for example in examples if example.position not in asked]
    if not train:
        raise DataError(
            "--eval: every training row has the same prompt as a row of that set; use other rows, "
            "or --eval 0.1 to hold out a tenth."
        )
    return train


def steps(count: int, spec: TrainSpec, guard: int = 0) -> list[Step]:
    """The steps over `count` examples, and `guard` others that follow these in number.

    Shuffled passes over the examples follow one another, so every step has a full batch; if the
    epochs are exact, the last step has the rest. The others take their share of the places,
    evenly spread: in each step at most one more or less than the share of its examples.
    """
    total = spec.seen(count)
    replayed = spec.replayed(count) if guard else 0
    generator = torch.Generator().manual_seed(spec.seed)
    own = iter(_shuffled(count, total - replayed, generator))
    others = iter(_shuffled(guard, replayed, generator))
    shift = float(torch.rand((), generator=generator)) if replayed else 0.0
    due = [math.floor(place * replayed / total + shift) for place in range(total + 1)]
    stream = [next(own) if a == b else count + next(others) for a, b in pairwise(due)]
    size = spec.batch_size
    return [_passes(stream[at : at + size], spec) for at in range(0, total, size)]


def _shuffled(count: int, total: int, generator: torch.Generator) -> list[int]:
    """The first `total` places of shuffled passes over `count` examples."""
    stream: list[int] = []
    while len(stream) < total:
        stream += torch.randperm(count, generator=generator).tolist()
    return stream[:total]


def evaluations(steps: Sequence[Step], held_out: int, *, decisive: bool) -> frozenset[int]:
    """After which steps the held-out examples are measured, evenly spread.

    Ten times, the last time after the last step, if they decide when the run ends. Otherwise at
    most nine times in between: training on an example costs about three times as much as measuring
    it, so these measurements add at most 5 % to the run. The examples are also measured before the
    first step and after the last.
    """
    if not held_out:
        return frozenset()
    if decisive:
        parts = min(10, len(steps))
        return frozenset(len(steps) * at // parts for at in range(1, parts + 1))
    trained = sum(len(part) for step in steps for part in step)
    times = min(9, len(steps) - 1, 3 * trained // (20 * held_out))
    return frozenset(len(steps) * at // (times + 1) for at in range(1, times + 1))


def _passes(batch: list[int], spec: TrainSpec) -> Step:
    """A batch in parts of about equal size, none larger than those of a whole batch."""
    if len(batch) == spec.batch_size:
        return _cut(batch, spec.accumulation)
    return _cut(batch, math.ceil(len(batch) / spec.pass_size))


def shared(step: Step, world: World, size: int) -> Step:
    """A worker's share of a step, in passes of at most `size` examples; [] if it has none."""
    if world.size == 1:
        return step
    mine = share([index for part in step for index in part], world)
    return _cut(mine, math.ceil(len(mine) / size))


def _cut(batch: Sequence[int], parts: int) -> Step:
    cuts = [len(batch) * part // parts for part in range(parts + 1)] if parts else []
    return [list(batch[a:b]) for a, b in pairwise(cuts)]


def collate(examples: Sequence[Example], pad_id: int) -> dict[str, Tensor]:
    """A batch, padded on the right: input_ids, attention_mask, labels, int64 [n, longest].

    A classifier's labels are [n]. With preferences the rejected answers follow the chosen ones, so
    n is twice the examples.
    """
    examples = [*examples, *(e.rejected for e in examples if e.rejected is not None)]
    longest = max(len(example.tokens) for example in examples)
    classes = [example.label for example in examples if example.label is not None]

    def padded(parts: Sequence[tuple[int, ...]], filler: int) -> Tensor:
        return torch.tensor([[*part, *[filler] * (longest - len(part))] for part in parts])

    return {
        "input_ids": padded([e.tokens for e in examples], pad_id),
        "attention_mask": padded([(1,) * len(e.tokens) for e in examples], 0),
        "labels": torch.tensor(classes)
        if classes
        else padded([e.labels for e in examples], IGNORED),
    }
