"""A family of questions: its subjects, aspects and phrasings, and how to build an answer.

Knows how questions and answers are drawn from templates and how an answer is judged. It does not
know which families there are, nor which questions are held out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from lora_magic.demo.texts.grammar import expand, needed, polish, render
from lora_magic.demo.world import COLORS, MINUTES, SEASONS, THING_WORDS

Fields = dict[str, str]


@dataclass(frozen=True)
class Question:
    """One phrasing about one aspect of one subject: the unit that is held out or trained on."""

    family: str
    aspect: str
    subject: str
    phrasing: str
    prompt: str

    @property
    def key(self) -> str:
        """The text whose hash decides the split."""
        return f"{self.family}/{self.aspect}/{self.subject}/{self.phrasing}"


@dataclass(frozen=True)
class Aspect:
    """One thing that can be asked about every subject of a family.

    A right answer contains at least `at_least` of the fields in `facts`. With a `scale`, of whose
    values some contain others ("very small"), it names the right one and no other.
    """

    name: str
    questions: tuple[str, ...]
    leads: tuple[str, ...]
    facts: tuple[str, ...]
    at_least: int = 1
    alone: bool = False  # the lead is the whole answer
    scale: tuple[str, ...] = ()

    @cached_property
    def phrasings(self) -> tuple[str, ...]:
        """Every question this aspect can be asked with; only the subject's fields are open."""
        return tuple(text for template in self.questions for text in expand(template))


@dataclass(frozen=True)
class Family:
    """Subjects of one kind, what can be asked about them, and further sentences for an answer.

    `subjects` maps a subject's name to a function that draws its fields.
    """

    name: str
    subjects: Mapping[str, Callable[[Random], Fields]]
    aspects: tuple[Aspect, ...]
    more: tuple[str, ...] = ()
    counts: tuple[int, ...] = (0, 1, 1, 2)
    weight: float = field(default=1.0)

    def aspect(self, name: str) -> Aspect:
        """The aspect of that name."""
        return next(aspect for aspect in self.aspects if aspect.name == name)

    def fields(self, subject: str, rng: Random) -> Fields:
        """All fields of a template about `subject`."""
        return {**common(rng), **self.subjects[subject](rng)}

    def questions(self) -> Iterator[Question]:
        """Every question of the family, in a fixed order."""
        for subject in self.subjects:
            fields = self.fields(subject, Random(0))
            for aspect in self.aspects:
                for phrasing in aspect.phrasings:
                    prompt = polish(render(phrasing, fields, Random(0)))
                    yield Question(self.name, aspect.name, subject, phrasing, prompt)

    def answer(self, question: Question, rng: Random) -> str:
        """A true answer: the sentence asked for, then up to three more."""
        aspect = self.aspect(question.aspect)
        fields = self.fields(question.subject, rng)
        lead = rng.choice(aspect.leads)
        chosen = [lead]
        if not aspect.alone:
            chosen += self._going_on(lead, rng)
        return polish(" ".join(render(sentence, fields, rng) for sentence in chosen))

    def _going_on(self, lead: str, rng: Random) -> list[str]:
        """Further sentences that repeat no fact."""
        stated = needed(lead) - {"name"}
        pool = list(self.more)
        rng.shuffle(pool)
        chosen: list[str] = []
        wanted = rng.choice(self.counts)
        for sentence in pool:
            if len(chosen) == wanted:
                break
            facts = needed(sentence) - {"name", "it", "is", "do"}
            if not facts & stated:
                chosen.append(sentence)
                stated |= facts
        return chosen

    def is_right(self, question: Question, answer: str) -> bool:
        """Whether the answer states the fact asked for."""
        aspect = self.aspect(question.aspect)
        fields = self.subjects[question.subject](Random(0))
        # What "you" do with your things, people do with theirs.
        stated = answer.lower().replace("their ", "your ")
        if aspect.scale:
            # "It eats small insects" names no size.
            for other in set(fields.values()) - set(aspect.scale):
                stated = stated.replace(other, "")
            longest_first = sorted(aspect.scale, key=len, reverse=True)
            named = set(re.findall(rf"\b(?:{'|'.join(longest_first)})\b", stated))
            return named == {fields[name] for name in aspect.facts}
        found = {fields[name].lower() for name in aspect.facts if fields[name].lower() in stated}
        return len(found) >= aspect.at_least


def common(rng: Random) -> Fields:
    """Fields that do not depend on the subject."""
    return {
        "season": rng.choice(SEASONS),
        "color": rng.choice(COLORS),
        "minutes": rng.choice(MINUTES),
        "worn": rng.choice(THING_WORDS),
    }
