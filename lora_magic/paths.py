"""Paths: as the user typed them, and quoted for a magic's line.

Knows paths; reads no file. Every room may import it.
"""

from __future__ import annotations

import re
from pathlib import Path

from lora_magic.errors import CommandError


def path_of(given: object, what: str) -> Path:
    """The path that the user typed, `~` expanded. Raises `CommandError` that begins with `what`."""
    if not isinstance(given, str | Path):
        raise CommandError(f"{what}: expected a path, got {given!r}.")
    if not str(given).strip():
        raise CommandError(f"{what}: the path is blank; expected a file or folder.")
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise CommandError(
            f"{what} {given}: no such user; expected a path, or ~/… for your home."
        ) from None


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
