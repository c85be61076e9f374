"""The words of a text that differ from another text.

Knows strings only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

# Scripts written without spaces: each character counts as a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNPARTED = re.compile(rf"[{_UNSPACED}]")
_CHUNKS = re.compile(rf"\s+|[{_UNSPACED}]|[^\s{_UNSPACED}]+")


#: What a piece of a text is: in both texts, only in this one, or only in the other.
SAME, ADDED, MISSING = "same", "added", "missing"
#: Below this share of shared words more than a few missing ones would hide the text.
ALIKE, FEW = 1 / 3, 8


@dataclass(frozen=True)
class Difference:
    """A text against another one, the base's.

    `pieces` are (piece, SAME, ADDED or MISSING). Without the missing ones they join to the text;
    white space is never added. Missing pieces are before what replaces them, with blanks in place
    of line breaks. Texts that share fewer than `ALIKE` of their words are `unlike`, and have none,
    if more than `FEW` are missing, or all.
    `added` and `missing` count words and punctuation.
    """

    pieces: tuple[tuple[str, str], ...]
    added: int
    missing: int
    unlike: bool


def difference(base: str, text: str) -> Difference:
    """How `text` differs from `base`, word by word; difflib's longest matching blocks align them.

    >>> difference("A fox eats mice.", "A fox eats ye mice!").pieces
    (('A', 'same'), (' ', 'same'), ('fox', 'same'), (' ', 'same'), ('eats', 'same'),
     (' ', 'same'), ('ye', 'added'), (' ', 'same'), ('mice', 'same'), ('.', 'missing'),
     ('!', 'added'))
    """
    old, new = _Words(base), _Words(text)
    # Without autojunk=False, difflib ignores words that are frequent in a long text.
    codes = SequenceMatcher(None, old.words, new.words, autojunk=False).get_opcodes()
    shared = sum(end - start for kind, start, end, _, _ in codes if kind == "equal")
    added, missing = len(new.words) - shared, len(old.words) - shared
    many = missing > FEW or not new.words
    unlike = many and shared < ALIKE * max(len(old.words), len(new.words))
    pieces: list[tuple[str, str]] = []
    at = 0
    for kind, start, end, first, last in codes:
        begin = new.starts(first)
        between = new.pieces[at:begin]
        pieces += [(blank, SAME) for blank in between]
        if start < end and kind != "equal" and not unlike:
            after = new.pieces[begin] if first < last else ""
            pieces.append((old.gap(start, end, bool(between) or not at, after), MISSING))
        at = new.ends(last) if first < last else begin
        marked = SAME if kind == "equal" else ADDED
        pieces += [(one, SAME if one.isspace() else marked) for one in new.pieces[begin:at]]
    pieces += [(blank, SAME) for blank in new.pieces[at:]]
    return Difference(tuple(pieces), added, missing, unlike)


class _Words:
    """A text's pieces, and which of them are words."""

    def __init__(self, text: str) -> None:
        self.pieces = list(_pieces(text))
        self._places = [at for at, piece in enumerate(self.pieces) if not piece.isspace()]
        self.words = [self.pieces[at] for at in self._places]

    def starts(self, word: int) -> int:
        """The place of a word among the pieces, or their end."""
        return self._places[word] if word < len(self.words) else len(self.pieces)

    def ends(self, word: int) -> int:
        """The place after the word before this one."""
        return self._places[word - 1] + 1

    def gap(self, start: int, end: int, parted: bool, after: str) -> str:
        """The words from `start` to `end` as they are shown in another text: with a blank before
        them unless they are `parted` already, and one after them if they have it or `after`, the
        word that replaces them, would be read as a part of theirs."""
        before, behind = self._places[start], self.ends(end)
        core = " ".join("".join(self.pieces[before:behind]).split())
        led = not parted and before > 0 and self.pieces[before - 1].isspace()
        spaced = parted and behind < len(self.pieces) and self.pieces[behind].isspace()
        letters = after[:1].isalnum() and core[-1:].isalnum() and not _UNPARTED.match(after)
        return f"{' ' * led}{core}{' ' * (spaced or letters)}"


def _pieces(text: str) -> Iterator[str]:
    for chunk in _CHUNKS.findall(text):
        yield from [chunk] if chunk.isspace() else _split_punctuation(chunk)


def _split_punctuation(chunk: str) -> Iterator[str]:
    """A word and the punctuation at its ends; an apostrophe or hyphen inside stays."""
    start, end = 0, len(chunk)
    while start < end and _is_punctuation(chunk[start]):
        start += 1
    while end > start and _is_punctuation(chunk[end - 1]):
        end -= 1
    yield from chunk[:start]
    if start < end:
        yield chunk[start:end]
    yield from chunk[end:]


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P")
