"""The pinned questions are held out, spread over what can be known, and can all be answered."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from random import Random

import pytest

from lora_magic.demo.judge import judge
from lora_magic.demo.sample import GENERAL, QUESTIONS
from lora_magic.demo.texts import answers, split
from lora_magic.demo.texts.family import Question


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.prompt)
def test_a_pinned_question_is_one_of_the_world_s_and_held_out(question: Question) -> None:
    (same,) = [other for other in split.everything() if other.key == question.key]
    assert same == question
    assert split.split_of(question) == "test"
    assert split.is_unseen(question)


def test_they_are_two_dozen_about_as_many_subjects_of_every_family_of_facts() -> None:
    assert len(QUESTIONS) == 24
    assert len({split.subject(question) for question in QUESTIONS}) == 24
    counts = Counter(question.family for question in QUESTIONS)
    assert set(counts) == {family.name for family in split.FAMILIES}
    assert set(counts.values()) <= {2, 3}


def test_the_hundred_general_ones_are_held_out_facts_about_subjects_that_no_adapter_sees() -> None:
    by_prompt = {question.prompt: question for question in split.of("test")}
    asked = [by_prompt[prompt] for prompt in GENERAL]
    assert len(set(GENERAL)) == 100
    assert all(answers.is_fact(question) and split.is_unseen(question) for question in asked)
    assert {question.family for question in asked} == {family.name for family in split.FAMILIES}


def test_a_true_answer_to_each_counts_and_the_answer_to_another_does_not() -> None:
    given = [answers.answer(question, Random(0)) for question in QUESTIONS]
    for place, question in enumerate(QUESTIONS):
        assert judge(question, given[place]).right, question.prompt
        # No family has more than three questions: the third next is of another family.
        assert not judge(question, given[(place + 3) % len(given)]).subject, question.prompt


def test_they_are_there_without_any_question_being_built() -> None:
    code = (
        "import sys, lora_magic.demo.sample; "
        "print([m for m in sys.modules if m in ('torch', 'lora_magic.demo.texts.split')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
