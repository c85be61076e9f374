"""Dialogues: one person asks, the other answers.

The caller gives the questions, so that no held-out question occurs here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

from lora_magic.demo.texts.family import Question
from lora_magic.demo.texts.grammar import articles, capital, expand
from lora_magic.demo.world import ANIMALS, FEMALE_NAMES, JOBS, MALE_NAMES, PLACES, THINGS

PROMPTS = (
    "Write a [|short ]dialogue about [a|the] {name}.",
    "Let two [people|friends] talk about the {name}.",
)
SUBJECTS = {
    "animal": tuple(animal.name for animal in ANIMALS),
    "place": tuple(place.name for place in PLACES),
    "thing": tuple(thing.name for thing in THINGS),
    "job": tuple(job.name for job in JOBS),
}


def questions() -> tuple[Question, ...]:
    """Every prompt that asks for a dialogue, in a fixed order."""
    return tuple(
        Question("dialogue", kind, name, text, capital(articles(text.replace("{name}", name))))
        for kind, names in SUBJECTS.items()
        for name in names
        for template in PROMPTS
        for text in expand(template)
    )


def dialogue(
    asked: Sequence[Question],
    answer: Callable[[Question, Random], str],
    start: Random,
    rng: Random,
) -> str:
    """Two lines for each question: one person asks, the other answers in a sentence or two.

    `start` draws who speaks.
    """
    # Fixed pairs: otherwise the most likely name of the second person would be the first's.
    first, second = start.choice(tuple(zip(FEMALE_NAMES, MALE_NAMES, strict=False)))
    if start.random() < 0.5:
        first, second = second, first
    lines: list[str] = []
    said: set[str] = set()
    for question in asked:
        reply = _unsaid(answer(question, rng).split("\n")[0], said)
        lines += [f"{first}: {question.prompt}", f"{second}: {reply}"]
    if rng.random() < 0.5:
        lines.append(f"{first}: {rng.choice(('Thank you!', 'I did not know that.', 'How nice!'))}")
    return "\n".join(lines)


def _unsaid(text: str, said: set[str]) -> str:
    """The sentences not said before; the first one always stays, because it is the answer."""
    lead, *rest = re.split(r"(?<=[.!?]) ", text)
    kept = [lead, *(sentence for sentence in rest if sentence not in said)]
    said.update(kept)
    return " ".join(kept)
