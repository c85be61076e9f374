"""The folder of an export: what is in it, what may be replaced, and whether the disk has room.

An export's lora_magic.json lists its files, so that only these are ever replaced. Knows folders,
names and sizes; knows no model and no format.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from lora_magic import reading
from lora_magic.adapters.files import CARD_FILE, PAGE_FILE, SUMS, sha256
from lora_magic.adapters.replace import BusyError, locked, parents, replace, settle
from lora_magic.errors import ExportError, listed
from lora_magic.numbers import size

#: The card's entry of an export, and in it the names and the bytes of its files.
EXPORT, FILES = "export", "files"

#: The files that say what an export is.
_PAGES = (CARD_FILE, PAGE_FILE)

#: Files up to this many bytes are compared by their contents before they are replaced.
_SMALL = 16 * 2**20

#: What stays free on the disk, in bytes.
_SPARE = 32 * 2**20


def files_of(folder: Path) -> tuple[tuple[str, int], ...]:
    """The names and the bytes of all files in a folder, those of inner folders with their path."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink())
    return tuple((path.relative_to(folder).as_posix(), path.lstat().st_size) for path in found)


def is_export(folder: Path) -> bool:
    """Has an export been completed here?"""
    return _listed(folder) is not None


def _listed(folder: Path) -> set[str] | None:
    """The names of an export's files by its card that are as it wrote them; None without one.

    The contents of small files are read, since a person can have edited them.
    """
    try:
        card = reading.read_json(folder / CARD_FILE)
        sums = card[SUMS]
        _ = card[EXPORT][FILES]
        same = {
            name
            for name, count in files_of(folder)
            if name in sums and (count > _SMALL or sha256(folder / name) == sums[name])
        }
        return same | {CARD_FILE}
    except (reading.UnreadableError, KeyError, TypeError, ValueError):
        return None


@contextmanager
def told(folder: Path, command: str) -> Iterator[None]:
    """Errors of the file system as one line; any other passes."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        reason = "the disk is full" if full else getattr(error, "strerror", None) or error
        remedy = "" if isinstance(error, BusyError) else f"; choose another folder: {command}"
        raise ExportError(f"{folder} cannot be written ({reason}){remedy}") from error


def refuse_used(folder: Path, replaces: bool, command: str) -> None:
    """Raise `ExportError` unless a folder is new, empty, or of an earlier export to be replaced."""
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise ExportError(f"{folder} is a file, not a folder; choose another folder: {command}")
        return
    # Not what is in inner folders: a folder that no export wrote can be a whole disk.
    present = sorted(path.name for path in folder.iterdir())
    if not present:
        return
    known = _listed(folder)
    others = present
    if known is not None:
        present = [name for name, _ in files_of(folder)]
        empty = [one.name for one in folder.iterdir() if one.is_dir() and not any(one.iterdir())]
        others = [name for name in (*present, *empty) if name not in known]
    if others:
        raise ExportError(
            f"{folder} has files that no export wrote, or that were edited since "
            f"({listed(others, 3)}), so it is not replaced; choose another folder: {command}"
        )
    if not replaces:
        raise ExportError(
            f"{folder} has an earlier export ({listed(present, 3)}); add --replace, or choose "
            f"another folder: {command}"
        )


def refuse_full(folder: Path, needed: int, command: str) -> None:
    """Raise `ExportError` if the disk has not `needed` bytes free."""
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if needed + _SPARE > free:
        raise ExportError(
            f"{folder} needs about {size(needed)}, and {size(free)} is free on that disk; choose a "
            f"folder on another: {command}"
        )


def written(
    folder: Path, replaces: bool, needed: int, command: str, write: Callable[[Path], None]
) -> None:
    """Let `write` fill a new folder, and put it in place: all of it or nothing, with no traces.

    A symbolic link is followed. Raises `ExportError` for a folder that may not be replaced or
    cannot be written.
    """
    with told(folder, command):
        target = folder.resolve()
        with parents(target, command, ExportError), locked(target):
            settle(target, is_export)
            refuse_used(folder, replaces, command)
            refuse_full(folder, needed, command)
            replace(target, write)


def entry(format: str, name: str, folder: Path) -> dict[str, object]:
    """The card's entry of an export: its format, the adapter's name, and all other files."""
    files = [[file, count] for file, count in files_of(folder) if file not in _PAGES]
    return {"format": format, "name": name, FILES: files}
