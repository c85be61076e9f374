"""Work on rows in batches that fit into memory, with a line of progress, until the user stops it.

Knows lengths and batches; knows no model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from lora_magic import numbers
from lora_magic.base.device import out_of_memory, release_after

T = TypeVar("T")

#: Called between batches, and after each new token, with a function that returns the progress in
#: one line; True ends the evaluation.
Watch = Callable[[Callable[[], str]], bool]


class Passes:
    """Batches of one evaluation, whose first `line` is that given; `stopped` says that the user
    ended it."""

    def __init__(self, watch: Watch | None, line: str) -> None:
        self._watch = watch
        self._line = line
        self.stopped = False
        self.look()

    def say(self, line: str) -> None:
        """What `watch` shows from now on."""
        self._line = line

    def look(self, _: object = None) -> bool:
        """Call `watch`; returns whether to stop."""
        if self._watch is not None and self._watch(lambda: self._line):
            self.stopped = True
        return self.stopped

    def batches(
        self,
        what: str,
        lengths: Sequence[int],
        fitting: Callable[[int, int], int],
        work: Callable[[list[int]], list[T]],
    ) -> Iterator[tuple[int, T]]:
        """The result of each place, the longest first, so that memory fails early.

        `fitting` is how many may share a batch, from its longest and a limit; `work` makes the
        results of some places. A batch that runs out of memory is halved. A stop ends it, and the
        batch at work does not count.
        """
        order = sorted(range(len(lengths)), key=lambda at: -lengths[at])
        most, done, began = len(order), 0, time.perf_counter()
        while done < len(order) and not self.stopped:
            self.say(progress(what, done, len(order), time.perf_counter() - began))
            if self.look():
                return
            batch = order[done : done + max(1, fitting(order[done], most))]
            try:
                found = work(batch)
            except Exception as error:
                if len(batch) == 1 or not out_of_memory(error):
                    raise
                release_after(error)
                most = len(batch) // 2
                continue
            if self.stopped:
                return
            done += len(batch)
            yield from zip(batch, found, strict=True)


def progress(what: str, done: int, total: int, seconds: float) -> str:
    """How many rows are done after so many seconds, and about how long the others take."""
    left = f" · about {numbers.duration(seconds / done * (total - done))} left" if done else ""
    return f"{what}: {done:,} of {total:,} rows{left}"
