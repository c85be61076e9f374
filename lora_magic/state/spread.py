"""Arms of a sweep and rows of an evaluation, spread over the workers of a Ray cluster.

The notebook's session decides everything: it plans, checks, chooses and records, and the workers
train and measure what they are sent. Knows the session's state, arms and rows; does not know how
workers are started, nor what a worker does with a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from lora_magic.adapters.stacked import obstacle
from lora_magic.data.row import Row
from lora_magic.errors import CommandError
from lora_magic.evaluation.items import Item
from lora_magic.evaluation.losses import Loss
from lora_magic.evaluation.passes import Passes, progress
from lora_magic.interrupts import Stop, undisturbed
from lora_magic.scale import engines
from lora_magic.scale.work import RAY, Engine, Note, Work, Workers
from lora_magic.training.reporter import Reporter, RunPlan, SilentReporter

from .arms import Arm, Common, Outcome, Planned, train_arms
from .evaluating import Found, Take
from .sent import SentBase
from .session_state import SessionState
from .worker_arms import TRAIN, ArmsRequest, Ended, SentArm
from .worker_rows import MEASURE, Measured, Readers, RowsRequest
from .workers import Listener, wanted

#: Trains arms as `train_arms` does, here or elsewhere.
TrainArms = Callable[..., list[Outcome]]


def workers_of(
    state: SessionState, verb: str, home: Path, workers: Any, engine: Any, address: Any
) -> Workers | None:
    """The workers that `--engine ray` asks for; None without it.

    Raises `CommandError` for flags that do not fit, and `StateError` while something is merged: the
    workers read the base from where it was loaded.
    """
    if engine is None:
        given = {"--workers": workers, "--address": address}
        flag = next((flag for flag, value in given.items() if value is not None), None)
        if flag is not None:
            raise CommandError(f"{verb} {flag} needs --engine ray: add --engine ray.")
        return None
    if engine != RAY:
        raise CommandError(
            f"{verb} --engine {engine}: expected ray; without --engine and --workers it runs here."
        )
    found = wanted(state, home, workers, engine, address)
    state.refuse_while_merged(f"{verb} --engine ray")
    # What workers find comes back with their results, so no disk need be shared.
    return replace(found, shared="")


# Arms


@contextmanager
def arms_on(state: SessionState, workers: Workers | None, stop: Stop) -> Iterator[TrainArms]:
    """What trains arms during a block: `train_arms`, here or on workers.

    Raises `BaseModelError` for a base that cannot be read again, and what `started` does.
    """
    if workers is None:
        yield train_arms
        return
    base = SentBase.of(state)
    with ExitStack() as block:
        with stop.abortable():
            engine = block.enter_context(engines.started(workers))
        yield partial(_trained_on, engine, base, workers.count)


def _trained_on(
    engine: Engine,
    base: SentBase,
    count: int,
    state: SessionState,
    arms: Sequence[Arm],
    rows: Sequence[Row],
    *,
    flags: Mapping[str, Any],
    stop: Stop,
    reporter: Reporter | None = None,
    held_out: Sequence[Row] | None = None,
    until: int | None = None,
    **reading: Any,
) -> list[Outcome]:
    """The outcomes in the order of the arms; before all are here nothing is changed.

    `reading` are the arguments of `train_arms` that say how rows are read.
    """
    common = Common(state, rows, held_out, **reading)
    planned = [common.plan(arm, flags) for arm in arms]
    groups = grouped(arms, count)
    # Rows that were read know how to read them again, which cannot be sent.
    plain, measured = tuple(rows), None if held_out is None else tuple(held_out)
    options = {**reading, "flags": dict(flags), "held_out": measured, "until": until}
    sent = [tuple(SentArm.of(arms[at]) for at in group) for group in groups]
    works = [Work(TRAIN, ArmsRequest(base, several, plain, options)) for several in sent]
    listener = Listener(reporter or SilentReporter(), engine.line)

    def heard(number: int, event: object) -> None:
        # The reporter sees one start, the first worker's.
        if not (listener.began and isinstance(event, RunPlan)):
            listener.hear(event)

    with stop.abortable():
        ended = engine.each(works, heard, lambda: stop.requested)
    with undisturbed():
        outcomes = dict(_taken(planned, groups, ended))
    found = [outcomes[at] for at in range(len(arms))]
    if stop.requested and not any(one.summary or one.error for one in found):
        raise KeyboardInterrupt
    return found


def grouped(arms: Sequence[Arm], count: int) -> list[list[int]]:
    """The places of the arms that each of at most `count` workers trains, in order.

    Arms that can share a batch are one stack on each worker, those that cannot are trained there
    one after another: each worker gets as many of either kind, within one. A step's time is mostly
    the base's, so adapters are not weighed by their size.
    """
    order = sorted(range(len(arms)), key=lambda at: bool(obstacle(arms[at].attached.replacements)))
    return [sorted(order[first::count]) for first in range(min(count, len(arms)))]


def _taken(
    planned: Sequence[Planned], groups: Sequence[Sequence[int]], ended: Sequence[Sequence[Ended]]
) -> Iterator[tuple[int, Outcome]]:
    """The place of each arm and what became of it, with its weights and record set."""
    for batch, (group, several) in enumerate(zip(groups, ended, strict=True)):
        for at, one in zip(group, several, strict=True):
            if one.summary is not None:
                planned[at].arm.attached.set_state(one.weights)
                planned[at].record(one.summary)
            found = planned[at].outcome(one.summary, one.snapshot, one.error, one.stacked)
            yield at, replace(found, batch=batch)


# Rows


@dataclass(eq=False)
class RowsElsewhere:
    """Measures rows as `Evaluating.measure` does, a part of them on each worker.

    `line` says of what the progress is; `notes` gets those of the engine.
    """

    readers: Readers
    workers: Workers
    sampling: Mapping[str, Any]
    passes: Passes
    line: str
    notes: list[str]

    def __call__(self, items: Sequence[Item], take: Take) -> None:
        """Give `take` the losses and the answer of each row as they come, until a stop."""
        parts = shards(items, self.workers.count)
        self.passes.say(f"{self.line}: starting {len(parts)} workers …")
        self.passes.look()
        with engines.started(replace(self.workers, count=len(parts))) as engine:
            self.passes.say(f"{self.line} · {engine.line}")
            works = [self._work([items[at] for at in places]) for places in parts]
            counted = _Counted(items)

            def listen(number: int, event: object) -> None:
                if isinstance(event, Note):
                    self.notes.append(event.line)
                elif isinstance(event, Measured):
                    place = parts[number][event.place]
                    if counted.adds(place, event.found):
                        take(place, event.found)
                        self.passes.say(counted.line())

            engine.each(works, listen, self.passes.look)

    def _work(self, items: Sequence[Item]) -> Work:
        return Work(MEASURE, RowsRequest(self.readers, tuple(items), self.sampling))


class _Counted:
    """Which rows the workers have measured, and how many as one line."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._all = {
            True: sum(bool(item.examples[0]) for item in items),
            False: sum(item.asked is not None for item in items),
        }
        self._done: dict[bool, set[int]] = {True: set(), False: set()}
        self._began = time.perf_counter()

    def adds(self, place: int, found: Found) -> bool:
        """Count a row's losses or answers; False if they were, from a worker that was lost."""
        done = self._done[isinstance(found[0], Loss)]
        new = place not in done
        done.add(place)
        return new

    def line(self) -> str:
        """The progress; the answers follow the losses."""
        # Texts and a classifier's rows are not answered.
        losses = len(self._done[True]) < self._all[True] or not self._all[False]
        seconds = time.perf_counter() - self._began
        what = "loss" if losses else "answers"
        return progress(what, len(self._done[losses]), self._all[losses], seconds)


def shards(items: Sequence[Item], count: int) -> list[list[int]]:
    """The places of the rows that each of at most `count` workers measures, balanced by tokens.

    Rows that ask the same are on one worker, which answers them once.
    """
    same: dict[object, list[int]] = {}
    for at, item in enumerate(items):
        same.setdefault(at if item.asked is None else item.asked, []).append(at)
    sizes = [(sum(_tokens(items[at]) for at in places), places) for places in same.values()]
    parts: list[list[int]] = [[] for _ in range(min(count, len(same)))]
    loads = [0] * len(parts)
    for size, places in sorted(sizes, reverse=True):
        least = loads.index(min(loads))
        parts[least].extend(places)
        loads[least] += size
    return [sorted(part) for part in parts]


def _tokens(item: Item) -> int:
    read = sum(len(example.tokens) for own in item.examples for example in own)
    return 1 + read + sum(map(len, item.asked or ()))
