"""The home folder's lock: the first kernel keeps it, a second one is told once and works on."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path
from typing import Any

import filelock
import pytest

from lora_magic.state.home import shared_with
from lora_magic.state.session import Session
from tests.state.test_ledger import FILE, lines, run

HOLDING = """
import sys
from pathlib import Path
from lora_magic.state.home import shared_with
print(shared_with(Path(sys.argv[1])), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other() -> Any:
    """Another process with the home folder `.lora_magic`."""
    child = run(HOLDING, FILE.parent)
    assert child.stdout is not None
    assert child.stdout.readline() == "None\n", child.communicate()[1]
    yield child
    child.kill()
    child.communicate()


def test_a_second_kernel_is_told_once_and_its_entries_are_kept(other: Any) -> None:
    session = Session()

    def work() -> None:
        session.load("demo")
        session.attach("one", rank=2)

    with pytest.warns(RuntimeWarning) as seen:
        work()
    [line] = [str(warning.message) for warning in seen]
    assert f"another kernel (pid {other.pid}) uses the home folder" in line
    assert "--home FOLDER" in line
    assert "\n" not in line
    assert [entry["verb"] for entry in lines()] == ["load", "attach"]


def test_the_lock_of_a_killed_kernel_is_free(other: Any) -> None:
    assert shared_with(FILE.parent) == f"another kernel (pid {other.pid})"
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert shared_with(FILE.parent) is None
    assert (FILE.parent / ".lock").read_text() == str(os.getpid())


def test_two_sessions_of_one_kernel_share_the_folder() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for session in (Session(), Session()):
            session.load("demo")
            assert shared_with(session.home) is None
            session.reset()
    assert [entry["verb"] for entry in lines()] == ["load", "reset", "load", "reset"]
    assert len({entry["session"] for entry in lines()}) == 2


@pytest.mark.parametrize("error", [NotImplementedError, OSError, PermissionError])
def test_a_drive_without_locks_costs_nothing(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error("no locks here")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    session = Session()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session.load("demo")
    assert [entry["verb"] for entry in lines()] == ["load"]


def test_a_folder_that_was_removed_is_locked_again(tmp_path: Path) -> None:
    import shutil

    home = tmp_path / "home"
    assert shared_with(home) is None
    shutil.rmtree(home)
    assert shared_with(home) is None
    child = run(HOLDING, home)
    assert child.communicate("\n")[0] == f"another kernel (pid {os.getpid()})\n"


def test_the_lock_writes_through_no_link(tmp_path: Path) -> None:
    home, precious = tmp_path / "home", tmp_path / "precious"
    home.mkdir()
    precious.write_text("keep me")
    (home / ".lock").symlink_to(precious)
    assert shared_with(home) is None
    assert precious.read_text() == "keep me"
