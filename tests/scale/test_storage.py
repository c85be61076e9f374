"""The folder of a run on Ray: removed after it, and after a killed one a day later; no other is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_magic.scale.ray.storage import Storage, storage

#: A kernel in the middle of a run.
RUNNING = """
import sys
from lora_magic.scale.ray.storage import Storage
made = Storage(sys.argv[1])
made.hold()
made.path.mkdir()
(made.path / "snapshot.json").touch()
print(made.path.name, flush=True)
sys.stdin.readline()
"""

Kernel = tuple["subprocess.Popen[str]", Path]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Kernel]:
    """Another kernel with the same home, and the folder of its run."""
    command = [sys.executable, "-c", RUNNING, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        yield child, tmp_path / "ray" / child.stdout.readline().strip()
        child.kill()


def aged(folder: Path, hours: float) -> None:
    """As if its run had begun so long ago."""
    for path in folder.parent.glob(f"{folder.name}*"):
        then = path.stat().st_mtime - 3600 * hours
        os.utime(path, (then, then))


def another_run(home: Path) -> list[str]:
    """What is in Ray's part of the home after a further run."""
    with storage(str(home)) as made:
        made.hold()
        made.path.mkdir()
    return sorted(path.name for path in home.glob("ray/*"))


def test_nothing_is_left_of_a_run(tmp_path: Path) -> None:
    assert another_run(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    with storage(str(tmp_path)):
        pass  # as when no cluster answers
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_run_that_goes_on_stays_however_old(other: Kernel, tmp_path: Path) -> None:
    child, folder = other
    aged(folder, 1000)
    assert folder.name in another_run(tmp_path)
    assert (folder / "snapshot.json").exists()
    assert child.poll() is None


@pytest.mark.parametrize(("hours", "stays"), [(23, True), (25, False)])
def test_the_folder_of_a_killed_run_goes_after_a_day(
    hours: float, stays: bool, other: Kernel, tmp_path: Path
) -> None:
    child, folder = other
    child.kill()
    child.wait()
    aged(folder, hours)
    assert bool(another_run(tmp_path)) == stays
    assert folder.exists() == stays


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    """Files without a lock, of another machine, of other names; what a link leads to."""
    mine = tmp_path / "mine"
    mine.mkdir()
    ray = tmp_path / "ray"
    ours = Storage(str(tmp_path)).path
    lock = f"{ours.name}.{socket.gethostname()}.lock"
    for name in ("lora_magic-0123456789ab", "notes", "lora_magic-mine"):
        (ray / name).mkdir(parents=True)
    (ray / "lora_magic-0123456789ab.elsewhere.lock").touch()
    (ray / f"lora_magic-mine.{socket.gethostname()}.lock").touch()
    (ray / lock).symlink_to(mine)
    ours.mkdir()
    before = sorted(path.name for path in ray.iterdir())
    for path in ray.iterdir():
        os.utime(path, (0, 0), follow_symlinks=False)
    assert another_run(tmp_path) == before
    assert mine.exists()


def test_a_folder_that_cannot_be_removed_is_named(other: Kernel, tmp_path: Path) -> None:
    child, folder = other
    child.kill()
    child.wait()
    (folder / "snapshot.json").unlink()
    folder.rmdir()
    # A link is not followed.
    folder.symlink_to(tmp_path)
    aged_lock = next(folder.parent.glob(f"{folder.name}.*.lock"))
    os.utime(aged_lock, (0, 0))
    with pytest.warns(RuntimeWarning, match=f"{folder.name}, which a killed run has left"):
        another_run(tmp_path)
    assert tmp_path.exists()
