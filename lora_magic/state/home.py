"""The home folder's lock: the first kernel that writes there keeps it until it ends.

A second kernel is told, and works on. Knows folders and locks; knows no session and not what the
folder holds. Imports filelock with the first write, not before.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lora_magic import reading

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK = ".lock"
#: The locks that one process keeps, the latest ones: each takes a file descriptor.
MOST = 16

#: This process's locks by path: its sessions share them, and its end releases them, even a kill.
_locks: dict[Path, BaseFileLock] = {}


def shared_with(home: Path) -> str | None:
    """Who else uses this folder, `another kernel (pid 4711)`; None if nobody does.

    The folder is made if needed, and locked by the first process that asks. None also where the
    drive has no locks or cannot be written: a lock is never worth a verb.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        path = home.resolve() / LOCK
        # A lock on a folder that was removed since then is a lock on nothing.
        if path in _locks and path.exists():
            return None
        return _acquire(path)
    except (OSError, NotImplementedError):
        return None


def _acquire(path: Path) -> str | None:
    from filelock import FileLock, Timeout

    # Where no file can be made, filelock would wait for one.
    path.touch()
    # Read first: some releases of filelock empty the file before they try to lock it.
    other = _pid(path)
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return f"another kernel (pid {other})" if other else "another kernel"
    _locks[path] = lock
    while len(_locks) > MOST:
        _locks.pop(next(iter(_locks))).release()
    _write(path, str(os.getpid()))
    return None


def _pid(path: Path) -> str:
    """The process that the lock's file names; "" if it names none."""
    try:
        text = reading.read_text(path, 100).strip()
    except reading.UnreadableError:  # on Windows a locked file cannot be read
        return ""
    return text if text.isdecimal() else ""


def _write(path: Path, text: str) -> None:
    # Not through a link: what it leads to is not ours.
    opened = os.open(path, os.O_WRONLY | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0))
    try:
        os.write(opened, text.encode())
    finally:
        os.close(opened)
