"""What start-up, a second worker and a restart cost on this machine: the last section of scale.md.

Three things, on a random Llama that is saved to a folder, with a LoRA of rank 8 on all linear
layers, in float32. Workers are those of `train --workers 2`; Ray's are on a cluster that runs
already. Wall seconds, seen from the session's process; the ways alternate, and their order turns
round each time. Knows sessions and processes; `scale` writes the page.
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import torch

from lora_magic.base import device
from lora_magic.errors import WorkerError
from lora_magic.state.session import Session
from lora_magic.training.reporter import Reporter, Result, RunPlan, StepPoint
from tests.benchmarks.steps import Load, Machine, a_base, in_turn, some_rows

SHAPE, ROWS, LONGEST = "60m-32k", 8, 128
#: Pairs of each comparison; steps of a run whose speed counts; restarts.
PAIRS, STEPS, RESTARTS = 3, 8, 2
#: A worker ends after this step, at the earliest; seconds between checkpoints, and steps, then.
KILLED_AFTER, EVERY, LONG = 12, 3.0, 40


@dataclass
class Watch(Reporter):
    """When each step of a run was reported; `after` is called with its number."""

    after: Callable[[int], object] = lambda step: None
    began: float = field(default_factory=time.perf_counter)
    seen: dict[int, float] = field(default_factory=dict)
    notes: list[tuple[float, str]] = field(default_factory=list)
    done: int = 0

    def start(self, plan: RunPlan) -> None:
        """Before the first step: how many an earlier run has done."""
        self.done = len(plan.losses)

    def note(self, line: str) -> None:
        """What happened on the way."""
        self.notes.append((time.perf_counter(), line))

    def step(self, point: StepPoint) -> None:
        """The end of a step."""
        self.seen.setdefault(point.step, time.perf_counter())
        self.after(point.step)

    def finish(self, summary: Result) -> None:
        """Nothing: the steps are what counts."""

    @property
    def first(self) -> float:
        """Seconds from the call to the end of the first step."""
        return min(self.seen.values()) - self.began

    @property
    def each(self) -> float:
        """Seconds of a step, without the first."""
        times = sorted(self.seen.values())
        return (times[-1] - times[0]) / (len(times) - 1)


@dataclass(frozen=True)
class Runs:
    """A session with an adapter, its rows, and where Ray is."""

    session: Session
    rows: Sequence[tuple[str, str]]
    address: str

    def flags(self, way: str) -> dict[str, Any]:
        """The flags of a way of running."""
        ray = {"workers": 2, "engine": "ray", "address": self.address}
        return {"one": {}, "local": {"workers": 2}, "ray": ray}[way]

    def run(self, way: str, steps: int, watch: Watch | None = None, **more: Any) -> Watch:
        """Train the adapter from its initial state."""
        watch = watch or Watch()
        flags = {"steps": steps, "batch_size": ROWS, "eval": 0, "checkpoint_every": 600.0, **more}
        self.session.train("one", self.rows, reporter=watch, **flags, **self.flags(way))
        return watch

    def alone(self, threads: int) -> float:
        """Seconds of a step in this process."""
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return self.run("one", STEPS).each
        finally:
            torch.set_num_threads(before)


def measured() -> str:
    """All of results/scale.txt."""
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "transformers", "accelerate", "ray")
    )
    found = [
        "$ python -m tests.benchmarks.scale --measure",
        f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · "
        f"{os.cpu_count()} cores, no GPU",
    ]
    with prepared() as runs:
        for part in (start_up, speed_up, restarts_on_ray, resumed_here):
            found += ["", *part(runs)]
            print("\n".join(found[-4:]), file=sys.stderr, flush=True)
    return "\n".join(found) + "\n"


@contextmanager
def prepared() -> Iterator[Runs]:
    """The session, on a base that workers can read, and a cluster."""
    device.ONE_THREAD_LIMIT = 0  # without the package's own choice of threads
    with tempfile.TemporaryDirectory(prefix="scale") as folder, cluster(folder) as address:
        base = Path(folder) / "base"
        model, tokenizer = a_base(SHAPE, Machine())
        model.save_pretrained(base)
        tokenizer.save_pretrained(base)
        rows = some_rows(Load(SHAPE, ROWS, LONGEST), 8 * ROWS, tokenizer)
        session = Session()
        session.load(str(base), dtype="fp32", home=folder)
        session.attach("one", rank=8, targets="all-linear")
        yield Runs(session, [(row.prompt, row.completion) for row in rows], address)
        session.reset()


@contextmanager
def cluster(folder: str) -> Iterator[str]:
    """A Ray cluster of two CPUs for the block; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
    command += [f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    command += ["--object-store-memory=80000000", f"--temp-dir={folder}/ray"]
    command += ["--disable-usage-stats"]
    head = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said = _until_started(head)
        if said is not None:
            sys.exit(f"ray start did not come up:\n{said}")
        yield f"127.0.0.1:{port}"
    finally:
        # It ends all that it started.
        head.terminate()
        head.wait(60)


def _until_started(head: subprocess.Popen[str]) -> str | None:
    """Wait until the node of a cluster has registered; what was said instead if it has not."""
    said = []
    for line in head.stdout or ():
        if "Ray runtime started" in line:
            return None
        said.append(line)
    return "".join(said)


def start_up(runs: Runs) -> Iterator[str]:
    """From the call to the end of the first step, in one process and with two workers."""
    ways = {way: (lambda way=way: runs.run(way, 1).first) for way in ("one", "local", "ray")}
    ways["one"]()  # imports
    found = in_turn(ways, PAIRS)
    yield f"start-up: {model_line(runs)}; from the call to the end of the first step"
    yield f"  this process                 {spread(found['one'])}"
    yield f"  2 workers, this machine      {spread(found['local'])}"
    yield f"  2 workers, a running cluster {spread(found['ray'])}"


def speed_up(runs: Runs) -> Iterator[str]:
    """A step of the same rows: one process with one thread and with two, and two workers."""
    ways = {
        "1 thread": lambda: runs.alone(1),
        "2 threads": lambda: runs.alone(2),
        "2 workers": lambda: runs.run("local", STEPS).each,
    }
    found = in_turn(ways, PAIRS)
    yield f"speed-up: a step of the same {ROWS} rows, in runs of {STEPS} steps without the first"
    for way, told in (
        ("1 thread", "one process, 1 thread       "),
        ("2 threads", "one process, 2 threads      "),
        ("2 workers", "2 workers, 1 thread each    "),
    ):
        yield f"  {told} {spread(found[way])}"
    for way in ("1 thread", "2 threads"):
        faster = [a / b for a, b in zip(found[way], found["2 workers"], strict=True)]
        yield f"  2 workers over one process with {way}: {spread(faster, '×')}"


def restarts_on_ray(runs: Runs) -> Iterator[str]:
    """SIGKILL of one of Ray's workers in the middle of a run, which goes on by itself."""
    waits, again = [], []
    for _ in range(RESTARTS):
        kill = Kill("RayTrainWorker")
        runs.run("ray", LONG, kill.watch, checkpoint_every=EVERY)
        resumed = max(at for at, line in kill.watch.notes if "again" in line or "resumed" in line)
        waits.append(min(at for at in kill.watch.seen.values() if at > resumed) - kill.at)
        before = [step for step, at in kill.watch.seen.items() if at < resumed]
        again.append(max(before) - _resumed_after(kill.watch))
    yield f"restart on Ray: SIGKILL of a worker after step {KILLED_AFTER}, {_often()}"
    yield f"  until the first new step     {spread(waits)}"
    yield f"  steps done again             {spread(again, '')}"


def resumed_here(runs: Runs) -> Iterator[str]:
    """SIGKILL of a worker on this machine: the run ends with an error, and --resume goes on."""
    errors, waits, again = [], [], []
    for _ in range(RESTARTS):
        kill = Kill("lora_magic.scale.child")
        try:
            runs.run("local", LONG, kill.watch, checkpoint_every=EVERY)
        except WorkerError:
            errors.append(time.perf_counter() - kill.at)
        last = max(kill.watch.seen)
        resumed = runs.run("local", LONG, checkpoint_every=EVERY, resume=True)
        waits.append(resumed.seen[last + 1] - kill.at)
        again.append(last - resumed.done)
    yield f"a worker here: SIGKILL after step {KILLED_AFTER}, then --resume at once, {_often()}"
    yield f"  until the error              {spread(errors)}"
    yield f"  until the first new step     {spread(waits)}"
    yield f"  steps done again             {spread(again, '')}"


def _often() -> str:
    return f"checkpoints every {EVERY:g} s"


def _resumed_after(watch: Watch) -> int:
    """The step after which a run went on, from the line that says so; 0 if it began again."""
    found = [re.search(r"resumed after step (\d+)", line) for _, line in watch.notes]
    return max((int(one[1]) for one in found if one), default=0)


@dataclass
class Kill:
    """Kills one of the workers after a step, once; `at` is when, in the seconds of its `watch`.

    `word` is in the command lines of the workers.
    """

    word: str
    at: float = 0.0
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.after)

    def after(self, step: int) -> None:
        """The worker's end, if it is time."""
        if step < KILLED_AFTER or self.at:
            return
        found = psutil.Process().children(recursive=True)
        workers = [one for one in found if self.word in " ".join(one.cmdline())]
        self.at = time.perf_counter()
        max(workers, key=lambda one: one.pid).kill()


def model_line(runs: Runs) -> str:
    """What is trained."""
    base = sum(p.numel() for p in runs.session.model.parameters())
    return f"a Llama of {base / 1e6:.0f}M parameters, {ROWS} rows a step"


def spread(values: Sequence[float], unit: str = " s") -> str:
    """Median, quartiles, and how many; a single value alone."""
    if len(values) == 1:
        return f"{values[0]:.2f}{unit}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.2f}{unit} ({low:.2f} to {high:.2f}, {len(values)})"
