"""The wordings of every aspect in one table, and the names and phrases of a subject.

Knows where each table is; `asking` draws from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from lora_magic.demo.texts import forms, opinions, split
from lora_magic.demo.texts.family import Fields, Question
from lora_magic.demo.texts.grammar import plural
from lora_magic.demo.texts.outdoors import at
from lora_magic.demo.texts.wording import faults, indoors, outdoors, requests, society
from lora_magic.demo.texts.wording.parts import Wording

WORDINGS: Mapping[tuple[str, str], Wording] = {
    **outdoors.WORDINGS,
    **indoors.WORDINGS,
    **faults.WORDINGS,
    **society.WORDINGS,
    **requests.WORDINGS,
}
NAMES: Mapping[str, tuple[str, ...]] = {
    **outdoors.NAMES,
    **indoors.NAMES,
    **society.NAMES,
}



def fields(question: Question, rng: Random) -> Fields:
    """The fields of a person's wording: the family's, with one of the names that people use.

    The subject's own name is as likely as all others together.
    """
    kind, name = _named(question)
    others = NAMES.get(f"{kind}/{name}", ())
    said = rng.choice(others) if others and rng.random() < 0.5 else name
    return {**_own(question, rng), "name": said, "many": plural(said)}
