"""Whether an answer is about the right subject and says something true about it.

It compares words, so it works for every family of prompts and every style: capitals, punctuation,
JSON, lists and a pirate's "be" and "ye" make no difference. A true answer states a property that
the world's tables give its subject, none that they give only to another subject of its kind, and
denies none of its own. A property that is denied ("it does not eat bamboo") is not stated. The
answer to a relation also needs the right verdict. It knows no model, and no more grammar than that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from lora_magic.demo.heard import NEGATIONS, Said, Words, heard, positions, words
from lora_magic.demo.texts import relations, split, unknown
from lora_magic.demo.texts.family import Question
from lora_magic.demo.texts.grammar import plural
from lora_magic.demo.world import (
    ANIMALS,
    DISHES,
    FAULTS,
    FEELINGS,
    HOBBIES,
    JOBS,
    PLACES,
    PLANTS,
    PRODUCTS,
    SIZES,
    THINGS,
    WEATHER,
    Animal,
    Dish,
    Product,
)


@dataclass(frozen=True)
class Verdict:
    """Whether an answer has the right subject, and is true."""

    subject: bool
    true: bool

    @property
    def right(self) -> bool:
        """Both."""
        return self.subject and self.true


# A property of one word counts only after one of these: single words also occur by chance.
_BEFORE = frozenset(
    re.findall(
        r"\w+",
        "be being very was were taste tastes eat eats mostly on of for need needs with add "
        "and it them trait food material smell sound tool",
    )
)
# Phrases of the texts that contain such words but state nothing about the subject.
_FILLER = tuple(
    tuple(text.split())
    for text in (
        "very busy",
        "butter pan",
        "heat little oil",
        "everything fresh at market",
        "be fine",
        "was fine",
        "were fine",
        "take it to shop",
        "enjoy it my friend",
        "world be small",
        "world be very small",
    )
)


@dataclass(frozen=True)
class Known:
    """The names and properties of one subject, as words."""

    names: tuple[Words, ...]
    properties: tuple[Words, ...]
    # Parts of properties: "berries" and "mice" of "berries and mice", "forest" of "in the forest".
    pieces: tuple[Words, ...]
    # Single words that count anywhere: the ingredients of a dish, the part of a product.
    anywhere: frozenset[Words] = frozenset()


def _known(name: str, *properties: str) -> Known:
    pieces = {words(piece) for p in properties for piece in _PARTED.split(p)}
    # "Dry it" does not distinguish one subject from another.
    distinctive = [p for p in sorted(pieces) if p and not (len(p) < 3 and "it" in p)]
    return Known(
        (words(name), words(plural(name))), tuple(words(p) for p in properties), tuple(distinctive)
    )


_PARTED = re.compile(
    r",\s*|\s*\band\b\s*|^(?:in|on|at|near|under|among|along|against|beside|to)\b\s*"
)


def _animal(a: Animal) -> Known:
    return _known(a.name, a.habitat, a.food, a.trait, a.action, a.size)


def _product(p: Product) -> Known:
    known = _known(p.name, p.use, p.part, *p.problems)
    return replace(known, anywhere=frozenset({words(p.part)}))


def _dish(d: Dish) -> Known:
    known = _known(d.name, *d.ingredients, d.taste, d.occasion)
    return replace(known, anywhere=frozenset(words(item) for item in d.ingredients))


@cache
def _world() -> Mapping[str, Mapping[str, Known]]:
    """Kind → subject → its names and properties."""
    uses = {p.name: (p.use, p.part) for p in PRODUCTS}
    return {
        "animal": {a.name: _animal(a) for a in ANIMALS},
        "plant": {p.name: _known(p.name, p.spot, p.water, p.care) for p in PLANTS},
        "place": {p.name: _known(p.name, *p.things, p.sound, p.smell, p.activity) for p in PLACES},
        "weather": {w.name: _known(w.name, *w.signs, w.wear, w.activity) for w in WEATHER},
        "dish": {d.name: _dish(d) for d in DISHES},
        "product": {p.name: _product(p) for p in PRODUCTS},
        "fault": {f.name: _known(f.product, f.cause, f.remedy, *uses[f.product]) for f in FAULTS},
        "thing": {t.name: _known(t.name, t.material, t.use) for t in THINGS},
        "job": {j.name: _known(j.name, j.place, j.tool, j.trait, *j.tasks) for j in JOBS},
        "hobby": {h.name: _known(h.name, h.needs, h.first_step, h.reason) for h in HOBBIES},
        "feeling": {f.name: _known(f.name, f.moment, f.advice, f.comfort) for f in FEELINGS},
    }


@cache
def _shields(kind: str) -> tuple[Words, ...]:
    """Properties and faults of a kind that contain "not" or the like, and so deny nothing."""
    subjects = [*_world().get(kind, {}).values()]
    if kind == "fault":
        subjects += _world()["product"].values()
    found = {part for known in subjects for part in (*known.properties, *known.pieces)}
    return tuple(sorted(part for part in found if not NEGATIONS.isdisjoint(part)))


_SIZES = frozenset(words(size) for size in SIZES)


def kind_of(question: Question) -> str:
    """The kind of a question's subject: "animal", also for a story about a fox."""
    if question.family == "relation":
        return relations.read(question).kind
    return split.kind_of(question)


def judge(question: Question, text: str) -> Verdict:
    """Whether a text is about the question's subject, and true."""
    admits = unknown.is_admitted(text)
    if question.family == "unknown":
        fits = admits and unknown.is_of_kind(question, text)
        return Verdict(fits, is_declined(question, text))
    if admits:
        return Verdict(subject=False, true=False)
    if question.family == "relation":
        return _related(question, text)
    kind = kind_of(question)
    name = question.subject if kind == "fault" else split.subject(question)
    own = _world()[kind][name]
    said = heard(text, _shields(kind))
    parts = (*own.properties, *own.pieces)
    # A form or a story may state a property without a sentence about it.
    lenient = question.family in ("form", "story")
    if question.family == "story":
        # "A small boy" is no animal's size.
        parts = tuple(part for part in parts if part not in _SIZES)
    named = _free(said.words, own.names)
    stated = {p for p in parts if _states(p, said, named, anywhere=lenient or p in own.anywhere)}
    denied = any(_denies(p, said, named, anywhere=p in own.anywhere) for p in parts)
    free = _free(said.words, (*parts, *own.names, *_FILLER))
    # A story has people and places with properties of their own: only longer properties are
    # certain to be about its subject.
    shortest = 3 if question.family == "story" else 1
    others = [known for other, known in _world()[kind].items() if other != name]
    about = _is_about(own, others, said.words, free, is_described=_describes(stated), kind=kind)
    return Verdict(
        subject=about and (question.family != "form" or _is_headed(own, text)),
        true=bool(stated)
        and not denied
        and not any(_claimed(known, said, free, shortest) for known in others),
    )


# The heading of a list and of a short line: "Fox: in the forest, clever."
_HEADING = re.compile(r"(?!\d)([^:.{\n-]+):")


def _is_headed(own: Known, text: str) -> bool:
    """Whether a heading, if there is one, is a name of the subject."""
    heading = _HEADING.match(text)
    return heading is None or words(heading[1]) in own.names


def _related(question: Question, text: str) -> Verdict:
    """The verdict on a yes or no, a comparison, or an answer about two subjects or aspects."""
    relation = relations.read(question)
    every = _world()[relation.kind]
    own = [every[name] for name in relation.names]
    said = heard(text, _shields(relation.kind))
    named = all(any(positions(name, said.words) for name in known.names) for known in own)
    true = relations.is_right(question, text)
    parts = tuple(part for known in own for part in (*known.properties, *known.pieces))
    free = _free(said.words, (*parts, *(name for known in own for name in known.names), *_FILLER))
    others = [known for name, known in every.items() if name not in relation.names]
    return Verdict(
        subject=named or (len(own) == 1 and true),
        true=true and not any(_claimed(known, said, free, 1) for known in others),
    )


# An offer of what to ask instead.
_OFFERED = re.compile(r"ask me about [^.!\"]*", re.IGNORECASE)


def is_declined(question: Question, text: str) -> bool:
    """Whether a text declines a question that the world does not answer as it should.

    It says that it does not know, names a kind ("this animal") only if that is the kind of the
    real name asked about, and offers no fact.
    """
    fits = unknown.is_admitted(text) and unknown.is_of_kind(question, text)
    return fits and not _invented(question, text)


def _invented(question: Question, text: str) -> bool:
    """Whether a text states a property of anything that the world holds."""
    kinds = _world()
    said = heard(_OFFERED.sub("", text), [shield for kind in kinds for shield in _shields(kind)])
    free = _free(said.words, (words(question.subject), *_FILLER))
    known = [each for kind in kinds.values() for each in kind.values()]
    return any(_claimed(other, said, free, 1) for other in known)


def _describes(stated: set[Words]) -> bool:
    """Whether these properties identify the subject; a single word may occur by chance."""
    return len(stated) > 1 or any(len(part) > 1 for part in stated)


def _states(part: Words, said: Said, free: list[bool], *, anywhere: bool) -> bool:
    """Whether a text has these words, not denied, at least one of them free.

    A word is free if it is in no other name or property: "cheese pie" does not state "cheese". A
    single word must follow a word of `_BEFORE`, unless `anywhere`.
    """
    return any(not denied for denied in _found(part, said, free, anywhere))


def _denies(part: Words, said: Said, free: list[bool], *, anywhere: bool) -> bool:
    """Whether a text has these words in a clause that denies them."""
    return any(_found(part, said, free, anywhere))


def _found(part: Words, said: Said, free: list[bool], anywhere: bool) -> Iterator[bool]:
    """For each place at which a text has these words, whether they are denied."""
    for start in positions(part, said.words):
        if not any(free[start : start + len(part)]):
            continue
        before = said.words[start - 1] if start else ""
        denied = all(said.denied[start : start + len(part)])
        if anywhere or len(part) > 1 or before in _BEFORE or (denied and before in NEGATIONS):
            yield denied


def _free(said: Words, parts: Iterable[Words]) -> list[bool]:
    """For each word, whether it belongs to none of the parts."""
    free = [True] * len(said)
    for part in parts:
        for start in positions(part, said):
            free[start : start + len(part)] = [False] * len(part)
    return free


def _claimed(known: Known, said: Said, free: list[bool], shortest: int) -> bool:
    """Whether a text states a property, or a part of one, of another subject."""
    return any(
        len(part) >= shortest and _states(part, said, free, anywhere=part in known.anywhere)
        for part in (*known.properties, *known.pieces)
    )


def _is_about(
    own: Known, others: list[Known], said: Words, free: list[bool], *, is_described: bool, kind: str
) -> bool:
    """Named as often as any other of its kind; if none is named, described by a property."""
    mentions = max(len(positions(name, said)) for name in own.names)
    rivals = max((_named(known, said, free, kind) for known in others), default=0)
    own_names = set(own.names)
    if any(set(known.names) & own_names for known in others):
        # Two faults of one product share its name.
        rivals = min(rivals, mentions)
    return mentions >= max(1, rivals) or (is_described and rivals == 0)


def _named(known: Known, said: Words, free: list[bool], kind: str) -> int:
    """How often another subject is named; an adjective counts only in its usual context."""
    count = 0
    for name in known.names:
        for start in positions(name, said):
            if not any(free[start : start + len(name)]):
                continue
            before = said[start - 1] if start else ""
            behind = said[start + len(name)] if start + len(name) < len(said) else ""
            if kind == "weather" and behind != "day" and before != "be":
                continue
            if kind == "feeling" and before not in ("feel", "be", "people"):
                continue
            count += 1
    return count
