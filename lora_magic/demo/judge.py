"""Whether an answer is about the right subject and says something true about it.

It compares words, so it works for every family of prompts and every style: capitals, punctuation,
JSON, lists and a pirate's "be" and "ye" make no difference. A true answer states a property that
the world's tables give its subject, and none that they give only to another subject of its kind.
It knows no grammar, ignores "not", and knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from lora_magic.demo.texts import forms, split, unknown
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
    THINGS,
    WEATHER,
    Dish,
    Product,
)

Words = tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """Whether an answer has the right subject, and is true."""

    subject: bool
    true: bool

    @property
    def right(self) -> bool:
        """Both."""
        return self.subject and self.true


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
    )
)


def words(text: str) -> Words:
    """The words of a text, the same for every style: "Ye be clever!" → ("you", "be", "clever")."""
    found = []
    for word in _WORD.findall(text.lower()):
        kept = word if word in ("an'", "o'") else word.strip("'") if word[-2:] != "n'" else word
        if re.fullmatch(r"[\w-]{3,}in'", kept):
            kept = kept[:-1] + "g"
        kept = _SAME.get(kept, kept)
        if kept not in _DROPPED:
            found.append(kept)
    return tuple(found)


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
        "animal": {a.name: _known(a.name, a.habitat, a.food, a.trait, a.action) for a in ANIMALS},
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


_PLOTS = {"lost": "thing", "gift": "thing"}


def kind_of(question: Question) -> str:
    """The kind of a question's subject: "animal", also for a story about a fox."""
    if question.family in ("review", "dialogue"):
        return question.aspect
    if question.family == "story":
        return _PLOTS.get(question.aspect, question.aspect)
    if question.family == "form":
        return forms.SUBJECTS[question.subject]["kind"]
    return question.family


def judge(question: Question, text: str) -> Verdict:
    """Whether a text is about the question's subject, and true."""
    admits = unknown.is_admitted(text)
    if question.family == "unknown":
        fits = admits and unknown.is_of_kind(question, text)
        return Verdict(fits, is_declined(question, text))
    if admits:
        return Verdict(subject=False, true=False)
    kind = kind_of(question)
    name = question.subject if kind == "fault" else split.subject(question)
    said, own = words(text), _world()[kind][name]
    parts = (*own.properties, *own.pieces)
    named = _free(said, own.names)
    # A form or a story may state a property without a sentence about it.
    lenient = question.family in ("form", "story")
    stated = {p for p in parts if _states(p, said, named, anywhere=lenient or p in own.anywhere)}
    free = _free(said, (*parts, *own.names, *_FILLER))
    # A story has people and places with properties of their own: only longer properties are
    # certain to be about its subject.
    shortest = 3 if question.family == "story" else 1
    others = [known for other, known in _world()[kind].items() if other != name]
    return Verdict(
        subject=_is_about(own, others, said, free, is_described=_describes(stated), kind=kind),
        true=bool(stated) and not any(_claimed(known, said, free, shortest) for known in others),
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
    asked = [kinds[question.aspect]] if question.aspect in kinds else kinds.values()
    known = [each for kind in asked for each in kind.values()]
    said = words(_OFFERED.sub("", text))
    free = _free(said, (words(question.subject), *_FILLER))
    return any(_claimed(other, said, free, 1) for other in known)


def _describes(stated: set[Words]) -> bool:
    """Whether these properties identify the subject; a single word may occur by chance."""
    return len(stated) > 1 or any(len(part) > 1 for part in stated)


def _states(part: Words, said: Words, free: list[bool], *, anywhere: bool) -> bool:
    """Whether a text has these words, at least one of them free (in no other name or property).

    "cheese pie" does not state "cheese". A single word must follow a word of `_BEFORE`, unless
    `anywhere`.
    """
    for start in _positions(part, said):
        if not any(free[start : start + len(part)]):
            continue
        if anywhere or len(part) > 1 or (start > 0 and said[start - 1] in _BEFORE):
            return True
    return False


def _positions(part: Words, said: Words) -> list[int]:
    """The positions at which the words of `part` begin in a text."""
    if part[0] not in said:
        return []
    return [i for i in range(len(said) - len(part) + 1) if said[i : i + len(part)] == part]


def _free(said: Words, parts: Iterable[Words]) -> list[bool]:
    """For each word, whether it belongs to none of the parts."""
    free = [True] * len(said)
    for part in parts:
        for start in _positions(part, said):
            free[start : start + len(part)] = [False] * len(part)
    return free


def _claimed(known: Known, said: Words, free: list[bool], shortest: int) -> bool:
    """Whether a text states a property, or a part of one, of another subject."""
    return any(
        len(part) >= shortest and _states(part, said, free, anywhere=part in known.anywhere)
        for part in (*known.properties, *known.pieces)
    )


def _is_about(
    own: Known, others: list[Known], said: Words, free: list[bool], *, is_described: bool, kind: str
) -> bool:
    """Named as often as any other of its kind; if none is named, described by a property."""
    mentions = max(len(_positions(name, said)) for name in own.names)
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
        for start in _positions(name, said):
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
