"""The quickstart's memory, as a free Binder would see it: JupyterLab and one kernel.

    python tests/benchmarks/binder_memory.py [--limit 2048]

Starts JupyterLab and runs every cell of `notebooks/quickstart.ipynb` in a kernel that the server
started, on one core and one thread. As root, with control groups of version 1, a hard limit applies
to the memory of the server and its children: above it, Linux kills a process and the run fails.
A limit on the address space would not work: libraries reserve far more than they use.

`peak` is the largest sum of the processes' resident memory, sampled 20 times a second; shared pages
count for each process, so it is too high rather than too low. The group counts a file's pages only
if it read them first. `high water` is Linux's own maximum for each process. pytest does not collect
this file: bytes belong to the machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
import psutil
from jupyter_client.blocking.client import BlockingKernelClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
GROUPS = Path("/sys/fs/cgroup/memory")
GOAL = 1200  # MB
MB = 1e6
PATIENCE = 300
TOKEN = "quickstart"


@dataclass
class Watch:
    """Samples the memory of a process and its children until `done`."""

    root: psutil.Process
    peak: int = 0
    at: str = ""
    high_water: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)
    cell: str = "server"
    done: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        while not self.done.wait(0.05):
            total = 0
            for process in [self.root, *self.root.children(recursive=True)]:
                try:
                    total += process.memory_info().rss
                    self._note_high_water(process)
                except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
                    continue
            self.after[self.cell] = total
            if total > self.peak:
                self.peak, self.at = total, self.cell

    def _note_high_water(self, process: psutil.Process) -> None:
        role = "kernel" if "ipykernel_launcher" in " ".join(process.cmdline()) else "server"
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        mark = next((line for line in lines if line.startswith("VmHWM")), "VmHWM: 0")
        self.high_water[role] = max(self.high_water.get(role, 0), int(mark.split()[1]) * 1024)


@contextmanager
def memory_group(limit: int) -> Iterator[Path | None]:
    """A control group with that limit, or None if this process may not make one."""
    group = GROUPS / f"lora_magic_{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        yield group
    finally:
        group.rmdir()


def server(room: Path, group: Path | None) -> subprocess.Popen[bytes]:
    """JupyterLab on one core and one thread, in the group."""
    (room / "runtime").mkdir()

    def enter() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        if group:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={room / 'notebooks'}"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "JUPYTER_RUNTIME_DIR": str(room / "runtime"),
        "HF_HUB_OFFLINE": "1",
    }
    with (room / "log").open("wb") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, preexec_fn=enter)


def eventually(find: Any) -> Any:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return find()
        except (OSError, StopIteration, json.JSONDecodeError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def opened(room: Path) -> BlockingKernelClient:
    """A client of the kernel that the server starts for the quickstart."""
    described = eventually(
        lambda: json.loads(next(room.glob("runtime/jpserver-*.json")).read_text())
    )
    asked = {
        "path": "quickstart.ipynb",
        "type": "notebook",
        "name": "",
        "kernel": {"name": "python3"},
    }
    request = urllib.request.Request(
        f"{described['url']}api/sessions",
        json.dumps(asked).encode(),
        {"Content-Type": "application/json", "Authorization": f"token {TOKEN}"},
    )
    kernel = json.load(eventually(lambda: urllib.request.urlopen(request)))["kernel"]["id"]
    client = BlockingKernelClient(connection_file=str(room / "runtime" / f"kernel-{kernel}.json"))
    eventually(client.load_connection_file)
    client.start_channels()
    client.wait_for_ready(timeout=PATIENCE)
    return client


def run(room: Path, group: Path | None) -> Watch:
    """Run every cell of the quickstart under a watch."""
    shutil.copytree(NOTEBOOKS, room / "notebooks")
    process = server(room, group)
    watch = Watch(psutil.Process(process.pid))
    looking = threading.Thread(target=watch.look)
    looking.start()
    try:
        client = opened(room)
        for cell in nbformat.read(NOTEBOOKS / "quickstart.ipynb", as_version=4).cells:
            if cell.cell_type == "code":
                watch.cell = cell.source.partition("\n")[0]
                reply = client.execute_interactive(
                    cell.source, timeout=PATIENCE, output_hook=lambda _: None
                )
                assert reply["content"]["status"] == "ok", reply["content"]["evalue"]
        client.shutdown()
        client.stop_channels()
    finally:
        watch.done.set()
        looking.join()
        process.terminate()
        process.wait()
    return watch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=2048, help="MiB")
    given = parser.parse_args()
    with (
        memory_group(given.limit * 2**20) as group,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
    ):
        watch = run(Path(folder), group)
        held = int((group / "memory.max_usage_in_bytes").read_text()) if group else None
        refused = int((group / "memory.failcnt").read_text()) if group else None
    names = ("torch", "transformers", "peft", "jupyterlab", "ipykernel")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    print(f"$ python {shlex.join(sys.argv)}")
    print(f"{datetime.date.today()} · Python {platform.python_version()}, {versions} · 1 core")
    print(f"peak: {watch.peak / MB:.0f} MB of server and kernel, in `{watch.at}` (goal {GOAL} MB)")
    marks = ", ".join(f"{role} {size / MB:.0f} MB" for role, size in watch.high_water.items())
    print(f"high water of each process: {marks}")
    if held is None:
        print("no limit: a control group of version 1 cannot be made here")
    else:
        print(
            f"under a hard limit of {given.limit} MiB: the group held {held / MB:.0f} MB at most, "
            f"the limit was reached {refused} times"
        )
    for cell, size in watch.after.items():
        print(f"  {size / MB:5.0f} MB after {cell}")


if __name__ == "__main__":
    main()
