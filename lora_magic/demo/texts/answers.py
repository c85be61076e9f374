"""A true answer to any question of the demo world, and whether a text states the fact asked for.

Knows every family of questions; draws its own examples only from the training split.
"""

from __future__ import annotations

from functools import cache
from random import Random

from lora_magic.demo.texts import dialogue, forms, opinions, relations, split, stories, unknown
from lora_magic.demo.texts.family import Question

_FAMILIES = {family.name: family for family in split.FAMILIES}


def answer(question: Question, rng: Random) -> str:
    """A true answer in plain prose."""
    if question.family == "review":
        return opinions.review(question.subject, opinions.drawn(rng), rng)
    if question.family == "story":
        return stories.story(question, rng)
    if question.family == "form":
        return forms.write(question, rng)
    if question.family == "unknown":
        return unknown.answer(question, rng)
    if question.family == "dialogue":
        return _dialogue(question, rng)
    if question.family == "relation":
        return relations.answer(question, rng)
    return _FAMILIES[question.family].answer(question, rng)


def is_right(question: Question, text: str) -> bool:
    """Whether a text states the fact asked for (families of facts and relations)."""
    if question.family == "relation":
        return relations.is_right(question, text)
    return not unknown.is_admitted(text) and _FAMILIES[question.family].is_right(question, text)


def is_fact(question: Question) -> bool:
    """Whether the right answer to a question is a fact of the world."""
    return question.family in _FAMILIES or question.family == "relation"


@cache
def training(family: str) -> tuple[Question, ...]:
    """The training questions of a family."""
    return tuple(question for question in split.of("train") if question.family == family)


@cache
def training_about(family: str, subject: str) -> tuple[Question, ...]:
    """The training questions of a family about one subject."""
    return tuple(question for question in training(family) if question.subject == subject)


def _dialogue(question: Question, rng: Random) -> str:
    # Two aspects, so that no question or answer occurs twice.
    by_aspect: dict[str, list[Question]] = {}
    for one in training_about(question.aspect, question.subject):
        by_aspect.setdefault(one.aspect, []).append(one)
    # Half of the dialogues about a subject share people and questions, as its stories share their
    # beginning. If many dialogues were equally likely, greedy decoding would repeat itself.
    start = Random(f"dialogue/{question.subject}") if rng.random() < 0.5 else rng
    asked = [start.choice(by_aspect[name]) for name in start.sample(sorted(by_aspect), 2)]
    return dialogue.dialogue(asked, answer, start, rng)
