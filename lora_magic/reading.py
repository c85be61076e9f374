"""Reads files that a stranger may have written: regular files only, and only what fits in memory.

A named pipe blocks, a device never ends, a sparse file has any size, and JSON can be nested until
the interpreter gives up: each is refused by what it is, before its contents are read. Knows paths
and JSON; knows no model. Every room may import it.
"""

from __future__ import annotations

import io
import json
import math
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from lora_magic.numbers import size

#: The most that a JSON file may hold: far above any config, and above every tokenizer.json.
JSON_BYTES = 200_000_000

#: The files of a control group's limit and use, and the name of what is cached, by version: ""
#: is the second.
_GROUP_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UnreadableError(ValueError):
    """A file that is not read, or whose contents are not JSON; the message is the reason."""


def bytes_of(path: Path) -> int:
    """The size of a regular file. Raises `UnreadableError` for anything else, and for no file.

    A symbolic link is followed.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise UnreadableError(_reason(error)) from error
    return _regular(found)


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """The contents of a regular file of at most `limit` bytes (default: the free memory).

    The file is opened without waiting for a writer, and checked when it is open: what is checked is
    what is read. Raises `UnreadableError`.
    """
    try:
        # O_NONBLOCK: opening a pipe would wait for its writer.
        with open(path, "rb", opener=_without_waiting) as file:
            expected = os.fstat(file.fileno()).st_size
            most = free_memory() if limit is None else limit
            if most is not None and expected > most:
                raise UnreadableError(f"it has {size(expected)}, expected at most {size(most)}")
            return file.read(expected)
    except (OSError, ValueError) as error:
        raise UnreadableError(_reason(error)) from error


def read_text(path: Path, limit: int | None = None) -> str:
    """A regular file as UTF-8, with or without a byte order mark. Raises `UnreadableError`."""
    raw = read_bytes(path, limit)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        reason = f"line {line} is not UTF-8 (byte 0x{raw[error.start]:02x})"
        raise UnreadableError(reason) from error


def unpacked(raw: bytes, limit: int | None = None) -> bytes:
    """What gzip has packed, at most `limit` bytes (default: the free memory): a small file can
    unpack to any size. Raises `UnreadableError`."""
    import gzip  # seldom needed

    most = free_memory() if limit is None else limit
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            found = file.read() if most is None else file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableError(f"gzip cannot unpack it ({error})") from error
    if most is not None and len(found) > most:
        raise UnreadableError(f"it unpacks to more than {size(most)}")
    return found


def read_json(path: Path, finite: bool = True) -> Any:
    """The JSON in a regular file. Raises `UnreadableError`, as `parse_json` does."""
    return parse_json(read_text(path, JSON_BYTES), finite)


def parse_json(text: str, finite: bool = True) -> Any:
    """JSON; unless `finite` is false, NaN and infinity are refused.

    Raises `UnreadableError` for invalid JSON, for a number of more digits than Python converts,
    and for nesting that is too deep.
    """
    try:
        if not finite:
            return json.loads(text)
        return json.loads(text, parse_float=_finite, parse_constant=_no_number)
    except RecursionError as error:
        raise UnreadableError("it is nested too deeply") from error
    except ValueError as error:
        raise UnreadableError(_reason(error)) from error


def free_memory(root: Path = Path("/")) -> int | None:
    """The memory that can still be used, in bytes; None where the system does not tell.

    A container may use less than the machine has. `root` is where /proc and /sys are.
    """
    known = [found for found in (_available(root), *_left_to_groups(root)) if found is not None]
    return min(known, default=None)


def _available(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(found.split()[1]) * 1024
    except (OSError, StopIteration):
        return None


def _left_to_groups(root: Path) -> Iterator[int]:
    """What is left to each control group that this process is in, for those with a limit.

    Cached files count as used, but those that nobody reads are dropped when memory is needed.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        if kinds not in _GROUP_FILES:
            continue
        top = root / "sys/fs/cgroup" / kinds
        most, used, cached = _GROUP_FILES[kinds]
        own = top / path.strip("/")
        # Limits of the groups above hold too; in a container the path is often that of its host.
        for group in (own, *own.parents):
            if not group.is_relative_to(top):
                break
            try:
                limit = int((group / most).read_text(encoding="ascii"))
                now = int((group / used).read_text(encoding="ascii"))
                stat_lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
            except (OSError, ValueError):  # no limit is the word "max"
                continue
            idle = next((n.split()[1] for n in stat_lines if n.startswith(f"{cached} ")), "0")
            yield max(0, limit - now + int(idle))


def _without_waiting(path: str, flags: int) -> int:
    opened = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _regular(os.fstat(opened))  # open() itself would name a folder by its number
    except UnreadableError:
        os.close(opened)
        raise
    return opened


def _regular(found: os.stat_result) -> int:
    if stat.S_ISREG(found.st_mode):
        return found.st_size
    kind = _KINDS.get(stat.S_IFMT(found.st_mode), "not a file")
    raise UnreadableError(f"it is {kind}, expected a file")


def _reason(error: Exception) -> str:
    """An error without the path, which the caller names."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise UnreadableError(f"{text[:20]} is not a finite number")
