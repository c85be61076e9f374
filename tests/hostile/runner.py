"""Judges many folders in a worker process, with limits on time and memory.

`python -m tests.hostile.runner WORK` is the worker: it reads numbers and writes one line of JSON
for each. `run` is the other end: it ends a worker whose folder takes too long, and starts another.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .generate import generate, valid

#: A hang: seconds of processor time for one folder, or of waiting if the processor is not used.
CPU_LIMIT, WALL_LIMIT = 5.0, 20.0
#: Seconds for the worker's start, and to make a folder.
STARTING, MAKING = 300.0, 60.0
#: Bytes of address space beyond what the worker has at its start, and of growth for one folder.
SPACE, GROWTH = 4 << 30, 1 << 30
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONIOENCODING": "utf-8:surrogatepass",
}


def worker(work: Path) -> None:
    from .judge import Judge, quieted, unsafe

    quieted()
    answers = os.fdopen(os.dup(1), "w")
    printed = open(work / "tmp" / f"printed-{os.getpid()}", "w+b")  # noqa: SIM115
    os.dup2(printed.fileno(), 1)
    os.dup2(printed.fileno(), 2)
    judge = Judge(work)
    for made in valid(work):  # imports on first use are not a folder's time
        judge.judge(made)
    space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (space + SPACE, resource.RLIM_INFINITY))
    print(json.dumps({"ready": os.getpid()}), file=answers, flush=True)
    for line in sys.stdin:
        made = generate(int(line), work)
        facts = {"number": made.number, "source": made.source, "kinds": made.kinds}
        print(json.dumps(facts), file=answers, flush=True)
        peak, start = _peak(), printed.seek(0, os.SEEK_END)
        found = judge.judge(made)
        printed.seek(start)
        if control := unsafe(printed.read().decode(errors="replace").replace("\r", ""), True):
            found["faults"].append(f"printed: {control}")
        if _peak() - peak > GROWTH:
            found["faults"].append(f"memory: {(_peak() - peak) >> 20} MB more")
        found |= {"outcome": "FAULT"} if found["faults"] else {}
        shutil.rmtree(made.folder.parent, ignore_errors=True)
        print(json.dumps(facts | found), file=answers, flush=True)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Worker:
    """The worker's process, seen from outside."""

    def __init__(self, work: Path) -> None:
        command = [sys.executable, "-m", "tests.hostile.runner", str(work)]
        places = {"TMPDIR": str(work / "tmp"), "HF_HOME": str(work / "tmp"), "PYTHONPATH": _root()}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # else two lines are read at once, and `select` sees no second one
            cwd=work / "out",
            env={**os.environ, **_ENVIRONMENT, **places},
        )
        if isinstance(started := self.answer(STARTING, STARTING), str):
            raise RuntimeError(f"the worker did not start ({started})")

    def answer(self, cpu: float, wall: float) -> dict[str, Any] | str:
        """The next line; after that much time without one, or at the worker's end, the reason."""
        assert self.process.stdout is not None
        used, waited, before = self._cpu(), 0.0, time.monotonic()
        while not select.select([self.process.stdout], [], [], 0.1)[0]:
            now = time.monotonic()
            # On a busy machine a process that could run has to wait as well; that is no hang.
            waited, before = waited + (now - before) * (self._stat()[0] in "ST"), now
            if self._cpu() - used > cpu:
                return f"hang: more than {cpu:g} s of processor time"
            if waited > wall:
                return f"hang: blocked for more than {wall:g} s"
        line = self.process.stdout.readline()
        return json.loads(line) if line else f"died: exit status {self.process.wait()}"

    def ask(self, number: int, cpu: float, wall: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n".encode())
        self.process.stdin.flush()
        made = self.answer(MAKING, MAKING)
        found = self.answer(cpu, wall) if isinstance(made, dict) else made
        if isinstance(found, dict):
            return found
        self.close()
        facts = made if isinstance(made, dict) else {"number": number, "source": "", "kinds": []}
        return facts | {"outcome": "FAULT", "faults": [found], "text": ""}

    def _stat(self) -> list[str]:
        """The worker's state, R if it can run, and what follows in /proc/PID/stat."""
        try:
            text = Path(f"/proc/{self.process.pid}/stat").read_text()
        except OSError:
            return ["Z", *"0" * 20]
        return text.rpartition(") ")[2].split()

    def _cpu(self) -> float:
        """Seconds of processor time so far, of all threads."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def _root() -> str:
    return str(Path(__file__).parents[2])


def run(
    numbers: Iterable[int],
    work: Path,
    cpu: float = CPU_LIMIT,
    wall: float = WALL_LIMIT,
    first: Worker | None = None,
) -> Iterator[dict[str, Any]]:
    """The judgement of each folder; `prepare(work)` has run.

    Begins with the worker `first`, and leaves it alive.
    """
    current = first
    try:
        for number in numbers:
            if current is None or current.process.poll() is not None:
                current = Worker(work)
            yield current.ask(number, cpu, wall)
    finally:
        if current is not None and current is not first:
            current.close()


if __name__ == "__main__":
    worker(Path(sys.argv[1]))
