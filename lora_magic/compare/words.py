"""The word that a token is a part of, in the text around it.

A word is a run of letters, digits and marks with its apostrophes, or a run of other signs, or a
line break. Knows texts and a tokenizer; knows no model.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

#: Tokens before one that its word can begin in.
_BEFORE = 8
_APOSTROPHES = "'’"


def word_at(
    tokenizer: Any, before: Sequence[int], token: int, after: Sequence[int]
) -> tuple[str, str]:
    """A token's text with the blank before it, and its word between the tokens around it."""
    start = [*before[-_BEFORE:]]
    left, middle, whole = (
        _text(tokenizer, ids) for ids in (start, [*start, token], [*start, token, *after])
    )
    begin, end = len(left.rstrip("\ufffd")), len(middle)
    return shown(middle[begin:]), _overlapping(whole, begin, end)


def shown(text: str) -> str:
    """A token's text on one line: line breaks as ↵, tabs as ⇥."""
    return text.replace("\r\n", "\n").replace("\n", "↵").replace("\r", "↵").replace("\t", "⇥")


def words(text: str) -> Iterator[tuple[int, str]]:
    """The words of a text with the places at which they begin."""
    kinds: list[str] = []
    for character in text:
        # An apostrophe belongs to the letters before it: don't, an'.
        apostrophe = character in _APOSTROPHES and kinds and kinds[-1] == "letter"
        kinds.append("letter" if apostrophe else _kind(character))
    for kind, places in groupby(range(len(text)), key=lambda place: kinds[place]):
        run = list(places)
        if kind != "blank":
            word = text[run[0] : run[-1] + 1]
            yield run[0], "↵" if kind == "break" else word


def _kind(character: str) -> str:
    if character in "\n\r":
        return "break"
    if character.isspace():
        return "blank"
    category = unicodedata.category(character)
    return "sign" if category[0] in "PS" or category == "Cc" else "letter"


def _overlapping(text: str, begin: int, end: int) -> str:
    """The first word with letters that overlaps text[begin:end], else the first; "␣" for blanks."""
    found = [word for place, word in words(text) if place < end and place + len(word) > begin]
    lettered = [word for word in found if _kind(word[0]) == "letter" and word != "↵"]
    return next(iter([*lettered, *found]), "␣")


def _text(tokenizer: Any, ids: Sequence[int]) -> str:
    decoded: str = tokenizer.decode(
        list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return decoded
