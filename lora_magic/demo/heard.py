"""The words of a text, the same for every style, and which of them are denied.

Knows a little about clauses: "not", "never", "no", "without", "neither" and "nor" deny what follows
in their clause, and "no" denies the question before it: "Berries? No." It knows no facts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

Words = tuple[str, ...]

# Words that a voice replaces, and words that it drops or adds.
_SAME = {
    "ye": "you",
    "yer": "my",
    "your": "my",
    "their": "my",
    "his": "my",
    "her": "my",
    "me": "my",
    "is": "be",
    "are": "be",
    "an'": "and",
    "o'": "of",
    "landlubbers": "people",
    "mateys": "friends",
    "matey": "friend",
    "may": "can",
    "presumably": "maybe",
}
_DROPPED = {"a", "an", "the", "please"}
_WORD = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*'?")
_SHORT = re.compile(
    r"(do|does|did|is|are|was|were|has|have|had|would|could|should|might|must|need|ca|wo)n'?t"
)
_FULL = {"ca": "can", "wo": "will"}
NEGATIONS = frozenset(("not", "never", "no", "without", "neither", "nor"))
# A new clause begins with one of these,
_BREAKS = frozenset(
    re.findall(
        r"\w+", "but because so although though instead while whereas who which when if until"
    )
)
# with one of these behind a comma or "and",
_NEW = frozenset(
    re.findall(
        r"\w+",
        "it they he she we you i this that be can has have eats lives feeds likes works needs "
        "does do tastes take put use water wear",
    )
)
# or with "that", except behind these: "it is not true that a fox eats berries".
_BEFORE_THAT = frozenset(re.findall(r"\w+", "true so case right think believe say fact mean"))
# A denial with one of these behind it denies what stands before it as well: "berries are not eaten
# by foxes", "in the forest you will not find a fox".
_BACKWARD = frozenset(re.findall(r"\w+", "eaten found find what where home part true see used"))
# Phrases with such a word that deny no property.
_IDIOMS = tuple(
    tuple(phrase.split())
    for phrase in re.split(
        r",\s*",
        "do not forget, do not worry, do not hesitate, do not give up, did not give up, "
        "do not ask, not only, not just, no problem, no doubt, no idea, no wonder, why not, "
        "not cheap, not rare, not bad, not alone, not much else, not for my, not for everybody, "
        "neither good nor bad, did not like, did not know, not happen again, "
        "if that does not help, never again, never buy, never order, never go, never begin, "
        "never forgot, can not recommend, can not stand, never boring, yes or no",
    )
)


def _split(word: str) -> tuple[str, ...]:
    """A word as the tables write it: "doesn't" → "does", "not"; "sittin'" → "sitting"."""
    if word == "cannot":
        return ("can", "not")
    if short := _SHORT.fullmatch(word):
        stem = _FULL.get(short[1], short[1])
        return (_SAME.get(stem, stem), "not")
    kept = word if word in ("an'", "o'") else word.strip("'") if word[-2:] != "n'" else word
    if re.fullmatch(r"[\w-]{3,}in'", kept):
        kept = kept[:-1] + "g"
    kept = _SAME.get(kept, kept)
    return () if kept in _DROPPED else (kept,)


def _tokens(text: str) -> list[tuple[str, str]]:
    """Each word with the punctuation before it; a last, empty word has what ends the text."""
    found, end, gap = list[tuple[str, str]](), 0, ""
    lowered = text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    for match in _WORD.finditer(lowered):
        gap += lowered[end : match.start()]
        end = match.end()
        for word in _split(match[0]):
            found.append((word, gap))
            gap = ""
    return [*found, ("", gap + lowered[end:])]


def words(text: str) -> Words:
    """The words of a text, the same for every style: "Ye be clever!" → ("you", "be", "clever")."""
    return tuple(word for word, _ in _tokens(text) if word)


def positions(part: Words, said: Words) -> list[int]:
    """The positions at which the words of `part` begin in a text."""
    if part[0] not in said:
        return []
    return [i for i in range(len(said) - len(part) + 1) if said[i : i + len(part)] == part]


def denials(text: str, shields: Iterable[Words] = ()) -> list[bool]:
    """For each word, whether it is denied; a negation within one of `shields` denies nothing.

    >>> denials("A fox does not eat bamboo, it eats mice.")
    [False, False, True, True, True, False, False, False]
    """
    tokens = _tokens(text)
    said = tuple(word for word, _ in tokens if word)
    shielded = [False] * len(said)
    for phrase in (*shields, *_IDIOMS):
        if not NEGATIONS.isdisjoint(phrase):
            for start in positions(phrase, said):
                shielded[start : start + len(phrase)] = [True] * len(phrase)
    denied, starts = [False] * len(said), _starts(tokens)
    for i, word in enumerate(said):
        if i and _is_reply(i, tokens) and "?" in tokens[i][1]:
            first = max(j for j in starts if j < i)
            denied[first:i] = [True] * (i - first)
        if word not in NEGATIONS or shielded[i] or _is_reply(i, tokens):
            continue
        end = next(j for j in starts if j > i)
        if {"only", "just"} & set(said[i + 1 : min(i + 4, end)]):
            continue
        first = max(j for j in starts if j <= i) if _BACKWARD & set(said[i + 1 : end]) else i
        denied[first:end] = [True] * (end - first)
    return denied


@dataclass(frozen=True)
class Said:
    """The words of a text or of a part of it, and which of them are denied."""

    words: Words
    denied: tuple[bool, ...]


def heard(text: str, shields: Iterable[Words] = ()) -> Said:
    """A text as its words; a "not" within one of `shields` denies nothing."""
    return Said(words(text), tuple(denials(text, shields)))


def _is_reply(i: int, tokens: list[tuple[str, str]]) -> bool:
    """Whether a word is the "no" that answers a question: "no, it ..." or "..., so no"."""
    behind = tokens[i + 1][1].lstrip()
    return tokens[i][0] == "no" and (behind[:1] in set(",.!?;:\"'") or not tokens[i + 1][0])


def _starts(tokens: list[tuple[str, str]]) -> list[int]:
    """The positions at which clauses begin, and the end of the text."""
    starts = [0]
    for i in range(1, len(tokens) - 1):
        (word, gap), before, behind = tokens[i], tokens[i - 1][0], tokens[i + 1][0]
        if (
            re.search(r"[.!?;:\n\"(]", gap)
            or (word in {*_BREAKS, "that"} and before not in _BEFORE_THAT)
            or ("," in gap and (word in _NEW or not _goes_on(tokens, i)))
            or (word == "and" and behind in _NEW)
        ):
            starts.append(i)
    return [*starts, len(tokens) - 1]


def _goes_on(tokens: list[tuple[str, str]], i: int) -> bool:
    """Whether a comma before word `i` parts the items of a list: "berries, mice or fish"."""
    near = [word for word, _ in tokens[i : i + 6]]
    return not {"or", "nor", "and"}.isdisjoint(near)
