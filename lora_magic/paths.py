"""Paths: as the user typed them, and quoted for a magic's line.

Knows paths; opens no file. Every room may import it.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from lora_magic.errors import CommandError

#: The errors of a path that is too long, or that leads through too many links.
_TOO_MUCH = (errno.ENAMETOOLONG, errno.ELOOP)


def path_of(given: object, what: str) -> Path:
    """The path that the user typed, `~` expanded. Raises `CommandError` that begins with `what`."""
    if not isinstance(given, str | Path):
        raise CommandError(f"{what}: expected a path, got {given!r}.")
    if not str(given).strip():
        raise CommandError(f"{what}: the path is blank; expected a file or folder.")
    try:
        path = Path(given).expanduser()
    except RuntimeError:
        raise CommandError(
            f"{what} {given}: no such user; expected a path, or ~/… for your home."
        ) from None
    if not path.is_absolute() and not _is_somewhere():
        raise CommandError(
            f"{what} {given}: the current folder was removed; type: %cd ~, or give a whole path."
        )
    if reason := _impossible(path):
        raise CommandError(f"{what} {str(given)[:60]}: {reason}; expected a file or folder.")
    return path


def exists(path: Path) -> bool:
    """Is there something at this path? False for one that no file system can hold."""
    return not _impossible(path) and path.exists()


def _is_somewhere() -> bool:
    """Does this process's current folder still exist?"""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _impossible(path: Path) -> str:
    """Why no file can have this path; "" for any other."""
    try:
        path.lstat()
    except ValueError:  # a NUL, or half of a character of two
        return "the path has a character that no file name can have"
    except OSError as error:
        return "" if error.errno not in _TOO_MUCH else str(error.strerror).lower()
    return ""


def quoted(path: object) -> str:
    """A path to type on a line: braces doubled, in quotes if it contains a space or quotes.

    >>> quoted("my adapters/p")
    '"my adapters/p"'
    """
    text = str(path).replace("{", "{{").replace("}", "}}")
    text = f"./{text}" if text.startswith("-") else text
    if not re.search(r"[\s\"'#]", text):
        return text
    return f"'{text}'" if '"' in text else f'"{text}"'
