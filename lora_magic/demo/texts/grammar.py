"""Templates, and the few rules of English that the texts need.

A template holds choices in brackets, `[big|small]`, and fields in braces, `{name}`. Brackets do
not nest. This module knows articles, capitals and lists; it knows nothing of the demo world.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from random import Random

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_FIELD = re.compile(r"\{(\w+)\}")
_ARTICLE = re.compile(r"\b([Aa])(?= ([a-z]+))")
# A vowel letter that is spoken as a consonant takes "a"; a silent h takes "an".
_VOWEL = re.compile(r"(?!one\b|once\b|eu|use|uni(?!n|m)|usu)[aeiou]|hour|honest|heir")
_PLURALS = {
    "mouse": "mice",
    "goose": "geese",
    "sheep": "sheep",
    "moose": "moose",
    "salmon": "salmon",
    "bison": "bison",
    "reindeer": "reindeer",
    "deer": "deer",
    "wolf": "wolves",
    "elk": "elk",
    "trout": "trout",
    "squid": "squid",
    "shrimp": "shrimp",
    "swordfish": "swordfish",
    "jellyfish": "jellyfish",
    "starfish": "starfish",
    "mosquito": "mosquitoes",
    "volcano": "volcanoes",
    "bookshelf": "bookshelves",
}
_START = re.compile(
    r"(^|[.!?] |[.!?]\" (?!(?:he|she) (?:asked|said))|\n|(?:^|(?<=[\s:]))\")([a-z])"
)


def expand(template: str) -> tuple[str, ...]:
    """Every text that the choices of `template` allow, with the fields left as they are.

    >>> expand("a [red|blue] {name}")
    ('a red {name}', 'a blue {name}')
    """
    parts = _CHOICE.split(template)
    options = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    return tuple("".join(chosen) for chosen in itertools.product(*options))


def render(template: str, fields: Mapping[str, str], rng: Random) -> str:
    """One text of `template`: choices drawn by `rng`, fields filled in; not yet polished.

    Raises `KeyError` for a field that is not given.
    """
    chosen = _CHOICE.sub(lambda m: rng.choice(m.group(1).split("|")), template)
    return _FIELD.sub(lambda m: fields[m.group(1)], chosen)


def needed(template: str) -> frozenset[str]:
    """The names of the fields that `template` uses."""
    return frozenset(_FIELD.findall(template))


def articles(text: str) -> str:
    """`a` before a vowel becomes `an`: "a old hat" → "an old hat", "a useful hat" stays."""
    return _ARTICLE.sub(lambda m: m[1] + "n" if _VOWEL.match(m[2]) else m[1], text)


def polish(text: str) -> str:
    """Corrected articles, single spaces, a capital for each sentence and quotation."""
    text = re.sub(r" {2,}", " ", articles(text)).strip()
    return _START.sub(lambda m: m.group(1) + m.group(2).upper(), text)


def capital(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def plural(noun: str) -> str:
    """The plural of a noun of the demo world: "fox" → "foxes", "lady" → "ladies"."""
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith("man"):
        return noun[:-3] + "men"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def joined(items: Sequence[str]) -> str:
    """Items as a phrase: "a, b and c".

    >>> joined(["eggs", "milk", "salt"])
    'eggs, milk and salt'
    """
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
