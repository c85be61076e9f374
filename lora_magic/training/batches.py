"""Which examples are held out, which make each step, and a batch as tensors.

The seed alone decides the order. Knows encoded examples; knows no row and no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from .encode import IGNORED, Example
from .spec import TrainSpec

#: One optimizer step: its passes, each the indices of the examples read at once.
Step = list[list[int]]


def split(examples: Sequence[Example], spec: TrainSpec) -> tuple[list[Example], list[Example]]:
    """The examples to train on and those held out, each in their order.

    `spec.eval` whole rows are held out, since the turns of one conversation repeat each other; at
    least one row is left to train on.
    """
    rows = list(dict.fromkeys(example.row for example in examples))
    generator = torch.Generator().manual_seed(spec.seed)
    order = torch.randperm(len(rows), generator=generator).tolist()
    held_out = {rows[place] for place in order[: min(spec.eval, len(rows) - 1)]}
    train = [example for example in examples if example.row not in held_out]
    return train, [example for example in examples if example.row in held_out]


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


def evaluations(steps: Sequence[Step], held_out: int) -> frozenset[int]:
    """After which steps the held-out examples are measured: evenly spread, at most nine times.

    They are also measured before the first step and after the last. Training on an example costs
    about three times as much as measuring it; these measurements add at most 5 % to the run.
    """
    trained = sum(len(part) for step in steps for part in step)
    times = min(9, len(steps) - 1, 3 * trained // (20 * held_out)) if held_out else 0
    return frozenset(len(steps) * at // (times + 1) for at in range(1, times + 1))


def _passes(batch: list[int], spec: TrainSpec) -> Step:
    """A batch in parts of about equal size, none larger than those of a whole batch."""
    parts = math.ceil(len(batch) / spec.pass_size)
    if len(batch) == spec.batch_size:
        parts = spec.accumulation
    cuts = [len(batch) * part // parts for part in range(parts + 1)]
    return [batch[a:b] for a, b in pairwise(cuts)]


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
