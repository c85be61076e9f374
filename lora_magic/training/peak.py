"""The memory of a run's largest step: which pass it has, what is predicted, what is measured.

torch's allocators are read while the step is taken, which changes no bit. Knows examples, torch's
profiler and its counters on a GPU; knows no adapter, and not how a peak is predicted.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import profiler

from lora_magic.base.restore import environment, restoring
from lora_magic.numbers import size

from .encode import Example
from .spec import TrainSpec
from .way import Way

#: A step is measured if its largest pass is so many times that of the steps before: a step of the
#: embedded model takes a fifth longer while it is measured.
_LARGER = 1.05

#: Private, and without types.
_AUTOGRAD: Any = torch.autograd

#: By how many bytes the peak of a step exceeds what there was before it; asked once, at its end.
Risen = Callable[[], int]


@dataclass(frozen=True)
class Pass:
    """The pass of a run that reads the most: `rows` of `tokens` in all, the longest of `longest`.

    `trained` tokens have a label. Whether rows are `packed` is None before that is tried; `plain`
    and `checkpointing` are the run's settings. In the `first` of several steps the optimizer has
    no state yet.
    """

    rows: int
    tokens: int
    longest: int
    trained: int
    plain: bool
    checkpointing: bool
    packed: bool | None = None
    first: bool = False

    @property
    def length(self) -> int:
        """Tokens of a row on average, padding included."""
        return self.longest if self.packed is False else math.ceil(self.tokens / self.rows)


@dataclass(frozen=True)
class Forecast:
    """The predicted `bytes` of a run's largest step, and if they are not free, what to do.

    Each of `workers` needs them.
    """

    bytes: int
    warning: str = ""
    workers: int = 1

    @property
    def line(self) -> str:
        """For the start of a run."""
        each = " per worker" if self.workers > 1 else ""
        said = f"peak memory about {size(self.bytes)}{each}"
        return f"{said}; {self.warning}" if self.warning else said


#: What predicts the peak of a pass; None where no prediction can be made.
Predict = Callable[[Pass], Forecast | None]

#: So many steps are looked at in detail, those with the longest rows.
_LOOKED_AT = 20


def largest(steps: Sequence[Sequence[Sequence[Example]]], spec: TrainSpec, way: Way | None) -> Pass:
    """The largest pass of steps, each of passes of examples; `way` is None before it is chosen."""
    if way is not None and way.sorted:
        longest = [max(len(e.tokens) for part in step for e in part) for step in steps]
        order = sorted(range(len(steps)), key=longest.__getitem__)[-_LOOKED_AT:]
        steps = [way.passes(steps[at]) for at in order]
    packed = way.packed if way is not None else False if spec.plain_step else None
    plain = spec.plain_step or (way is not None and not way.own_loss)
    found = (
        Pass(
            *(len(part), sum(lengths), max(lengths), sum(e.trained for e in part)),
            *(plain, spec.checkpointing, packed),
        )
        for step in steps
        for part in step
        if (lengths := [len(example.tokens) for example in part])
    )
    return max(found, key=lambda one: one.rows * one.length)


def highest(
    steps: Sequence[Sequence[Sequence[Example]]], spec: TrainSpec, way: Way | None
) -> list[Pass]:
    """The passes of which one has a run's peak: the largest after the first step, and before it
    that of the first step if it is larger."""
    later = largest(steps[1:] or steps, spec, way)
    first = replace(largest(steps[:1], spec, way), first=True)
    higher = len(steps) > 1 and first.rows * first.length > _LARGER * later.rows * later.length
    return [first, later] if higher else [later]


class StepPeak:
    """The most bytes of tensors in any step so far: `bytes`, 0 while none is measured.

    In all: the tensors that are there before the step (`standing`: base, adapter, the optimizer's
    state), `kept` bytes that the caller has, and those that the step makes. Other tensors of the
    process do not count. `largest` is the size of the largest pass that was measured, in numbers of
    a batch.
    """

    def __init__(
        self, device: torch.device, standing: Callable[[], Iterable[Tensor]], kept: int = 0
    ) -> None:
        self.bytes, self.largest = 0, 0
        self._standing, self._kept, self.starts_high = standing, kept, True
        self._device, self._reading = device, _READING.get(device.type)
        self._risen: Risen | None = None
        self._size = self._before = 0

    def begin(self, passes: Sequence[dict[str, Tensor]], first: bool = False) -> None:
        """Before a step's first pass: measure it, if it may need more than those measured before.

        A run's `first` step is measured if no later one is as large. It does not count as measured
        before: the optimizer's state is made in it.
        """
        if first and not self.starts_high:
            return
        most = max((tensor.numel() for one in passes for tensor in one.values()), default=0)
        if self._reading is not None and most > _LARGER * self.largest:
            self._size = 0 if first else most
            self._before = self._kept + bytes_of(self._standing())
            self._risen = self._reading(self._device)

    def end(self) -> None:
        """After the optimizer's update."""
        if self._risen is not None:
            found, self._risen = self._risen(), None
            self.bytes = max(self.bytes, self._before + found)
            self.largest = self._size

    def close(self) -> None:
        """End the measurement of a step that was not finished, if there is one."""
        risen, self._risen = self._risen, None
        if risen is not None:
            risen()


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """The bytes of the tensors' memory here; memory that several share counts once."""
    found = {}
    for tensor in tensors:
        # Of a tensor that is split over workers, this one's part.
        part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        memory = part.untyped_storage()
        found[tensor.device, memory.data_ptr()] = memory.nbytes()
    return sum(found.values())


def _counted(device: torch.device) -> Risen:
    """A step on a GPU, whose allocator counts anyway."""
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    return lambda: max(0, torch.cuda.max_memory_allocated(device) - before)


def _profiled(device: torch.device) -> Risen | None:
    """A step on a CPU, whose allocations only torch's profiler sees.

    None if someone else is profiling, or if this version of torch has another profiler.
    """
    if _AUTOGRAD._profiler_enabled():
        return None
    try:
        _hide_line()
        _profile()
    except (AttributeError, TypeError, RuntimeError):
        return None
    except KeyboardInterrupt:
        # Left on, it would pass for someone else's from then on.
        if _AUTOGRAD._profiler_enabled():
            _AUTOGRAD._disable_profiler()
        raise
    return _highest


def _profile() -> None:
    asked: Any = profiler.profile(profile_memory=True)
    # Allocations, and what users name, which is almost nothing: recording every operator too takes
    # three times as long.
    named = {torch._C._profiler.RecordScope.USER_SCOPE}
    with restoring(environment("KINETO_")):
        # Read once in a process. At any lower level each profile prints two lines.
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")
        _AUTOGRAD._prepare_profiler(asked.config(), asked.kineto_activities)
        _AUTOGRAD._enable_profiler(asked.config(), asked.kineto_activities, named)


def _highest() -> int:
    """The highest sum of what was allocated and freed since the profile began."""
    now = most = 0
    for event in _AUTOGRAD._disable_profiler().events():
        now += event.nbytes()
        most = max(most, now)
    return most


@cache
def _hide_line() -> None:
    """Profile for a moment without stderr.

    torch's allocator prints a line when it first sees a tensor freed that it did not see made, and
    again after a thousand of those; a step frees one or two. That is expected here.
    """
    old = torch.empty(1)
    with open(os.devnull, "wb") as nowhere, suppress(OSError):
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            _profile()
            del old
            _AUTOGRAD._disable_profiler()
        finally:
            os.dup2(kept, 2)
            os.close(kept)


#: How to measure a step, by the kind of device.
_READING: dict[str, Callable[[torch.device], Risen | None]] = {"cpu": _profiled, "cuda": _counted}
