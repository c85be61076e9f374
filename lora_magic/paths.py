"""Folders and files as people type them: into a path, and back into a word on a magic's line.

Knows paths; reads none. Open to every room.
"""

from __future__ import annotations

import re
from pathlib import Path

from lora_magic.errors import CommandError


def path_of(given: object, what: str) -> Path:
    """What was given as a path, `~` expanded. Raises `CommandError`, which begins with `what`."""
    if not isinstance(given, str | Path):
        raise CommandError(f"{what}: {given!r} is no path; expected text.")
    if not str(given).strip():
        raise CommandError(f"{what}: the path is blank; expected a file's or folder's name.")
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise CommandError(
            f"{what} {given}: there is no such user; expected ~/… or a path."
        ) from None


def quoted(path: object) -> str:
    """A path as it is typed on a line: braces doubled, in quotes where it holds a space or quotes.

    >>> quoted("my adapters/p")
    '"my adapters/p"'
    """
    text = str(path).replace("{", "{{").replace("}", "}}")
    text = f"./{text}" if text.startswith("-") else text
    if not re.search(r"[\s\"'#]", text):
        return text
    return f"'{text}'" if '"' in text else f'"{text}"'
