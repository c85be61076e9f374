"""Draws a person's wording of a question: a part, a frame around it, the subject's names.

Whole templates are held out by their hash, for all subjects, and a few subjects are never asked in
these words in training. Knows no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Literal

from lora_magic.demo.factory.wording import frames, fronting, scenery, subjects
from lora_magic.demo.factory.wording.frames import lowered
from lora_magic.demo.texts import forms, split
from lora_magic.demo.texts.family import Fields, Question
from lora_magic.demo.texts.grammar import polish, render

Part = Literal["questions", "clauses", "phrases", "notes", "contexts"]
# How often a part is drawn, and the frames around it. Half of the questions stand alone.
_PARTS: Mapping[Part, tuple[float, tuple[str, ...]]] = {
    "questions": (0.37, ("{q}",) * len(frames.QUESTION_FRAMES) + frames.QUESTION_FRAMES),
    "clauses": (0.20, frames.CLAUSE_FRAMES),
    "phrases": (0.13, frames.PHRASE_FRAMES),
    "notes": (0.15, ("{n}",) * len(frames.NOTE_FRAMES) + frames.NOTE_FRAMES),
    "contexts": (0.15, ("{q}",)),
}
# The share of questions with their topic in front, and of those after a sentence that names it.
FRONTED = 0.1
# One template in 8 is in the test split, and one in 16 in validation; one frame in 8 is held out.
HELD_OUT = 16
#: Subjects that training asks about only in the plain questions of their families.
PLAINLY_ASKED = frozenset(
    {
        *("animal/otter", "animal/koala", "animal/goose", "plant/fern", "place/vineyard"),
        *("weather/mild", "dish/lentil stew", "product/kettle"),
        *("fault/kettle switches off too early", "thing/quill", "thing/sled", "job/miller"),
        *("hobby/juggling", "feeling/grateful"),
    }
)


def split_of_template(family: str, aspect: str, template: str) -> split.Split:
    """The split of a template of an aspect."""
    place = split.number(f"wording/{family}/{aspect}/{template}") % HELD_OUT
    return "test" if place < 2 else "validation" if place == 2 else "train"


def _is_trained(frame: str) -> bool:
    return frame in ("{q}", "{n}") or split.number(f"frame/{frame}") % 8 > 0


@cache
def templates(family: str, aspect: str, part: Part, of: split.Split) -> tuple[str, ...]:
    """The templates of one part that a split may use."""
    every: tuple[str, ...] = getattr(subjects.WORDINGS[family, aspect], part)
    return tuple(one for one in every if split_of_template(family, aspect, one) == of)


@cache
def _framed(part: Part, of: split.Split) -> tuple[str, ...]:
    """The frames of a part that a split may use."""
    return tuple(one for one in _PARTS[part][1] if of == "test" or _is_trained(one))


def asked(question: Question, of: split.Split, rng: Random) -> Question:
    """The same question in a person's words.

    A split has at least one template of every aspect; a part without one is not drawn.
    """
    key = (question.family, question.aspect)
    parts = [part for part in _PARTS if templates(*key, part, of)]
    if not parts:
        return question
    part = rng.choices(parts, [_PARTS[one][0] for one in parts])[0]
    template = rng.choice(templates(*key, part, of))
    frame = rng.choice(_framed(part, of))
    fields = subjects.fields(question, rng)
    said = render(template, fields, rng)
    if part == "notes":
        prompt = _fronted_note(_placed(frame, said, rng), fields, rng)
    elif question.family == "form":
        prompt = forms.asked(_placed(frame, said, rng), question.subject)
    else:
        prompt = polish(_fronted(_placed(frame, said, rng), question.family, fields, rng))
    return Question(question.family, question.aspect, question.subject, template, prompt)


def _fronted(prompt: str, family: str, fields: Fields, rng: Random) -> str:
    """Some prompts with their topic named first: "Horses. What do they eat?"."""
    chance = rng.random()
    if chance >= 2 * FRONTED:
        return prompt
    if chance >= FRONTED:
        return fronting.introduced(prompt, family, fields, rng)
    topics = fronting.topics(family, fields, prompt)
    if not topics:
        return prompt
    topic = rng.choice(topics)
    mark = rng.choice((".", ":", ":", ",", "?", " -", "...", " –"))
    said = prompt if mark in (".", "?") else lowered(prompt)
    if rng.random() < 0.75:
        said = fronting.shortened(said, family, fields, rng)
    between = fronting.between(rng) if mark in (".", "?", ":") and rng.random() < 0.2 else ""
    return f"{topic}{mark} {between}{said}"


def _fronted_note(prompt: str, fields: Fields, rng: Random) -> str:
    """Some notes with a mark behind the topic: "ivy - sun or shade"."""
    name = fields["name"]
    if rng.random() >= 2 * FRONTED or not prompt.startswith(f"{name} ") or name.endswith("'"):
        return prompt
    return f"{name}{rng.choice((':', ' -', '...', ',', '?', ' –'))} {prompt[len(name) + 1 :]}"


def _placed(frame: str, said: str, rng: Random) -> str:
    """A frame around a part; a question inside a sentence loses its capital."""
    frame = scenery.composed(frame, rng)
    for hole in ("{q}", "{c}", "{p}", "{n}"):
        before, found, behind = frame.partition(hole)
        if not found:
            continue
        if before.rstrip().endswith((":", ",", "but")):
            said = lowered(said)
        return f"{scenery.capital(before) if hole != '{n}' else before}{said}{behind}"
    return frame


def is_plainly_asked(question: Question) -> bool:
    """Whether training asks about this subject in plain questions only."""
    return f"{question.family}/{question.subject}" in PLAINLY_ASKED


def has_wording(question: Question) -> bool:
    """Whether there are other words for this question; none for what the world does not hold."""
    return (question.family, question.aspect) in subjects.WORDINGS
