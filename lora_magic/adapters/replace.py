"""Replaces a folder so that a kill at any moment leaves the old one or the new one.

The new folder is written beside the old one, in `.NAME-xxxxxxxx/new`, and flushed to the disk. Then
the two are exchanged: in one step where the system can (Linux), else by two renames with the old
one in `.NAME-xxxxxxxx/old`. A kill between the two renames leaves no NAME, but both folders, and
`settle` completes the exchange. Knows folders, locks and renames; knows no adapter.
"""

from __future__ import annotations

import ctypes
import glob
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lora_magic.errors import LoraMagicError
from lora_magic.interrupts import undisturbed

#: Seconds to wait for another kernel that saves to the same folder.
WAIT = 10.0

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class BusyError(OSError):
    """Another process is writing the folder."""


@contextmanager
def locked(folder: Path, wait: float = WAIT) -> Iterator[None]:
    """The right to write a folder, by a lock file beside it.

    Raises `BusyError` after `wait` seconds. A file system without locks gives the right at once.
    """
    path = folder.parent / f".{folder.name}.lock"
    lock = FileLock(path, timeout=wait)
    for _ in range(5):
        # Where no file can be made, filelock would wait for one.
        path.touch()
        try:
            lock.acquire()
        except Timeout:
            raise BusyError(
                "another process is writing it; try again when it has finished"
            ) from None
        except NotImplementedError:
            break
        # The previous holder may have removed the file while we waited for it.
        if path.exists():
            break
        lock.release()
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        lock.release()


@contextmanager
def parents(target: Path, command: str, kind: type[LoraMagicError]) -> Iterator[None]:
    """Make the folders that a new one needs; on an error those that are new are removed again.

    Raises an error of the `kind` for a place where no folder can be replaced.
    """
    blocking = next((p for p in target.parents if os.path.lexists(p) and not p.is_dir()), None)
    if blocking is not None:
        raise kind(f"{blocking} is a file, not a folder; choose another folder: {command}")
    # It would be replaced by another folder of its name, and this process would be left in none.
    if target in (Path.cwd(), target.parent):
        what = "the root folder" if target == target.parent else "the current folder"
        raise kind(
            f"{target} is {what}, which cannot be replaced; choose a folder in it: {command}"
        )
    fresh = [path for path in target.parents if not path.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in fresh:
            with suppress(OSError):
                path.rmdir()
        raise


def replace(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new folder and put it where `folder` is; call it inside `locked`.

    On any error the old folder stays, and the new one is removed.
    """
    work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    new, old = work / "new", work / "old"
    try:
        new.mkdir()
        _like(folder, new, writable=True)
        write(new)
        for file in new.iterdir():
            _flush(file)
        _like(folder, new)
        _flush(new)
        with undisturbed():
            _exchange(new, folder, old)
            _flush(folder.parent)
    finally:
        # If putting the old folder back has failed, it is all that there is.
        if folder.exists() or not old.exists():
            shutil.rmtree(work, ignore_errors=True)


def _like(folder: Path, new: Path, writable: bool = False) -> None:
    """Give a new folder the group and the permissions of the one that it replaces, if any.

    Files in it then get the group that they would get there.
    """
    with suppress(OSError):
        seen = folder.stat()
        if seen.st_gid != new.stat().st_gid:
            os.chown(new, -1, seen.st_gid)
        new.chmod(stat.S_IMODE(seen.st_mode) | (stat.S_IRWXU if writable else 0))


def _exchange(new: Path, folder: Path, old: Path) -> None:
    replaces = folder.exists()
    if replaces and _exchanged(new, folder):
        return
    if replaces:
        folder.rename(old)
    try:
        new.rename(folder)
    except BaseException:
        if replaces:
            old.rename(folder)
        raise


def _exchanged(one: Path, two: Path) -> bool:
    """Exchange two folders in one step; False where the system or the drive cannot."""
    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    paths = os.fsencode(one.absolute()), os.fsencode(two.absolute())
    return bool(exchange(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0)


def _flush(path: Path) -> None:
    """Write a file or a folder to the disk, where the system can."""
    with suppress(OSError):
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def leftovers(folder: Path) -> list[Path]:
    """The folders that killed saves to `folder` left beside it, the latest first."""
    pattern = f".{glob.escape(folder.name)}-????????"
    found = [path for path in folder.parent.glob(pattern) if _is_ours(path)]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def name_of(leftover: Path) -> str:
    """The name of the folder that a killed save was writing."""
    return leftover.name[1:].rpartition("-")[0]


def _is_ours(path: Path) -> bool:
    with suppress(OSError):
        names = {child.name for child in path.iterdir()}
        return path.is_dir() and names <= {"new", "old"}
    return False


def complete(leftover: Path, is_complete: Callable[[Path], bool]) -> Path | None:
    """The complete folder in a leftover: the new one, else the old one; None if there is none.

    The old folder is moved there only after the new one is complete.
    """
    new, old = leftover / "new", leftover / "old"
    if new.is_dir() and (old.is_dir() or is_complete(new)):
        return new
    return old if old.is_dir() else None


def settle(folder: Path, is_complete: Callable[[Path], bool]) -> None:
    """Complete what a killed save left, and remove the rest; call it inside `locked`."""
    for leftover in leftovers(folder):
        found = None if folder.exists() else complete(leftover, is_complete)
        if found is not None:
            found.rename(folder)
            _flush(folder.parent)
        shutil.rmtree(leftover, ignore_errors=True)
