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
from contextlib import contextmanager, suppress
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
        return _processes(self.folder)

    def busy(self) -> list[str]:
        """The workers and other actors that run."""
        names = [line for line in self.processes().values() if line.startswith("ray::")]
        return [name for name in names if not name.startswith(_OWN)]

    def rests(self) -> list[str]:
        """What runs still after a while: nothing, unless it is forgotten."""
        end = time.monotonic() + 60
        while self.busy() and time.monotonic() < end:
            time.sleep(0.2)
        return self.busy()


@pytest.fixture(scope="session")
def cluster() -> Iterator[RayCluster]:
    """Two processors. Each process of pytest that needs a cluster has its own."""
    # Ray gives a node 30 s to register, which is too little on a busy machine.
    for last in (False, False, True):
        with _folder() as folder:
            made = RayCluster(f"127.0.0.1:{_free_port()}", folder)
            done = _start(made)
            if done.returncode == 0:
                yield made
                return
            assert not last, done.stdout + done.stderr


@contextmanager
def _folder() -> Iterator[Path]:
    """For the files of a cluster, whose processes end after the block and with this process."""
    # Sockets lie in it, whose paths are short.
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    keeper = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, text=True, start_new_session=True
    )
    assert keeper.stdin is not None  # a pipe
    keeper.stdin.write(str(folder))
    keeper.stdin.flush()
    try:
        yield folder
    finally:
        keeper.communicate()


def _start(made: RayCluster) -> subprocess.CompletedProcess[str]:
    port = made.address.rpartition(":")[2]
    command = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", f"--port={port}"),
        *("--num-cpus=2", "--include-dashboard=false", "--object-store-memory=80000000"),
        *(f"--temp-dir={made.folder}", "--disable-usage-stats"),
    ]
    # Once it has registered, a node ends after 30 s without its agent, which imports much.
    patient = {**os.environ, "RAY_agent_register_timeout_ms": "400000"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=patient)


def _end(folder: Path) -> None:
    """End a cluster's processes one by one: `ray stop` ends other clusters, too."""
    while found := _processes(folder):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def _processes(folder: Path) -> dict[int, str]:
    """Those that name the folder, and the workers, which a node starts and renames."""
    running = _running()
    nodes = {pid: line for pid, line in running.items() if str(folder) in line}
    workers = {pid: line for pid, line in running.items() if _parent(pid) in nodes}
    return {**nodes, **workers}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


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


if __name__ == "__main__":  # the keeper of a folder, whose input ends with those who need it
    _end(Path(sys.stdin.read()))
