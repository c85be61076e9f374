"""The workers that share one run: which of them this process is, and how they agree.

A run alone and a run of several take the same steps: every worker knows all examples and the whole
plan, computes its share of each step's examples, and adds its gradients to those of the others. A
step's loss is L = Σ losses / n, with the n tokens of all workers, so ∇L is the sum over the workers
of ∇(Σ own losses / n).
Knows tensors and numbers; knows no engine, no model and no step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from torch import Tensor

T = TypeVar("T")


class World(Protocol):
    """What a run asks of the other workers. All of them must ask the same, in the same order."""

    #: This worker's number, from 0; worker 0 reports and writes checkpoints.
    rank: int
    #: How many workers there are.
    size: int
    #: Is the base split over them? A forward then needs all workers, so they run the model equally
    #: often.
    split: bool = False

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the workers, in place, the same bits everywhere."""

    def sums(self, values: Sequence[float]) -> list[float]:
        """The sum of each number over the workers, in float64."""

    def first(self, values: Sequence[float]) -> list[float]:
        """Worker 0's numbers, in float64."""


class Alone(World):
    """A run in one process."""

    rank, size = 0, 1

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Nothing to add."""

    def sums(self, values: Sequence[float]) -> list[float]:
        """The numbers."""
        return list(values)

    def first(self, values: Sequence[float]) -> list[float]:
        """The numbers."""
        return list(values)


def gathered(values: Sequence[float], count: int, world: World) -> list[float]:
    """All workers' values in their order, from those of this worker's share of `count` items."""
    if world.size == 1:
        return list(values)
    row = [0.0] * count
    row[_part(count, world)] = values
    return world.sums(row)


def share(items: Sequence[T], world: World) -> Sequence[T]:
    """This worker's part of n items: from ⌈n·rank/size⌉ to before ⌈n·(rank + 1)/size⌉.

    No part has more items than worker 0's, so worker 0 has an item if there is one.
    """
    return items[_part(len(items), world)]


def idle(count: int, size: int, world: World) -> int:
    """How many more passes of `size` of `count` items worker 0 needs than this one: 0 or 1.

    0 unless the base is split: to gather it needs all workers, so this one then computes such a
    pass, which does not count.
    """
    if not world.split:
        return 0
    most, own = math.ceil(count / world.size), len(share(range(count), world))
    return math.ceil(most / size) - math.ceil(own / size)


def _part(count: int, world: World) -> slice:
    return slice(*(-(-count * rank // world.size) for rank in (world.rank, world.rank + 1)))
