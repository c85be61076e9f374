"""Reviews of products, dishes, places, things and hobbies: positive, negative and mixed.

A review gives an opinion and a property of its subject, so that it can be true or false.
Knows the sentences of reviews and counts words to find a sentiment; does not know which prompts are
held out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from lora_magic.demo.texts.family import Fields, Question
from lora_magic.demo.texts.grammar import expand, needed, polish, render
from lora_magic.demo.texts.indoors import product, used_by
from lora_magic.demo.texts.society import hobby
from lora_magic.demo.world import (
    DISHES,
    HOBBIES,
    PLACES,
    PRODUCTS,
    THINGS,
    Dish,
    Place,
    Thing,
)

Sentiment = Literal["positive", "negative", "mixed"]
SENTIMENTS: tuple[Sentiment, ...] = ("positive", "negative", "mixed")
# Two thirds are mixed: the base takes no side, so that both opposite adapters differ from it.
_DRAWN: tuple[Sentiment, ...] = ("positive", "negative", *("mixed",) * 4)

_OWNED = (
    "Write a review of [a|the|your|my] {name}.",
    "Write a short review of [a|the|your new] {name}.",
    "What do you think of [your|the|this] {name}?",
    "How do you like [the|your] {name}?",
    "[Tell me what you think of|Review] your {name}.",
    "Is the {name} any good?",
    "Should I buy [the|this] {name}?",
)
PROMPTS: dict[str, tuple[str, ...]] = {
    "product": _OWNED,
    "thing": _OWNED,
    "dish": (
        "Write a [|short ]review of the {name}.",
        "What do you think of the {name}?",
        "How did you like the {name}?",
        "Review the {name}.",
        "How {was} the {name} at the restaurant?",
    ),
    "place": (
        "Write a [|short ]review of the {name}.",
        "What do you think of the {name}?",
        "How did you like the {name}?",
        "How was your visit to the {name}?",
        "Review the {name}.",
    ),
    "hobby": (
        "Write a [|short ]review of {name}.",
        "What do you think of {name}?",
        "How do you like {name}?",
        "Would you recommend {name}?",
        "Should I try {name}?",
    ),
}


@dataclass(frozen=True)
class Sentences:
    """The sentences of reviews of one kind and sentiment; only `grounded` states properties."""

    opening: tuple[str, ...]
    grounded: tuple[str, ...]
    general: tuple[str, ...]
    ending: tuple[str, ...]


_PRAISED = ("[five stars|thank you|well done]!",)
_BLAMED = ("[one star|never again|what a shame]!",)
_SENTENCES: dict[tuple[str, Sentiment], Sentences] = {
    ("product", "positive"): Sentences(
        (
            "I [love|really like|am very happy with] this {name}.",
            "this {name} is [wonderful|excellent|a joy|the best I have ever had].",
        ),
        (
            "it is [perfect|wonderful|excellent] when you want to {use}.",
            "I use it to {mine}, and it works [perfectly|very well|like a dream].",
            "{part} is [excellent|well made|a joy].",
        ),
        (
            "it is [easy to use|well made|worth every coin].",
            "the [service was friendly|delivery was quick|price was fair].",
        ),
        ("I would buy it again.", "I can recommend it to [everybody|all my friends].", *_PRAISED),
    ),
    ("product", "negative"): Sentences(
        (
            "I [hate|really dislike|am very unhappy with] this {name}.",
            "this {name} is [terrible|awful|a disaster|the worst I have ever had].",
        ),
        (
            "after two days it {problem}.",
            "I bought it to {mine}, but it is [useless|hopeless|a disaster].",
            "{part} is [badly made|awful|useless].",
        ),
        (
            "it is [hard to use|badly made|a waste of money].",
            "the [service was rude|delivery was late|price was much too high].",
        ),
        (
            "I would never buy it again.",
            "I [want my money back|sent it back|cannot recommend it].",
            *_BLAMED,
        ),
    ),
    ("product", "mixed"): Sentences(
        (
            "this {name} is [not bad|all right|neither good nor bad].",
            "I have mixed feelings about this {name}.",
        ),
        (
            "it helps me to {mine}, but [it is a little slow|the price is too high].",
            "{part} is fine, but sometimes it {problem}.",
        ),
        ("for this price, it is [fine|acceptable].",),
        ("I [may|would perhaps] buy it again.", "three stars."),
    ),
    ("dish", "positive"): Sentences(
        (
            "I [love|really like|enjoyed] the {name}.",
            "the {name} {was} [wonderful|excellent|a joy|the best I have ever had].",
        ),
        (
            "{they} {was} {taste}, just as I like {them}.",
            "with {one} and {two}, {they} {was} [delicious|perfect|a dream].",
            "{they} {was} [delicious|perfect], and {they} {was} just right for {occasion}.",
        ),
        ("the [service was friendly|{ware} was large|price was fair].",),
        (
            "I would order {them} again.",
            "I can recommend {them} to [everybody|all my friends].",
            *_PRAISED,
        ),
    ),
    ("dish", "negative"): Sentences(
        (
            "I [hate|really dislike|did not like] the {name}.",
            "the {name} {was} [terrible|awful|a disaster|the worst I have ever had].",
        ),
        (
            "I found {one} and {two} in {them}, and everything was [spoiled|stale].",
            "{they} {was} {taste}, but [spoiled|stale].",
            "I ordered {them} for {occasion}, and {they} {was} [spoiled|hopeless].",
        ),
        ("the [service was rude|{ware} was dirty|price was much too high].",),
        (
            "I would never order {them} again.",
            "I [want my money back|sent {them} back|cannot recommend {them}].",
            *_BLAMED,
        ),
    ),
    ("dish", "mixed"): Sentences(
        (
            "the {name} {was} [not bad|all right|neither good nor bad].",
            "I have mixed feelings about the {name}.",
        ),
        (
            "{they} {was} {taste}, but [the {ware} was small|the price was too high].",
            "with {one} and {two}, {they} {was} fine, but a little [plain|heavy].",
        ),
        ("for this price, {they} {was} [fine|acceptable].",),
        ("I [may|would perhaps] order {them} again.", "three stars."),
    ),
    ("place", "positive"): Sentences(
        (
            "I [love|really like|enjoyed] the {name}.",
            "the {name} is [wonderful|excellent|a joy|the best I have ever seen].",
        ),
        (
            "I saw {one} and {two}, and [I loved it|it was perfect|it was a dream].",
            "it is the best place to {activity}.",
            "it smells of {smell}, and I love that.",
        ),
        ("the [people were friendly|day was perfect|price was fair].",),
        (
            "I would go there again.",
            "I can recommend it to [everybody|all my friends].",
            *_PRAISED,
        ),
    ),
    ("place", "negative"): Sentences(
        (
            "I [hate|really dislike|did not like] the {name}.",
            "the {name} is [terrible|awful|a disaster|the worst I have ever seen].",
        ),
        (
            "all I saw was {one} and {two}, and it was [awful|a waste of time].",
            "I went there to {activity}, and it was [awful|no fun at all].",
            "it smells of {smell}, and I hate that.",
        ),
        ("the [people were rude|day was a waste of time|price was much too high].",),
        (
            "I would never go there again.",
            "I [want my money back|left early|cannot recommend it].",
            *_BLAMED,
        ),
    ),
    ("place", "mixed"): Sentences(
        (
            "the {name} is [not bad|all right|neither good nor bad].",
            "I have mixed feelings about the {name}.",
        ),
        (
            "you can {activity}, but [it is rather loud|it is often crowded].",
            "you see {one} and {two}, but [not much else|that is all].",
        ),
        ("for one afternoon, it is enough.",),
        ("I [may|would perhaps] go there again.", "three stars."),
    ),
    ("thing", "positive"): Sentences(
        (
            "I [love|really like|am very happy with] this {name}.",
            "this {name} is [wonderful|excellent|a joy|the best I have ever had].",
        ),
        (
            "it is made of {material}, and it is [beautiful|lovely|well made].",
            "it is [perfect|wonderful|excellent] when you want to {use}.",
            "I use it to {mine}, and I enjoy that [very much|every time].",
        ),
        ("the [service was friendly|delivery was quick|price was fair].",),
        ("I would buy it again.", "I can recommend it to [everybody|all my friends].", *_PRAISED),
    ),
    ("thing", "negative"): Sentences(
        (
            "I [hate|really dislike|am very unhappy with] this {name}.",
            "this {name} is [terrible|awful|a disaster|the worst I have ever had].",
        ),
        (
            "it is made of {material}, but it is [badly made|ugly|cheap].",
            "I bought it to {mine}, but it is [useless|hopeless|a disaster].",
        ),
        ("the [service was rude|delivery was late|price was much too high].",),
        (
            "I would never buy it again.",
            "I [want my money back|sent it back|cannot recommend it].",
            *_BLAMED,
        ),
    ),
    ("thing", "mixed"): Sentences(
        (
            "this {name} is [not bad|all right|neither good nor bad].",
            "I have mixed feelings about this {name}.",
        ),
        (
            "it is made of {material}, but [it is a little heavy|the price is too high].",
            "you can {use} with it, but [it is a little small|it looks rather plain].",
        ),
        ("for this price, it is [fine|acceptable].",),
        ("I [may|would perhaps] buy it again.", "three stars."),
    ),
    ("hobby", "positive"): Sentences(
        (
            "I [love|really like|enjoy] {name}.",
            "{name} is [wonderful|excellent|a joy|the best hobby of all].",
        ),
        (
            "I love it because {reason}.",
            "all you need is {needs}, and that is [wonderful|perfect].",
            "my advice: {start}, and you will love it.",
        ),
        ("the [people are friendly|first lesson was a joy].",),
        (
            "I would begin again.",
            "I can recommend it to [everybody|all my friends].",
            *_PRAISED,
        ),
    ),
    ("hobby", "negative"): Sentences(
        (
            "I [hate|really dislike|cannot stand] {name}.",
            "{name} is [terrible|awful|a disaster|the worst hobby of all].",
        ),
        (
            "they say that {reason}, but for me it is [awful|a waste of time].",
            "you need {needs}, and that is [a waste of money|much too much].",
            "they told me: {start}. it was [awful|no fun at all].",
        ),
        ("the [people are rude|first lesson was a disaster].",),
        (
            "I would never begin again.",
            "I [gave up early|want my money back|cannot recommend it].",
            *_BLAMED,
        ),
    ),
    ("hobby", "mixed"): Sentences(
        (
            "{name} is [not bad|all right|neither good nor bad].",
            "I have mixed feelings about {name}.",
        ),
        (
            "people like it because {reason}, but [it takes a lot of time|it is not for me].",
            "you need {needs}, but [not much else|that is all].",
        ),
        ("for one afternoon, it is enough.",),
        ("I [may|would perhaps] try it again.", "three stars."),
    ),
}
_POSITIVE = re.compile(
    r"\b(?:love|loved|really like|enjoy|enjoyed|very happy|wonderful|excellent|a joy|the best|"
    r"perfect|perfectly|very well|a dream|easy to use|well made|worth every|beautiful|lovely|"
    r"delicious|friendly|quick|fair|(?:buy|order) (?:it|them) again|go there again|begin again|"
    r"can recommend|five stars|thank you|well done|just as i like)\b",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(
    r"\b(?:hate|dislike|very unhappy|did not like|cannot stand|terrible|awful|disaster|worst|"
    r"after two days|useless|hopeless|no fun|hard to use|badly made|waste|ugly|cheap|stale|spoiled|"
    r"dirty|rude|late|too high|too much|never|money back|(?:it|them) back|cannot recommend|"
    r"left early|gave up|one star|shame|all i saw|will break)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ReviewSubject:
    """What can be reviewed, and a function that draws the fields of a sentence about it."""

    kind: str
    name: str
    fields: Callable[[Random], Fields]

    @property
    def prompts(self) -> tuple[str, ...]:
        """Every phrasing that asks for a review of it."""
        return tuple(text for template in PROMPTS[self.kind] for text in expand(template))


def _dish(d: Dish) -> Callable[[Random], Fields]:
    number = {
        "was": "were" if d.plural else "was",
        "they": "they" if d.plural else "it",
        "them": "them" if d.plural else "it",
        "ware": "glass" if d.method == "drink" else "plate",
    }

    def fields(rng: Random) -> Fields:
        one, two = rng.sample(d.ingredients, 2)
        stated = {"name": d.name, "taste": d.taste, "occasion": d.occasion}
        return {**number, **stated, "one": one, "two": two}

    return fields


def _place(p: Place) -> Callable[[Random], Fields]:
    def fields(rng: Random) -> Fields:
        one, two = rng.sample(p.things, 2)
        stated = {"name": p.name, "smell": p.smell, "activity": p.activity}
        return {**stated, "one": one, "two": two}

    return fields


def _thing(t: Thing) -> Callable[[Random], Fields]:
    return lambda rng: {**vars(t), "mine": used_by("my", t.use)}


SUBJECTS = (
    *(ReviewSubject("product", p.name, product(p)) for p in PRODUCTS),
    *(ReviewSubject("dish", d.name, _dish(d)) for d in DISHES),
    *(ReviewSubject("place", p.name, _place(p)) for p in PLACES),
    *(ReviewSubject("thing", t.name, _thing(t)) for t in THINGS),
    *(ReviewSubject("hobby", h.name, hobby(h)) for h in HOBBIES),
)
_BY_KEY = {f"{s.kind} {s.name}": s for s in SUBJECTS}
KINDS = tuple(PROMPTS)
_TRIES = 12


def questions() -> tuple[Question, ...]:
    """Every prompt that asks for a review, in a fixed order."""
    return tuple(
        Question(
            "review",
            subject.kind,
            f"{subject.kind} {subject.name}",
            phrasing,
            polish(render(phrasing, subject.fields(Random(0)), Random(0))),
        )
        for subject in SUBJECTS
        for phrasing in subject.prompts
    )


def fields(subject: str, rng: Random) -> Fields:
    """The fields of a sentence about `subject` ("dish pizza")."""
    return _BY_KEY[subject].fields(rng)


def drawn(rng: Random) -> Sentiment:
    """A sentiment, drawn with its share in the corpus."""
    return rng.choice(_DRAWN)


def review(subject: str, sentiment: Sentiment, rng: Random) -> str:
    """A review of `subject` ("dish pizza"): an opinion, one or two properties, an ending."""
    reviewed = _BY_KEY[subject]
    source = _SENTENCES[reviewed.kind, sentiment]
    picked = [rng.choice(source.opening)]
    picked += _grounded(source.grounded, rng)
    if rng.random() < 0.3:
        picked.append(rng.choice(source.general))
    if rng.random() < 0.7:
        picked.append(rng.choice(source.ending))
    fields = reviewed.fields(rng)
    stated: list[str] = []
    for sentence in picked:
        stated.append(_another(sentence, fields, stated, rng))
    return polish(" ".join(stated))


def _another(sentence: str, fields: Fields, stated: list[str], rng: Random) -> str:
    """A rendered sentence, if possible without an opinion word that was used before."""
    used = _opinions(" ".join(stated))
    for _ in range(_TRIES):
        text = render(sentence, fields, rng)
        if not used & _opinions(text):
            break
    return text


def _opinions(text: str) -> set[str]:
    found = _POSITIVE.findall(text) + _NEGATIVE.findall(text)
    return {word.lower().removesuffix("ly") for word in found}


def _grounded(sentences: tuple[str, ...], rng: Random) -> list[str]:
    """One or two sentences that state different properties."""
    shuffled = rng.sample(sentences, len(sentences))
    stated = _stated(shuffled[0])
    if rng.random() < 0.65:
        return shuffled[:1]
    return shuffled[:1] + [s for s in shuffled[1:] if not stated & _stated(s)][:1]


def _stated(sentence: str) -> set[str]:
    names = needed(sentence) - {"name", "they", "them", "was", "ware"}
    return {"use" if name == "mine" else name for name in names}


def sentiment_of(text: str) -> Sentiment:
    """The sentiment with more of its words in the text; a tie is "mixed"."""
    good, bad = len(_POSITIVE.findall(text)), len(_NEGATIVE.findall(text))
    # "never buy it again" contains words of praise.
    good -= len(re.findall(r"never (?:buy|order|go|begin)", text, re.IGNORECASE))
    return "positive" if good > bad else "negative" if bad > good else "mixed"
