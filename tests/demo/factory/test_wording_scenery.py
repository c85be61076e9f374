"""Words that do not matter to a question: many, without a question or a form of their own."""

from __future__ import annotations

import re
from random import Random

import pytest

from lora_magic.demo.factory.wording import fronting, registers, scenery

DRAWS = 3000


@pytest.mark.parametrize("kind", range(len(scenery.EVERYTHING)))
def test_scenery_is_filled_and_asks_for_nothing(kind: int) -> None:
    rng = Random(kind)
    for text in {scenery.drawn(scenery.EVERYTHING[kind], rng) for _ in range(DRAWS)}:
        assert not re.search(r"[{}\[\]|?]", text), text
        assert not re.search(
            r"  |\b(?:list|poem)\b|\b(?:as|in|like) (?:JSON|an? (?:pirate|formal|letter))", text
        ), text


def test_there_are_thousands_and_one_template_in_eight_is_held_out() -> None:
    rng = Random(2)
    every = scenery.SENTENCES + scenery.OPENERS + scenery.PURPOSES
    assert len({scenery.drawn(every, rng) for _ in range(20000)}) > 8000
    assert 0.8 < len(scenery.trained(every)) / len(every) < 0.95


def test_other_registers_keep_a_name() -> None:
    rng, said = Random(3), "Where does the giraffe live?"
    foreign = {registers.foreign(said, rng) for _ in range(200)}
    assert all("giraffe" in one.lower() for one in foreign)
    assert "Where is the giraffe living?" in foreign
    assert all("giraffe" in registers.chat(said, rng) for _ in range(200))


def test_a_topic_in_front_becomes_the_pronoun_that_fits() -> None:
    fields, rng = {"name": "fox", "many": "foxes"}, Random(4)
    for said, short in (
        ("where do foxes live?", "where do they live?"),
        ("what do you know about foxes?", "what do you know about them?"),
        ("what does a fox eat?", "what does it eat?"),
        ("where is the fox at home?", "where is it at home?"),
        ("there is a fox in my book.", "there is a fox in my book."),
        ("what are fox facts?", "what are fox facts?"),
    ):
        assert fronting.shortened(said, "animal", fields, rng) == short
    assert fronting.topics("animal", fields, "which animal lives in the forest?") == ()
