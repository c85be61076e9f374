"""The words of a text that differ from another text.

Knows strings only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from difflib import SequenceMatcher

# Scripts written without spaces: each character counts as a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_CHUNKS = re.compile(rf"\s+|[{_UNSPACED}]|[^\s{_UNSPACED}]+")


def marked_words(base: str, text: str) -> list[tuple[str, bool]]:
    """The pieces of `text`, each with True if it is a word that is not in `base` at that place.

    The pieces are words, punctuation and white space; joined they are `text`. White space is never
    marked. difflib's longest matching blocks align the words.

    >>> marked_words("A fox eats mice.", "A fox eats ye mice!")
    [('A', False), (' ', False), ('fox', False), (' ', False), ('eats', False), (' ', False),
     ('ye', True), (' ', False), ('mice', False), ('!', True)]
    """
    pieces = list(_pieces(text))
    places = [place for place, piece in enumerate(pieces) if not piece.isspace()]
    words = [pieces[place] for place in places]
    base_words = [piece for piece in _pieces(base) if not piece.isspace()]
    # Without autojunk=False, difflib ignores words that are frequent in a long text.
    blocks = SequenceMatcher(None, base_words, words, autojunk=False).get_matching_blocks()
    shared = {places[block.b + step] for block in blocks for step in range(block.size)}
    return [
        (piece, not piece.isspace() and place not in shared) for place, piece in enumerate(pieces)
    ]


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
