"""Splits a magic's line into words: quotes, comments, and `{name}` from the notebook's variables.

Not `shlex`: that drops backslashes, which paths and patterns need, and cuts a word at a `#`
inside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from lora_magic.errors import CommandError, near

_WORD = re.compile(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""")
_QUOTED = re.compile(r'"([^"]*)"|' r"'([^']*)'")
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_SHELL_NAMES = ("In", "Out", "exit", "quit", "open", "get_ipython")
_APOSTROPHE = re.compile(r"(?<=\w)'(?=\w)")


def next_word(line: str) -> tuple[str, str]:
    """The first word of `line`, without its quotes, and what follows it.

    >>> next_word('--columns "body => reply" --steps 5')
    ('--columns', ' "body => reply" --steps 5')
    """
    rest = line.lstrip()
    if not rest:
        return "", ""
    match = _WORD.match(rest)
    # A match that ends before anything but a space ended at an unclosed quote.
    if match is None or (match.end() < len(rest) and not rest[match.end()].isspace()):
        raise CommandError(f"unclosed quote in: {rest}")
    return _QUOTED.sub(lambda quoted: quoted[1] or quoted[2] or "", match[0]), rest[match.end() :]


def split(line: str) -> list[str]:
    """All words of a line; a word that begins with `#` begins a comment."""
    words = []
    rest = line.strip()
    while rest and not rest.startswith("#"):
        word, rest = next_word(rest)
        words.append(word)
        rest = rest.lstrip()
    return words


def expand(word: str, variables: Mapping[str, Any]) -> str:
    """`word` with each `{name}` or `{name.attribute}` replaced by its value; `{{` is a brace.

    Braces around anything that does not begin like a name (`\\d{1,2}` in a pattern) stay as typed.
    Raises `CommandError` for an undefined name, and for an expression.
    """

    def value(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        inside = match[1].strip()
        if not inside or not (inside[0].isalpha() or inside[0] == "_"):
            return match[0]
        if not _DOTTED.fullmatch(inside):
            raise CommandError(
                f"{match[0]} is an expression; only {{name}} and {{name.attribute}} are expanded."
                f" Assign it first: value = {inside}"
            )
        return str(_look_up(inside, variables))

    return _BRACES.sub(value, word)


def _look_up(dotted: str, variables: Mapping[str, Any]) -> Any:
    first, *attributes = dotted.split(".")
    if first not in variables:
        raise CommandError(
            f"{{{dotted}}}: {first!r} is not defined."
            f"{near(first, names_of(variables))} For a literal brace type {{{{."
        )
    value = attribute_of(variables[first], attributes, f"{{{dotted}}}")
    if not isinstance(value, str | int | float | PurePath):
        raise CommandError(
            f"{{{dotted}}} is a {type(value).__name__}; only text and numbers can be expanded. "
            f"To pass a variable, type its name without braces: {dotted}"
        )
    return value


def attribute_of(value: Any, attributes: Iterable[str], typed: str) -> Any:
    """The value of an attribute path; raises `CommandError` that begins with `typed`."""
    for attribute in attributes:
        if not hasattr(value, attribute):
            raise CommandError(f"{typed}: {type(value).__name__} has no {attribute!r}.")
        value = getattr(value, attribute)
    return value


def names_of(variables: Iterable[str]) -> list[str]:
    """The user's variables, without the shell's own."""
    return [n for n in variables if not n.startswith("_") and n not in _SHELL_NAMES]


def unquoted(prompt: str) -> str:
    """A prompt without the quotes around the whole of it, if there are any.

    >>> unquoted('"What\\'s up?"')
    "What's up?"
    >>> unquoted('"a" and "b"')
    '"a" and "b"'
    """
    if len(prompt) < 2 or prompt[0] != prompt[-1] or prompt[0] not in "\"'":
        return prompt
    inside = prompt[1:-1]
    # In 'What's up?' the apostrophe between two letters closes nothing.
    closed = prompt[0] in (_APOSTROPHE.sub("", inside) if prompt[0] == "'" else inside)
    return prompt if closed else inside
