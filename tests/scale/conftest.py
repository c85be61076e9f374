"""A real Ray cluster on this machine, for all tests of one pytest process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

#: Ray's own processes of a cluster, and those it keeps for the next job.
_OWN = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent", "ray::_Autoscaling")


@dataclass(frozen=True)
class RayCluster:
    """Its address, and the folder that its processes have in their command line."""

    address: str
    folder: Path

    def processes(self) -> dict[int, str]:
        """The command lines of all of its processes, by their ids."""
        raylets = {pid: line for pid, line in _running().items() if str(self.folder) in line}
        workers = {pid: line for pid, line in _running().items() if _parent(pid) in raylets}
        return {**raylets, **workers}

    def busy(self) -> list[str]:
        """The workers and other actors that run."""
        names = [line for line in self.processes().values() if line.startswith("ray::")]
        return [name for name in names if not name.startswith(_OWN)]

    def rests(self) -> list[str]:
        """What runs still after a while: nothing, unless it is forgotten."""
        end = time.monotonic() + 30
        while self.busy() and time.monotonic() < end:
            time.sleep(0.2)
        return self.busy()


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayCluster]:
    """Two processors. Its processes are ended one by one: `ray stop` ends other clusters, too."""
    # Sockets lie in it, whose paths are short.
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    made = RayCluster(f"127.0.0.1:{port}", folder)
    command = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", f"--port={port}"),
        *("--num-cpus=2", "--include-dashboard=false", "--object-store-memory=80000000"),
        *(f"--temp-dir={folder}", "--disable-usage-stats"),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        yield made
    finally:
        for pid in made.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _running() -> dict[int, str]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(path.parent.name)] = path.read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            continue
    return found


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
