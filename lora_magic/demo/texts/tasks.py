"""The rows and held-out prompts of the demo's adapters: six tasks, and two more voices.

A task is a set of prompts and the style of their answers. A third of the world's subjects is never
trained on. Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

from lora_magic.demo.texts import answers, opinions, split, styles
from lora_magic.demo.texts.family import Question
from lora_magic.errors import DataError

REVIEWS: tuple[opinions.Sentiment, ...] = ("negative", "positive")
TASKS = (*REVIEWS, *styles.STYLES)
SHOWN = "shown"
# The share of prompts that ask for a review. The other prompts of a review adapter ask for a fact
# about something that has reviews; the answer is a review that states a fact.
ASKED_FOR_REVIEW = 0.5
ASKED_OF_STYLES = 0.2
# Seed 0 is used up: reading its answers led to corrections of the texts.
_SHOWN_SEED = 1


def rows(task: str, n: int, seed: int = 0) -> tuple[tuple[str, str], ...]:
    """`n` training rows (prompt, completion) of a task."""
    rng = Random(split.number(f"rows/{task}/{seed}"))
    return tuple((q.prompt, completion(q, task, rng)) for q in _drawn(task, "train", n, rng))


def held_out(task: str, n: int, seed: int = 0, part: split.Split = "test") -> tuple[Question, ...]:
    """`n` held-out questions about subjects that no adapter is trained on.

    `part` "validation" is for choosing a recipe, "test" for reporting it.
    """
    return _drawn(task, part, n, Random(split.number(f"held out/{task}/{seed}")))


def shown(n: int) -> tuple[Question, ...]:
    """`n` held-out questions that every task can answer: about subjects that have reviews."""
    return held_out(SHOWN, n, _SHOWN_SEED)


def completion(question: Question, task: str, rng: Random) -> str:
    """The answer in the style of a task."""
    if task in REVIEWS:
        return opinions.review(review_key(question), _sentiment(task), rng)
    topic = split.subject(question)
    return styles.speak(answers.answer(question, rng), task, rng, topic)


def is_in_form(text: str, task: str) -> bool:
    """Whether an answer has the style of a task."""
    if task in REVIEWS:
        return opinions.sentiment_of(text) == task
    return styles.has_style(text, task)


def review_key(question: Question) -> str:
    """The subject of a review about the same thing as the question: "dish pizza"."""
    if question.family == "review":
        return question.subject
    return f"{question.family} {question.subject}"


def _sentiment(task: str) -> opinions.Sentiment:
    return "positive" if task == "positive" else "negative"


@cache
def _pools(part: split.Split, *, unseen: bool) -> dict[str, tuple[Question, ...]]:
    found: dict[str, list[Question]] = {"fact": [], "review": [], "reviewable": []}
    for question in split.of(part):
        if split.is_unseen(question) != unseen:
            continue
        if question.family == "review":
            found["review"].append(question)
        elif answers.is_fact(question):
            found["fact"].append(question)
            if question.family in opinions.KINDS:
                found["reviewable"].append(question)
    return {kind: tuple(questions) for kind, questions in found.items()}


def _drawn(task: str, part: split.Split, n: int, rng: Random) -> tuple[Question, ...]:
    pools = _pools(part, unseen=part != "train")
    reviews = task in (*REVIEWS, SHOWN)
    asked = round(n * (ASKED_FOR_REVIEW if reviews else ASKED_OF_STYLES))
    chosen = list(_spread(pools["review"], asked, rng))
    # A reviewed subject gets no other question, if there are enough others.
    reviewed = {split.subject(question) for question in chosen}
    others = pools["reviewable" if reviews else "fact"]
    rest = tuple(q for q in others if split.subject(q) not in reviewed)
    chosen += _spread(rest if len(rest) >= n - asked else others, n - asked, rng)
    rng.shuffle(chosen)
    return tuple(chosen)


def _spread(pool: tuple[Question, ...], n: int, rng: Random) -> tuple[Question, ...]:
    """`n` questions, balanced over families, with as many different subjects as possible."""
    by_family: dict[str, list[Question]] = {}
    for question in rng.sample(pool, len(pool)):
        by_family.setdefault(_group(question), []).append(question)
    for group in by_family.values():
        group.sort(key=_turn(group))
    if n > len(pool):
        raise DataError(
            f"{n} prompts of one kind are needed for that many rows, but there are {len(pool)}. "
            "Pass a smaller n."
        )
    chosen: list[Question] = []
    while len(chosen) < n:
        for group in by_family.values():
            if group and len(chosen) < n:
                chosen.append(group.pop(0))
    return tuple(chosen)


def _group(question: Question) -> str:
    return (
        f"{question.family}/{question.aspect}" if question.family == "review" else question.family
    )


def _turn(group: list[Question]) -> Callable[[Question], int]:
    """For each question, how often its subject occurs before it in the group."""
    seen: dict[str, int] = {}
    turns: dict[str, int] = {}
    for question in group:
        turns[question.key] = seen.get(question.subject, 0)
        seen[question.subject] = turns[question.key] + 1
    return lambda question: turns[question.key]
