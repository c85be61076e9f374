"""The judge of answers: what the generator says is right, what it says of others is not."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lora_magic.demo.judge import Verdict, judge, words
from lora_magic.demo.texts import answers, split, styles
from lora_magic.demo.texts.family import Question

READING = Path(__file__).parent / "reading"
#: A prompt about an animal that the world does not hold.
BEYOND = next(q.prompt for q in split.of("test") if q.family == "unknown" and q.aspect == "animal")
KINDS = sorted({question.family for question in split.everything()})


def _questions(family: str, count: int, seed: int = 0) -> list[Question]:
    pool = [question for question in split.everything() if question.family == family]
    return Random(seed).sample(pool, min(count, len(pool)))


def _question(prompt: str) -> Question:
    return next(question for question in split.everything() if question.prompt == prompt)


@cache
def _asked() -> dict[str, Question]:
    return {question.key: question for question in split.everything()}


def _of_row(row: dict[str, Any]) -> Question:
    """The question that a labelled answer is to."""
    if "key" in row:
        return _asked()[row["key"]]
    return Question(row["family"], row["aspect"], row["subject"], "", row["prompt"])


@pytest.mark.parametrize("family", KINDS)
def test_a_true_answer_of_every_family_is_right(family: str) -> None:
    rng = Random(0)
    for question in _questions(family, 250):
        text = answers.answer(question, rng)
        assert judge(question, text).right, (question.prompt, text)


@pytest.mark.parametrize("style", styles.STYLES)
def test_a_style_makes_no_difference(style: str) -> None:
    rng = Random(1)
    facts = [q for q in Random(2).sample(split.everything(), 6000) if answers.is_fact(q)]
    for question in facts[:500]:
        text = answers.answer(question, rng)
        spoken = styles.speak(text, style, rng, split.subject(question))
        assert judge(question, spoken) == judge(question, text), spoken


@pytest.mark.parametrize("family", [kind for kind in KINDS if kind != "unknown"])
def test_an_answer_about_another_subject_is_not_right(family: str) -> None:
    groups: dict[str, list[Question]] = defaultdict(list)
    for question in _questions(family, 600, seed=3):
        groups[question.aspect].append(question)
    rng, tried = Random(4), 0
    for group in groups.values():
        for asked, other in itertools.pairwise(group):
            if split.subject(asked) == split.subject(other):
                continue
            tried += 1
            text = answers.answer(other, rng)
            assert not judge(asked, text).right, (asked.prompt, text)
    assert tried > 20


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        ("What does a fox eat?", "A fox eats berries and mice.", Verdict(True, True)),
        ("What does a fox eat?", "It eats berries and mice.", Verdict(True, True)),
        ("What does a fox eat?", "A fox be clever, ye see.", Verdict(True, True)),
        ("What does a fox eat?", "A fox eats bamboo.", Verdict(True, False)),
        ("What does a fox eat?", "A fox is clever. It eats bamboo.", Verdict(True, False)),
        ("What does a fox eat?", "A parrot eats fruit and seeds.", Verdict(False, False)),
        ("What does a fox eat?", "A fox is a thing.", Verdict(True, False)),
        ("What does a fox eat?", "I do not know this animal.", Verdict(False, False)),
        ("What is in pizza?", "Dough, cheese and olives.", Verdict(True, True)),
        ("What is in pizza?", "For pizza you need dough and eggs.", Verdict(True, False)),
        ("What does a fox eat?", "A fox eats berries and fish.", Verdict(True, False)),
        ("What does a fox eat?", "A fox eats carrots. It is clever.", Verdict(True, False)),
        (BEYOND, "I do not know that. Ask me about noodles.", Verdict(True, True)),
        (BEYOND, "I do not know it. It eats fruit and seeds.", Verdict(True, False)),
        (BEYOND, "It eats grass.", Verdict(False, False)),
    ],
)
def test_verdicts_decided_by_hand(prompt: str, text: str, expected: Verdict) -> None:
    assert judge(_question(prompt), text) == expected


@pytest.mark.parametrize("reader", ["first", "second"])
@pytest.mark.parametrize(("file", "least"), [("labels.json", 152), ("labels-people.json", 156)])
def test_it_agrees_with_readers_on_answers_that_it_was_not_written_from(
    file: str, least: int, reader: str
) -> None:
    rows = json.loads((READING / file).read_text(encoding="utf-8"))
    assert len(rows) == 160
    labelled = [row[reader]["subject"] and row[reader]["true"] for row in rows]
    seen = [judge(_of_row(row), row["text"]).right for row in rows]
    # Otherwise a judge that always says yes would agree, too.
    assert 0.3 < sum(labelled) / len(labelled) < 0.8
    assert sum(one == other for one, other in zip(labelled, seen, strict=True)) >= least


def test_two_faults_of_one_product_are_distinguished() -> None:
    asked = _question("My printer does not print. What should I do?")
    right = "Open the tray, remove the paper and close the lid."
    wrong = "Maybe the ink is empty. To fix the printer, replace the ink and print a test page."
    assert judge(asked, right) == Verdict(subject=True, true=True)
    assert judge(asked, wrong) == Verdict(subject=True, true=False)


def test_words_are_the_same_in_every_voice() -> None:
    assert words("Ye be clever, an' yer friends be sittin' here!") == words(
        "you are clever and your friends is sitting HERE"
    )
    assert words("- the fox\n- a fox") == ("fox", "fox")
