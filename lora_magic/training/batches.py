"""Which examples are held out, and which make each step: decided by the seed alone.

Knows indices and counts; knows no tokens and no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from .encode import Example
from .spec import TrainSpec

#: One optimizer step: its passes, each the indices of the examples read at once.
Step = list[list[int]]


def split(examples: Sequence[Example], spec: TrainSpec) -> tuple[list[Example], list[Example]]:
    """The examples to train on and those held out, each in their order.

    `eval` whole rows are held out, since the turns of one conversation repeat each other; one row
    at least is left to train on.
    """
    rows = list(dict.fromkeys(example.row for example in examples))
    generator = torch.Generator().manual_seed(spec.seed)
    order = torch.randperm(len(rows), generator=generator).tolist()
    held = {rows[place] for place in order[: min(spec.eval, len(rows) - 1)]}
    train = [example for example in examples if example.row not in held]
    return train, [example for example in examples if example.row in held]


def steps(count: int, spec: TrainSpec) -> list[Step]:
    """The steps over `count` examples.

    One shuffled pass follows the other without a seam, so that every step has the whole batch;
    where the epochs are exact, the last one has what is left.
    """
    total = spec.seen(count)
    generator = torch.Generator().manual_seed(spec.seed)
    stream: list[int] = []
    while len(stream) < total:
        stream += torch.randperm(count, generator=generator).tolist()
    stream = stream[:total]
    size = spec.batch_size
    return [_passes(stream[at : at + size], spec) for at in range(0, total, size)]


def between(steps: Sequence[Step], held: int) -> frozenset[int]:
    """After which steps the held-out examples are measured, besides before the first and after the
    last: evenly spread, at most nine times.

    An example costs about three times as much to train as to measure, so that all of them together
    add at most a twentieth to the run.
    """
    trained = sum(len(part) for step in steps for part in step)
    times = min(9, len(steps) - 1, 3 * trained // (20 * held)) if held else 0
    return frozenset(len(steps) * at // (times + 1) for at in range(1, times + 1))


def _passes(batch: list[int], spec: TrainSpec) -> Step:
    """A batch in parts of about equal size, none larger than those of a whole batch."""
    parts = math.ceil(len(batch) / spec.pass_size)
    if len(batch) == spec.batch_size:
        parts = spec.accumulation
    cuts = [len(batch) * part // parts for part in range(parts + 1)]
    return [batch[a:b] for a, b in pairwise(cuts)]
