"""One thread against two for the embedded model, on an idle machine and on a busy one.

    python tests/benchmarks/threads_speed.py [--rounds 5] [--steps 10]

Trains and compares with torch on one thread and on two, alternately; then again while another
process keeps a core busy. Prints the median ratios of seconds, on which the choice of one thread
for small models rests. pytest does not collect this file.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from lora_magic.base import device
from lora_magic.state.session import Session

ROWS = [(f"What does a fox eat, {n}?", "How wonderful! Berries and mice!") for n in range(10)]


def seconds(work: Callable[[], object], count: int) -> float:
    torch.set_num_threads(count)
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def show_ratio(name: str, work: Callable[[], object], rounds: int) -> None:
    work()
    ratios = sorted(seconds(work, 2) / seconds(work, 1) for _ in range(rounds))
    print(f"{name}, 2 threads / 1: {statistics.median(ratios):.2f}× "
          f"({ratios[0]:.2f} to {ratios[-1]:.2f}, {rounds} rounds)")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    given = parser.parse_args()
    device.ONE_THREAD_LIMIT = 0  # without the package's own choice of threads, which this measures
    session = Session()
    session.load("demo")
    session.attach("one")
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"$ python {shlex.join(sys.argv)}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · "
          f"{os.cpu_count()} cores")  # fmt: skip
    for state, company in (("idle", nullcontext()), ("one core busy", Busy())):
        with company:
            show_ratio(
                f"{state}: train",
                lambda: session.train("one", ROWS, steps=given.steps),
                given.rounds,
            )
            show_ratio(
                f"{state}: compare", lambda: session.compare("What does a fox eat?"), given.rounds
            )


class Busy:
    """Another process that keeps a core busy for the length of a block."""

    def __enter__(self) -> None:
        self.other = subprocess.Popen([sys.executable, "-c", "while True: pass"])

    def __exit__(self, *error: object) -> None:
        self.other.kill()


if __name__ == "__main__":
    main()
