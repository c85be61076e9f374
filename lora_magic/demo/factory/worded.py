"""Questions in people's words, drawn from a split: those of validation choose the weights.

Knows which kinds of question there are; knows no model.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from random import Random

from lora_magic.demo.factory.elsewhere import elsewhere
from lora_magic.demo.factory.wording import asking, frames
from lora_magic.demo.texts import relations, split
from lora_magic.demo.texts.family import Question

#: Of ten questions: facts, relations, and what the world does not hold.
FACTS, RELATIONS, BEYOND = 6, 1, 3


@cache
def questions(of: split.Split, count: int, seed: int = 0) -> tuple[Question, ...]:
    """`count` questions of a split, the same for a seed, typed as people do."""
    rng = Random(split.number(f"worded/{of}/{seed}"))
    return tuple(_other_than_plain(of, number, rng) for number in range(count))


def _other_than_plain(of: split.Split, number: int, rng: Random) -> Question:
    """A question that is none of the plain ones, of which any may be trained on."""
    while True:
        question = _typed(_drawn(of, number, rng), rng)
        if split.plain(question.prompt) not in split.prompts():
            return question


def _drawn(of: split.Split, number: int, rng: Random) -> Question:
    place = number % (FACTS + RELATIONS + BEYOND)
    if place >= FACTS + RELATIONS:
        return elsewhere(rng, of)
    if place >= FACTS:
        return relations.draw(rng, of)[0]
    family = split.FAMILIES[rng.randrange(len(split.FAMILIES))]
    subject = rng.choice(tuple(family.subjects))
    of_family = [aspect.name for aspect in family.aspects]
    question = Question(family.name, rng.choice(of_family), subject, "", "")
    return asking.asked(question, of, rng)


def _typed(question: Question, rng: Random) -> Question:
    return replace(question, prompt=frames.typed(question.prompt, rng))
