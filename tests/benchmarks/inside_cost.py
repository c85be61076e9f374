"""The cost of the record of a run's inside (gradient norms, σ, ‖ΔW‖, rank) beside the 1 % limit.

    python -m tests.benchmarks.inside_cost [--rows NAME,NAME] [--pairs 5] [--threads 1]

Trains alternately with the record and without it in one process. The share is the CPU seconds
inside the recorder, its plan included, over those of the run's steps; the ratio of the steps' CPU
seconds with and without is noisier, since other work on the machine reaches it too. pytest does not
collect this file.
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
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any
from unittest.mock import patch

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch

from lora_magic.state import inside_run
from tests.benchmarks.steps import Load, Machine, Sides, in_turn

#: What is trained, and for how many steps.
CASES = {
    "embedded-20": (Load("embedded", longest=60), 20),
    "embedded-60": (Load("embedded", longest=60), 60),
    "embedded-150": (Load("embedded", longest=60), 150),
    "16m-20": (Load("16m-2k", longest=100), 20),
    "60m-12": (Load("60m-32k", rows=4, longest=100), 12),
}
LIMIT = 0.01


@contextmanager
def timed(machine: Machine) -> Iterator[list[float]]:
    """The seconds of each call of a recorder within the block."""
    spent: list[float] = []

    def around(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **flags: Any) -> Any:
            began = machine.now()
            try:
                return work(*args, **flags)
            finally:
                spent.append(machine.now() - began)

        return call

    kind = inside_run.Recorder
    with patch.multiple(kind, **{name: around(getattr(kind, name)) for name in ("plan", "read")}):
        yield spent


def row(name: str, load: Load, steps: int, pairs: int, machine: Machine) -> str:
    """One line of the table."""
    sides = Sides(load, steps, machine)
    shares: list[float] = []
    counts = []

    def run(recorded: bool) -> float:
        clock = sides.clock()
        maker = inside_run.recorder_of if recorded else lambda *_: None
        with timed(machine) as spent, patch.object(inside_run, "recorder_of", maker):
            sides.ours(clock)
        if recorded:
            # The clock leaves the first step out.
            shares.append(sum(spent) / (clock.seconds * steps / (steps - 1)))
            counts.append(len(spent) - 1)
        return clock.seconds

    ways = {"with": lambda: run(True), "without": lambda: run(False)}
    in_turn(ways, 1)
    shares.clear()
    found = in_turn(ways, pairs)
    attached = sides.session._state.attached[sides.names[0]]
    recorder = inside_run.Recorder(sides.session._state.base, attached)
    recorder.plan(steps, sides.real / len(sides.counted))
    ratios = [a / b for a, b in zip(found["with"], found["without"], strict=True)]
    share, most = statistics.median(shares), max(shares)
    sides.close()
    return (
        f"{name:14} {steps:5} {statistics.median(found['with']) / (steps - 1) * 1e3:9.1f} "
        f"{counts[-1]:8} {len(recorder._followed):4} of {recorder.modules:<3} {share:7.2%} "
        f"{most:7.2%} {statistics.median(ratios):12.3f}  "
        f"{'kept' if share <= LIMIT else 'MISSED'}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.inside_cost")
    parser.add_argument("--rows", default=",".join(CASES))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if unknown := [name for name in given.rows.split(",") if name not in CASES]:
        sys.exit(f"--rows {','.join(unknown)}: expected names among {', '.join(CASES)}")
    warnings.simplefilter("ignore")
    torch.set_num_threads(given.threads)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"$ {shlex.join(['python', '-m', 'tests.benchmarks.inside_cost', *sys.argv[1:]])}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions}")
    print(
        f"rank 12 on all linear layers, {given.pairs} pairs; limit {LIMIT:.0%} of the CPU seconds\n"
    )
    print(f"{'':14} steps  ms a step readings  modules    share    most  with/without")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # sessions write into the working directory
        for name in given.rows.split(","):
            print(row(name, *CASES[name], given.pairs, Machine()), flush=True)
        os.chdir("/")


if __name__ == "__main__":
    main()
