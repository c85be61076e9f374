"""The wordings of every aspect in one table, and how a person names the subject of a question.

Knows where each table is; `asking` draws from them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

from lora_magic.demo.factory.wording import (
    feelings,
    hobbies,
    indoors,
    jobs,
    outdoors,
    parts,
    statements,
)
from lora_magic.demo.factory.wording.parts import Wording
from lora_magic.demo.texts import opinions, split, stories
from lora_magic.demo.texts.family import Fields, Question
from lora_magic.demo.texts.grammar import plural

#: What is no question of fact.
REQUESTS = parts.read("review", "story", "dialogue", "form")
WORDINGS: Mapping[tuple[str, str], Wording] = {
    **outdoors.WORDINGS,
    **indoors.WORDINGS,
    **jobs.WORDINGS,
    **hobbies.WORDINGS,
    **feelings.WORDINGS,
    **REQUESTS,
}
NAMES: Mapping[str, tuple[str, ...]] = {
    **outdoors.NAMES,
    **indoors.NAMES,
    **jobs.NAMES,
    **hobbies.NAMES,
    **feelings.NAMES,
}
_FAMILIES = {family.name: family for family in split.FAMILIES}


def fields(question: Question, rng: Random) -> Fields:
    """The fields of a wording: the family's, with one of the names that people use.

    The subject's own name is as likely as all others together. Answers use only that.
    """
    own = split.subject(question)
    kind = split.kind_of(question)
    # A fault is named by its product.
    others = NAMES.get(f"{'product' if kind == 'fault' else kind}/{own}", ())
    name = rng.choice(others) if others and rng.random() < 0.5 else own
    said = {**_own(question, rng), "name": name, "many": plural(name)}
    if question.family in _FAMILIES:
        said |= _said(question.family, question.subject, name, rng)
    for fact in ("habitat", "tool"):
        if fact in said:
            said["bare"] = bare(said[fact])
    return said


def bare(fact: str) -> str:
    """The words of a fact as in a note: "on the cold coast" → "cold coast"."""
    fact = re.sub(r"^(in|on|at|along|among|beside) ", "", fact)
    return re.sub(r"\b(a|an|the) ", "", fact)


def _own(question: Question, rng: Random) -> Fields:
    """What the world says of the subject, in the words that its questions use."""
    if question.family in _FAMILIES:
        return _FAMILIES[question.family].fields(question.subject, rng)
    if question.family == "review":
        return opinions.fields(question.subject, rng)
    if question.family == "story":
        return stories.SUBJECTS[question.aspect][question.subject]
    return {}


def _said(family: str, subject: str, name: str, rng: Random) -> Fields:
    """What people say of a subject besides its name."""
    if family == "weather":
        said = (f"it is {name}", *outdoors.WEATHER_SAID[subject])
        return {"it": rng.choice(said), "noun": outdoors.WEATHER_NOUN[subject]}
    if family == "feeling":
        said = statements.FEELING_SAID[subject]
        return {"said": rng.choice(said), "noun": feelings.FEELING_NOUN[subject]}
    if family == "hobby":
        return {"verb": hobbies.HOBBY_VERB[subject]}
    if family in ("dish", "fault", "product", "thing"):
        return indoors.fields(family, subject, name, rng)
    return {}
