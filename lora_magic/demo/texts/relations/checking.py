"""Whether an answer to a relation states the facts and gives the right verdict.

Compares words, as the judge does; a right fact with a wrong verdict is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lora_magic.demo.heard import Said, Words, positions, words
from lora_magic.demo.texts.grammar import plural
from lora_magic.demo.texts.relations.facts import told
from lora_magic.demo.world import SIZES

# The least ingredients of a dish, and the least things to see at a place, that an answer names.
_ENOUGH = {"dish/ingredients": 3, "place/things": 2}
_YES, _NO = frozenset(("yes", "aye", "yep")), frozenset(("no", "nay", "nope"))
_TRUE, _FALSE = frozenset(("true", "right", "correct")), frozenset(("false", "wrong"))
_PARTED = re.compile(r", | and ")
# Answers of the voices that are no verdict.
_VOICES = re.compile(r"yes, yes, yes|oh,? no|aye,? aye", re.IGNORECASE)


def verdict(text: str) -> bool | None:
    """The yes or no of an answer: after the last "so", or else the first one; None without one."""
    said = words(_VOICES.sub(" ", text))
    found = [(i, _meant(said, i)) for i in range(len(said))]
    given = [(i, meant) for i, meant in found if meant is not None]
    concluded = [meant for i, meant in given if "so" in said[max(0, i - 4) : i]]
    if concluded:
        return concluded[-1]
    return given[0][1] if given else None


def _meant(said: Words, i: int) -> bool | None:
    if said[i] in _YES:
        return True
    if said[i] in _TRUE | _FALSE:
        near = said[max(0, i - 2) : i]
        return (said[i] in _TRUE) is ("not" not in near) if "be" in near else None
    # "No" before a noun is no verdict: "it eats no berries".
    alone = i in (0, len(said) - 1) or said[i - 1] in ("so", "be", "answer")
    return False if said[i] in _NO and alone else None


def names(subject: str) -> tuple[Words, Words]:
    """A name and its plural, as words."""
    return words(subject), words(plural(subject))


def parts_about(said: Said, name: str, subject: str, other: str) -> list[Said]:
    """What a text says of a subject: from each mention of it up to the next of `other`.

    A name within a fact is no name: "a tiger eats deer and wild pigs, and a pig eats corn".
    """
    facts = [words(told()[name][one]) for one in (subject, other)]
    stops = [*_named(said.words, other, facts), len(said.words)]
    parts = []
    for start in _named(said.words, subject, facts):
        end = min(stop for stop in stops if stop > start)
        parts.append(Said(said.words[start:end], said.denied[start:end]))
    return parts


def is_about(said: Said, name: str, subject: str) -> bool:
    """Whether a text names a subject, or none of its kind: "it eats berries and mice"."""
    facts = [words(told()[name][subject])]
    if _named(said.words, subject, facts):
        return True
    return not any(_named(said.words, other, facts) for other in told()[name])


def _named(said: Words, subject: str, facts: Sequence[Words] = ()) -> list[int]:
    """The positions of a name and its plural, in order, without those within one of `facts`."""
    within = {(at, at + len(fact)) for fact in facts for at in positions(fact, said)}
    return sorted(
        at
        for form in names(subject)
        for at in positions(form, said)
        if not any(first <= at and at + len(form) <= end for first, end in within)
    )


def states(said: Said, name: str, subject: str) -> bool:
    """Whether a text states a fact of a subject, and does not deny it."""
    fact = told()[name][subject]
    if name == "animal/size":
        return _size(said, subject) == fact
    pieces = _PARTED.split(fact) if name in _ENOUGH else [fact]
    found = sum(
        any(not all(said.denied[at : at + len(part)]) for at in positions(part, said.words))
        for part in (words(piece) for piece in pieces)
    )
    return found >= _ENOUGH.get(name, 1)


def _size(said: Said, subject: str) -> str:
    """The first size of the scale that a text names and does not deny; "" without one."""
    text = " ".join(
        "-" if denied else word for word, denied in zip(said.words, said.denied, strict=True)
    )
    # "It eats small insects" is no size.
    for name, facts in told().items():
        if name.startswith("animal/") and name != "animal/size":
            text = text.replace(" ".join(words(facts[subject])), "")
    match = re.search(rf"\b(?:{'|'.join(sorted(SIZES, key=len, reverse=True))})\b", text)
    return match[0] if match else ""


def concludes(text: str, first: str, second: str) -> str | None:
    """The animal that an answer calls the bigger one; "" if both are the same, None if neither."""
    said = words(text)
    if positions(("same", "size"), said):
        return ""
    ends = [i for i, word in enumerate(said) if word in ("bigger", "larger", "smaller")]
    if not ends:
        return None
    near = {name: max(_named(said[: ends[-1]], name), default=-1) for name in (first, second)}
    if max(near.values()) < 0:
        return None
    called = max(near, key=lambda name: near[name])
    return called if said[ends[-1]] != "smaller" else second if called == first else first
