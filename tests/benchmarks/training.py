"""A training step and a common run of four adapters, against PEFT + transformers' Trainer.

    python -m tests.benchmarks.training [--rows NAME,NAME] [--pairs 7] [--steps 6] [--threads 1]
        [--device cpu|cuda] [--dtype fp32|bf16] [--size full|tiny] [--out FILE]

Both sides read the same rows in the same steps, in turn and in one process: rows of 10 to 300
tokens, about 40 % of them trained. The peer pads them and computes its default loss. Ours is the
session's run. Only steps count, in CPU seconds for each real token (on a GPU in seconds), and a
ratio is the median of the pairs, since other work slows both. Bytes are the peak above the start of
a step. The limit is the floating-point work of the real tokens, without attention, at the rate of
a product of 1024³ that is measured between the pairs. pytest does not collect this file.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from tests.benchmarks.steps import Clock, Load, Machine, Sides, in_turn, ratio

RANKS = (4, 8, 16, 8)
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PEER, OURS, ALONE, TOGETHER = (
    *("PEFT + Trainer", "ours"),
    *("ours, one by one", "ours, together"),
)


@dataclass(frozen=True)
class Case:
    """What a row of the table measures, and what it is to reach: at least `speed` times the peer's
    speed, at most `bytes` of its peak, `limit` times the least work, `alone` times our own runs."""

    load: Load
    speed: float | None = None
    bytes: float | None = None
    limit: float | None = None
    alone: float | None = None


def _four(shape: str, **changes: int) -> Load:
    return Load(shape, ranks=RANKS, **changes)


#: At most 100 real tokens a step.
SHORT = {"rows": 4, "longest": 30}
CASES = {
    "step-16m-32k": Case(Load("16m-32k"), 3.5, 0.25, 1.6),
    "step-16m-2k": Case(Load("16m-2k"), 2.3, 0.5),
    "step-60m-32k": Case(Load("60m-32k", rows=4), 2.7, None, 1.5),
    "four-embedded": Case(_four("embedded"), 2.2),
    "four-16m": Case(_four("16m-2k"), 1.9),
    "four-embedded-short": Case(_four("embedded", **SHORT), alone=1.4),
    "four-16m-short": Case(_four("16m-2k", **SHORT), alone=1.4),
    "step-1b": Case(Load("1b", rows=16), 2.0, 0.5),
    "four-1b-short": Case(_four("1b", **SHORT), 3.0),
}
_GROWN = Load("16m-2k", rows=4, longest=100)
#: One thing grows, from row to row of a table.
GROWTH = {
    "growth-rows": [replace(_GROWN, rows=rows) for rows in (2, 8, 32)],
    "growth-length": [replace(_GROWN, longest=longest) for longest in (50, 200, 800)],
    "growth-rank": [replace(_GROWN, ranks=(rank,)) for rank in (4, 16, 64)],
}
SWEEP = "sweep-embedded"
#: On a GPU only.
LARGE = ("step-1b", "four-1b-short")
NAMES = [*CASES, *GROWTH, SWEEP]


def can_train_together() -> bool:
    """Whether sessions train several adapters in one run."""
    return find_spec("lora_magic.state.arms") is not None


@dataclass(frozen=True)
class Way:
    """One way of training: CPU microseconds of a real token by pair, and the peak in bytes.

    With several adapters a token counts once for each.
    """

    seconds: list[float]
    peak: int

    @property
    def micro(self) -> float:
        """The median."""
        return statistics.median(self.seconds) * 1e6


@dataclass(frozen=True)
class Measured:
    """The figures of a case. `limit` is in microseconds for each real token."""

    load: Load
    parameters: int
    vocabulary: int
    real: float
    padding: float
    trained: float
    rate: float
    limit: float
    ways: dict[str, Way]

    def faster(self, one: str, other: str) -> tuple[float, float, float]:
        """How many times `one` is as fast as `other`: median, least, most."""
        return ratio(self.ways[other].seconds, self.ways[one].seconds)

    def bytes(self, one: str, other: str) -> float:
        """The peak of `one` over that of `other`."""
        return self.ways[one].peak / max(self.ways[other].peak, 1)


def measured(load: Load, pairs: int, steps: int, machine: Machine) -> Measured:
    """Ours and the peer's steps, by turns; with several adapters one by one and together."""
    sides = Sides(load, steps, machine)
    arms = range(len(load.ranks))

    def one_by_one(side: Callable[[Clock, int], None]) -> Callable[[Clock], None]:
        def all_of(clock: Clock) -> None:
            for arm in arms:
                side(clock, arm)

        return all_of

    ways = {PEER: one_by_one(sides.peer)}
    if len(arms) == 1:
        ways[OURS] = one_by_one(sides.ours)
    else:
        ways |= {ALONE: one_by_one(sides.ours), TOGETHER: sides.together}
    peaks, rates = {}, []
    for name, way in ways.items():  # warms up, too
        watched = sides.clock(memory=True)
        way(watched)
        peaks[name] = watched.peak

    def timed(way: Callable[[Clock], None]) -> float:
        rates.append(machine.rate())
        clock = sides.clock()
        way(clock)
        return clock.seconds / (sides.real * len(arms))

    found = in_turn({name: lambda way=way: timed(way) for name, way in ways.items()}, pairs)
    rate = statistics.median(rates)
    config = sides.model.config
    result = Measured(
        load,
        sum(p.numel() for p in sides.model.parameters()),
        config.vocab_size,
        sides.real / len(sides.counted),
        sides.padded / sides.real,
        sides.trained / sides.real,
        rate,
        sides.work / rate * 1e6,
        {name: Way(found[name], peaks[name]) for name in ways},
    )
    sides.close()
    return result


def lines(name: str, case: Case, found: Measured) -> Iterator[str]:
    """The figures of a case as text."""
    load, first = found.load, next(iter(found.ways))
    ranks = ", ".join(map(str, load.ranks))
    yield (
        f"{name}: {found.parameters / 1e6:.1f}M parameters, vocabulary {found.vocabulary:,}, "
        f"{load.rows} rows a step of {load.shortest} to {load.longest} tokens, rank {ranks}"
    )
    yield (
        f"  {found.real:.0f} real tokens a step, padded/real {found.padding:.2f}, "
        f"{found.trained:.0%} trained; product {found.rate / 1e9:.0f} GFLOP/s, "
        f"limit {found.limit:.1f} µs a token"
    )
    yield f"  {'':17} {'µs a token':>10} {'of the limit':>12} {'peak MB':>8}"
    for title, way in found.ways.items():
        of = way.micro / found.limit
        yield f"  {title:17} {way.micro:10.1f} {of:12.2f} {way.peak / 2**20:8.1f}"
    for title in list(found.ways)[1:]:
        yield f"  {title} / {first}: {_times(found.faster(title, first))}, " + (
            f"peak {found.bytes(title, first):.2f} of it"
        )
    if TOGETHER in found.ways:
        yield f"  {TOGETHER} / one by one: {_times(found.faster(TOGETHER, ALONE))}"
    yield f"  to reach: {', '.join(_reached(case, found))}"


def _reached(case: Case, found: Measured) -> Iterator[str]:
    """Each figure that is asked for, and whether it is reached."""
    best = TOGETHER if TOGETHER in found.ways else OURS
    speed = found.faster(best, PEER)[0]
    asked = [
        (case.speed, speed, "≥ {:g}× the peer's speed", speed >= (case.speed or 0)),
        (case.bytes, found.bytes(best, PEER), "≤ {:g} of its peak", None),
        (case.limit, found.ways[best].micro / found.limit, "≤ {:g} times the limit", None),
    ]
    if case.alone is not None:
        times = found.faster(TOGETHER, ALONE)[0]
        asked.append((case.alone, times, "≥ {:g}× our own runs", times >= case.alone))
    for wanted, value, text, reached in asked:
        if wanted is not None:
            kept = value <= wanted if reached is None else reached
            yield f"{text.format(wanted)} ({value:.2f}, {'reached' if kept else 'MISSED'})"


def _times(found: tuple[float, float, float]) -> str:
    return f"{found[0]:.2f}× as fast ({found[1]:.2f} to {found[2]:.2f})"


def growth(name: str, pairs: int, steps: int, machine: Machine, tiny: bool) -> Iterator[str]:
    """One thing grows: rows a step, the longest row, or the rank."""
    yield f"{name}: {'tiny' if tiny else _GROWN.shape}"
    yield "  rows  longest  rank  padded/real      peer      ours  faster  peak MB, peer  ours"
    for load in GROWTH[name]:
        found = measured(load.small() if tiny else load, pairs, steps, machine)
        peer, ours = found.ways[PEER], found.ways[OURS]
        yield (
            f"  {found.load.rows:4} {found.load.longest:8} {load.ranks[0]:5} {found.padding:12.2f} "
            f"{peer.micro:9.1f} {ours.micro:9.1f} {found.faster(OURS, PEER)[0]:6.2f}× "
            f"{peer.peak / 2**20:14.1f} {ours.peak / 2**20:5.1f}"
        )


def sweep(pairs: int, machine: Machine, tiny: bool) -> Iterator[str]:
    """A sweep of 12 arms with halving over its longest arm's own run: CPU seconds of the verbs."""
    rows = 60 if tiny else 200
    sides = Sides(Load("embedded"), 2, machine)
    session = sides.session
    data = [(row.prompt, row.completion) for row in sides.some(rows)]
    flags = {"steps": 4 if tiny else 60, "batch_size": 8}
    grid = {"rank": [4, 8, 16], "lr": [1e-3, 2e-3, 4e-3, 8e-3]}

    def whole(work: Callable[[], object]) -> float:
        began = machine.now()
        work()
        return machine.now() - began

    def swept() -> None:
        session.sweep("best", data, **grid, **flags, replace=True, reporter=sides.clock())

    def longest() -> None:
        session.attach("one", rank=16, targets="all-linear", replace=True)
        session.train("one", data, lr=4e-3, **flags, reporter=sides.clock())

    ways = {"sweep": lambda: whole(swept), "longest": lambda: whole(longest)}
    in_turn(ways, 1)
    found = in_turn(ways, pairs)
    median, least, most = ratio(found["sweep"], found["longest"])
    seconds = {name: statistics.median(values) for name, values in found.items()}
    yield f"{SWEEP}: 12 arms, {flags['steps']} steps of 8 rows, {rows} rows, ranks 4, 8 and 16"
    yield f"  sweep {seconds['sweep']:.1f} s, its longest arm alone {seconds['longest']:.1f} s"
    yield f"  sweep / longest: {median:.2f} ({least:.2f} to {most:.2f}); to reach: ≤ 4 " + (
        f"({'reached' if median <= 4 else 'MISSED'})"
    )
    sides.close()


def table(names: list[str], given: argparse.Namespace, machine: Machine) -> Iterator[str]:
    """The lines of these rows."""
    tiny = given.size == "tiny"
    for name in names:
        began = time.monotonic()
        if name == SWEEP:
            yield from sweep(max(1, given.pairs // 2), machine, tiny)
        elif name in GROWTH:
            yield from growth(name, max(1, given.pairs // 2), given.steps, machine, tiny)
        else:
            case = CASES[name]
            load = case.load.small() if tiny else case.load
            yield from lines(name, case, measured(load, given.pairs, given.steps, machine))
        yield f"  {time.monotonic() - began:.0f} s"
        yield ""


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.training", description=__doc__.split("\n")[0]
    )
    here = [name for name in NAMES if name not in LARGE]
    parser.add_argument("--rows", default=",".join(here), help=f"names among {', '.join(NAMES)}")
    parser.add_argument("--pairs", type=int, default=7, help="how often each way is timed")
    parser.add_argument("--steps", type=int, default=6, help="steps of a run; all but one count")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32", help="of the base")
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    given = parser.parse_args()
    if unknown := [name for name in given.rows.split(",") if name not in NAMES]:
        sys.exit(f"--rows {','.join(unknown)}: expected names among {', '.join(NAMES)}")
    if given.pairs < 1 or given.steps < 3:
        sys.exit(f"--pairs {given.pairs} --steps {given.steps}: expected at least 1 and 3")
    return given


def main() -> None:
    """Print the rows."""
    given = _given()
    warnings.simplefilter("ignore")
    torch.set_num_threads(given.threads)
    machine = Machine(given.device, DTYPES[given.dtype])
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    threads = f"{given.threads} thread{'s' * (given.threads != 1)}"
    print(f"$ {shlex.join(['python', '-m', 'tests.benchmarks.training', *sys.argv[1:]])}")
    print(
        f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · {threads}, "
        f"{given.dtype} on {given.device}, {given.pairs} pairs, {given.steps - 1} steps each\n"
    )
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # sessions write into the working directory
        for line in table(given.rows.split(","), given, machine):
            print(line, flush=True)
        os.chdir(here)


if __name__ == "__main__":
    main()
