"""The cost of the embedded model: size, loading, memory and speed.

    python tests/benchmarks/demo_cost.py [--runs 5]

Each run is a new process on one thread. `load` is `session.load("demo")` after the imports of
torch, transformers and peft, checksums included; the first load of a process also imports the
model's class, so both are measured. `peak` is the maximum memory of the process after load, attach,
60 training steps, and a comparison of base and adapter. `tokens a second` is `session.ask`, greedy,
over all suggested prompts. pytest does not collect this file: the figures belong to the machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

MB = 1e6
LIMITS = {"files MB": 12, "load s": 0.1, "peak MB": 800, "tokens a second": 400}


def high_water() -> float:
    """The maximum memory of this process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    mark = next(line for line in lines if line.startswith("VmHWM"))
    return int(mark.split()[1]) * 1024 / MB


def once() -> dict[str, float]:
    """All figures of one process."""
    import peft  # noqa: F401 - its import is no part of what is timed
    import torch
    import transformers  # noqa: F401 - as above

    import lora_magic
    from lora_magic import demo

    torch.set_num_threads(1)
    found = {"files MB": sum(p.stat().st_size for p in demo.folder().iterdir()) / MB}
    imported = high_water()
    loads = []
    for _ in range(2):
        demo.folder.cache_clear()
        session = lora_magic.Session()
        begun = time.perf_counter()
        session.load("demo")
        loads.append(time.perf_counter() - begun)
    found |= {"imports MB": imported, "first load s": loads[0], "load s": loads[1]}
    found["after load MB"] = high_water()
    begun, tokens = time.perf_counter(), 0
    for prompt in demo.SUGGESTED_PROMPTS:
        tokens += session.ask(prompt).tokens
    found["tokens a second"] = tokens / (time.perf_counter() - begun)
    session.attach("pirate", rank=8)
    begun = time.perf_counter()
    session.train("pirate", list(demo.rows("pirate", 150)), steps=60)
    found["train s"] = time.perf_counter() - begun
    found["after train MB"] = high_water()
    session.compare(demo.SUGGESTED_PROMPTS[0])
    found["peak MB"] = high_water()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(once()))
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = []
    for _ in range(given.runs):
        done = subprocess.run(
            [sys.executable, __file__, "--once"],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        found.append(json.loads(done.stdout.strip().splitlines()[-1]))
    print(f"$ python {shlex.join(sys.argv)}")
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(
        f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · "
        f"{os.cpu_count()} cores, one thread · {given.runs} processes"
    )
    for name in found[0]:
        values = [figures[name] for figures in found]
        aim = f"  (aim {LIMITS[name]})" if name in LIMITS else ""
        print(
            f"{name:16} median {statistics.median(values):8.3f}  from {min(values):.3f} "
            f"to {max(values):.3f}{aim}"
        )


if __name__ == "__main__":
    main()
