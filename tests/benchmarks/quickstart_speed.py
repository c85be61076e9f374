"""The quickstart as a newcomer runs it: seconds to the first answer, and to the end.

    python tests/benchmarks/quickstart_speed.py [--runs 3] [--threads N]

Runs each cell of `notebooks/quickstart.ipynb` in a new kernel. `first answer` is the time from the
start of the kernel to the end of the first `%lora ask`, imports included. `after imports` is the
rest, without the import of the Trainer, which a training of one step in an extra cell does first.
pytest does not collect this file: seconds belong to the machine.
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
from importlib.metadata import version
from pathlib import Path

import nbformat
from nbclient import NotebookClient

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
WARM = (
    "%lora attach warm\n%lora train warm --data warm_rows --steps 1;\n%lora detach warm --discard"
)


def run(folder: str) -> tuple[float, float]:
    """Seconds to the first answer, and of all later cells without imports."""
    notebook = nbformat.read(QUICKSTART, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}})
    cells = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    asked = next(i for i in cells if notebook.cells[i].source.startswith("%lora ask"))
    warm = nbformat.v4.new_code_cell(f"warm_rows = [('a', 'b')]\n{WARM}")
    began = time.perf_counter()
    with client.setup_kernel():
        for index in [i for i in cells if i <= asked]:
            client.execute_cell(notebook.cells[index], index)
        first = time.perf_counter() - began
        notebook.cells.append(warm)
        client.execute_cell(warm, len(notebook.cells) - 1)
        went_on = time.perf_counter()
        for index in [i for i in cells if i > asked]:
            client.execute_cell(notebook.cells[index], index)
        return first, time.perf_counter() - went_on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", help="OMP_NUM_THREADS of the kernel (unchanged)")
    given = parser.parse_args()
    if given.threads:
        os.environ["OMP_NUM_THREADS"] = given.threads
    with tempfile.TemporaryDirectory() as folder:
        found = [run(folder) for _ in range(given.runs)]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft"))
    print(f"$ python {shlex.join(sys.argv)}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · {cores} cores"
    )
    for name, limit, column in (("first answer", 15, 0), ("after imports", 90, 1)):
        seconds = sorted(pair[column] for pair in found)
        print(
            f"{name}: {statistics.median(seconds):.1f} s "
            f"({seconds[0]:.1f} to {seconds[-1]:.1f}, {given.runs} runs; limit {limit} s)"
        )


if __name__ == "__main__":
    main()
