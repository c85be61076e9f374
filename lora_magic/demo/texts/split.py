"""Which questions are held out: a hash of the question decides, so that the split never changes.

A group is all questions about one aspect of one subject. One or two phrasings of each group are
held out; the others are trained on, so that every fact can be learned.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from functools import cache
from typing import Literal

from lora_magic.demo.texts import dialogue, forms, opinions, stories, unknown
from lora_magic.demo.texts.family import Question
from lora_magic.demo.texts.indoors import DISH, FAULT, PRODUCT, THING
from lora_magic.demo.texts.outdoors import ANIMAL, PLACE, PLANT, WEATHERS
from lora_magic.demo.texts.society import FEELING, HOBBY, JOB
from lora_magic.demo.world import FAULTS

Split = Literal["train", "validation", "test"]
FAMILIES = (ANIMAL, PLANT, PLACE, WEATHERS, DISH, PRODUCT, FAULT, THING, JOB, HOBBY, FEELING)
# One in 4 review subjects holds out every "Write a …" phrasing.
REVIEWS_HELD_OUT = 4
# One in 5 names outside the world is in the test split, and one in validation.
NAMES_HELD_OUT = 5
# One in 3 groups has a second phrasing in validation.
VALIDATION = 3


def number(text: str) -> int:
    """A hash of the text, the same in every process and version."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def plain(prompt: str) -> str:
    """A prompt without capitals and punctuation; prompts with equal results count as the same."""
    return " ".join(re.findall(r"[a-z0-9'-]+", prompt.lower()))


@cache
def everything() -> tuple[Question, ...]:
    """Every question that can be held out."""
    facts = (question for family in FAMILIES for question in family.questions())
    others = (opinions, stories, forms, dialogue, unknown)
    return (*facts, *(question for kind in others for question in kind.questions()))


def part_of_name(kind: str, name: str) -> Split:
    """The split of a name that the world does not hold, and so of everything asked about it.

    Whole names are held out: the model must admit not knowing a name it never saw.
    """
    places: tuple[Split, ...] = ("test", "validation", "train")
    return places[min(2, number(f"unknown/{kind}/{name}") % NAMES_HELD_OUT)]


def _group_split(group: list[Question]) -> dict[str, Split]:
    first = group[0]
    name = f"{first.family}/{first.aspect}/{first.subject}"
    ranked = sorted(group, key=lambda question: number(question.key))
    splits: dict[str, Split] = {question.key: "train" for question in group}
    if first.family == "review" and number(name) % REVIEWS_HELD_OUT == 0:
        splits.update({q.key: "test" for q in group if q.phrasing.startswith("Write a")})
        return splits
    if first.family == "unknown":
        return dict.fromkeys(splits, part_of_name(first.aspect, first.subject))
    if len(ranked) >= 3:
        splits[ranked[0].key] = "test"
    if len(ranked) >= 4 and number(name) % VALIDATION == 0:
        splits[ranked[1].key] = "validation"
    return splits


@cache
def _splits() -> dict[str, Split]:
    groups: dict[tuple[str, str, str], list[Question]] = defaultdict(list)
    for question in everything():
        groups[question.family, question.aspect, question.subject].append(question)
    splits: dict[str, Split] = {}
    for group in groups.values():
        splits.update(_group_split(group))
    # Two phrasings may give the same words: then both are held out, in the same split.
    held = {plain(q.prompt): splits[q.key] for q in everything() if splits[q.key] == "test"}
    for question in everything():
        if splits[question.key] == "validation":
            held.setdefault(plain(question.prompt), "validation")
    return {q.key: held.get(plain(q.prompt), splits[q.key]) for q in everything()}


def split_of(question: Question) -> Split:
    """The split of a question: training, validation (chooses weights and recipes) or test."""
    return _splits()[question.key]


@cache
def prompts() -> frozenset[str]:
    """Every prompt of every split, without capitals and punctuation."""
    return frozenset(plain(question.prompt) for question in everything())


@cache
def of(split: Split) -> tuple[Question, ...]:
    """All questions of a split, in a fixed order."""
    return tuple(question for question in everything() if split_of(question) == split)


_PRODUCT_OF = {fault.name: fault.product for fault in FAULTS}


def is_unseen(question: Question) -> bool:
    """Whether the question's subject is one of the third that no adapter is trained on."""
    return number(f"adapter/{subject(question)}") % 3 == 0


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


def subject(question: Question) -> str:
    """The name that a question is about: "pizza", for a fact and for a review."""
    name = question.subject
    if question.family == "review":
        return name.removeprefix(f"{question.aspect} ")
    if question.family == "relation":
        # The first of two: "animal/size/fox/bear/bigger".
        return name.split("/")[2]
    if question.family == "fault":
        return _PRODUCT_OF[name]
    return name
