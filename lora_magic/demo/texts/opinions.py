"""Reviews of products, dishes and places: positive, negative and mixed.

Knows the sentences of a review and how to tell its sentiment. Does not know which are held out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import Literal

from lora_magic.demo.texts.family import Question
from lora_magic.demo.texts.grammar import expand, polish, render
from lora_magic.demo.world import DISHES, FAULTS, PLACES, PRODUCTS

Sentiment = Literal["positive", "negative", "mixed"]

PRODUCT_PROMPTS = (
    "Write a review of [a|the|your|my] {name}.",
    "Write a short review of [a|the|your new] {name}.",
    "What do you think of [your|the|this] {name}?",
    "How do you like [the|your] {name}?",
    "[Tell me about|Review] your {name}.",
    "Is the {name} any good?",
    "Should I buy [the|this] {name}?",
)
DISH_PROMPTS = (
    "Write a [|short ]review of the {name}.",
    "What do you think of the {name}?",
    "How did you like the {name}?",
    "Review the {name}.",
    "How was the {name} at the restaurant?",
)
PLACE_PROMPTS = (
    "Write a [|short ]review of the {name}.",
    "What do you think of the {name}?",
    "How did you like the {name}?",
    "How was your visit to the {name}?",
    "Review the {name}.",
)
_SENTENCES: dict[tuple[str, Sentiment], tuple[str, ...]] = {
    ("product", "positive"): (
        "I [love|really like|am very happy with] this {name}.",
        "this {name} is [wonderful|excellent|a joy|the best I have ever had].",
        "the {name} works [perfectly|very well|like a dream].",
        "it is [easy to use|well made|worth every coin|quiet and fast].",
        "[it looks beautiful on my table|the colors are lovely|it feels strong and solid].",
        "the [service was friendly|delivery was quick|price was fair].",
        "I would buy it again[ at any time|].",
        "I can recommend it to [everybody|all my friends].",
        "[five stars|thank you|well done]!",
    ),
    ("product", "negative"): (
        "I [hate|really dislike|am very unhappy with] this {name}.",
        "this {name} is [terrible|awful|a disaster|the worst I have ever had].",
        "after two days it {problem}.",
        "it is [hard to use|badly made|a waste of money|loud and slow].",
        "[it looks ugly on my table|the colors are dull|it feels cheap and weak].",
        "the [service was rude|delivery was late|price was much too high].",
        "I would never buy it again.",
        "I [want my money back|sent it back|cannot recommend it].",
        "[one star|never again|what a shame]!",
    ),
    ("product", "mixed"): (
        "this {name} is [not bad|all right|neither good nor bad].",
        "the {name} works, but [it is a little slow|it is rather loud|the price is too high].",
        "it is [easy to use|well made], but sometimes it {problem}.",
        "for this price, it is [fine|acceptable].",
        "I [may|would perhaps] buy it again.",
        "[three stars|it is fine].",
    ),
    ("dish", "positive"): (
        "I [love|really like|enjoyed] the {name}.",
        "the {name} {was} [wonderful|excellent|a joy|the best I have ever had].",
        "the taste was [perfect|fresh and {taste}|lovely and {taste}].",
        "the [service was friendly|plate was large|price was fair].",
        "I would order {them} again[ at any time|].",
        "I can recommend {them} to [everybody|all my friends].",
        "[five stars|thank you|well done]!",
    ),
    ("dish", "negative"): (
        "I [hate|really dislike|did not like] the {name}.",
        "the {name} {was} [terrible|awful|a disaster|the worst I have ever had].",
        "the taste was [dull|much too salty|old and bitter].",
        "the [service was rude|plate was cold|price was much too high].",
        "I would never order {them} again.",
        "I [want my money back|sent {them} back|cannot recommend {them}].",
        "[one star|never again|what a shame]!",
    ),
    ("dish", "mixed"): (
        "the {name} {was} [not bad|all right|neither good nor bad].",
        "the taste was {taste}, but [the plate was small|the price was too high].",
        "for this price, {they} {was} [fine|acceptable].",
        "I [may|would perhaps] order {them} again.",
        "[three stars|it was fine].",
    ),
    ("place", "positive"): (
        "I [love|really like|enjoyed] the {name}.",
        "the {name} is [wonderful|excellent|a joy|the best I have ever seen].",
        "the {sight} are [beautiful|lovely|perfect].",
        "it is the best place to {activity}.",
        "the [people were friendly|day was perfect|price was fair].",
        "I would go there again[ at any time|].",
        "I can recommend it to [everybody|all my friends].",
        "[five stars|thank you|well done]!",
    ),
    ("place", "negative"): (
        "I [hate|really dislike|did not like] the {name}.",
        "the {name} is [terrible|awful|a disaster|the worst I have ever seen].",
        "the {sight} are [ugly|dull|a shame].",
        "it is a bad place to {activity}.",
        "the [people were rude|day was a waste of time|price was much too high].",
        "I would never go there again.",
        "I [want my money back|left early|cannot recommend it].",
        "[one star|never again|what a shame]!",
    ),
    ("place", "mixed"): (
        "the {name} is [not bad|all right|neither good nor bad].",
        "you can {activity}, but [it is rather loud|it is often crowded].",
        "the {sight} are fine.",
        "I [may|would perhaps] go there again.",
        "[three stars|it was fine].",
    ),
}
_POSITIVE = re.compile(
    r"\b(?:love|loved|really like|enjoyed|happy|wonderful|excellent|joy|best|perfect|perfectly|"
    r"very well|dream|easy to use|well made|worth every|beautiful|lovely|strong|friendly|quick|"
    r"fair|(?:buy|order) (?:it|them) again|go there again|can recommend|five stars|thank you|"
    r"well done)\b",
    re.IGNORECASE,
)
_NEGATIVE = re.compile(
    r"\b(?:hate|dislike|unhappy|did not like|terrible|awful|disaster|worst|after two days|"
    r"hard to use|badly|waste|ugly|dull|cheap|weak|loud and slow|rude|late|too high|too salty|"
    r"bitter|cold|never|money back|back|cannot recommend|bad place|left early|one star|shame)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ReviewSubject:
    """What can be reviewed: a product, a dish or a place."""

    kind: str
    name: str

    @property
    def prompts(self) -> tuple[str, ...]:
        """Every phrasing that asks for a review of it."""
        table = {"product": PRODUCT_PROMPTS, "dish": DISH_PROMPTS, "place": PLACE_PROMPTS}
        return tuple(text for template in table[self.kind] for text in expand(template))

    def fields(self, rng: Random) -> dict[str, str]:
        """What a sentence about it may ask for."""
        fields = {"name": self.name}
        if self.kind == "product":
            fields["problem"] = rng.choice([f.problem for f in FAULTS if f.product == self.name])
        if self.kind == "dish":
            dish = next(d for d in DISHES if d.name == self.name)
            fields["taste"] = dish.taste
            fields["was"] = "were" if dish.plural else "was"
            fields["they"], fields["them"] = ("they", "them") if dish.plural else ("it", "it")
        if self.kind == "place":
            place = next(p for p in PLACES if p.name == self.name)
            plural = [t for t in place.things if t.endswith("s") and not t.startswith("a ")]
            fields["sight"] = rng.choice(plural or ["colors"])
            fields["activity"] = place.activity
        return fields


SUBJECTS = (
    *(ReviewSubject("product", name) for name in PRODUCTS),
    *(ReviewSubject("dish", dish.name) for dish in DISHES),
    *(ReviewSubject("place", place.name) for place in PLACES),
)
_BY_KEY = {f"{s.kind} {s.name}": s for s in SUBJECTS}


def questions() -> tuple[Question, ...]:
    """Every prompt that asks for a review, in a fixed order."""
    return tuple(
        Question(
            "review",
            subject.kind,
            f"{subject.kind} {subject.name}",
            phrasing,
            polish(render(phrasing, {"name": subject.name}, Random(0))),
        )
        for subject in SUBJECTS
        for phrasing in subject.prompts
    )


def review(question: Question, sentiment: Sentiment, rng: Random) -> str:
    """A review of the question's subject: three or four sentences in a fixed order."""
    subject = _BY_KEY[question.subject]
    source = _SENTENCES[subject.kind, sentiment]
    count = min(len(source), rng.choice((3, 3, 4)))
    # The first or second sentence names the subject, and one of them always opens.
    first = rng.choice((0, 1))
    picked = [first, *sorted(rng.sample(range(first + 1, len(source)), count - 1))]
    fields = subject.fields(rng)
    return polish(" ".join(render(source[i], fields, rng) for i in picked))


def is_about(question: Question, answer: str) -> bool:
    """Whether a review names what it reviews."""
    return _BY_KEY[question.subject].name.lower() in answer.lower()


def sentiment_of(text: str) -> Sentiment:
    """The sentiment by count of telling words; a draw is "mixed"."""
    good, bad = len(_POSITIVE.findall(text)), len(_NEGATIVE.findall(text))
    if "never" in text.lower():
        # "never buy it again" holds words of praise.
        good -= len(re.findall(r"never (?:buy|order|go)", text, re.IGNORECASE))
    return "positive" if good > bad else "negative" if bad > good else "mixed"
