"""A style differs from plain prose and from the others, and keeps the content."""

from __future__ import annotations

import json
from random import Random

import pytest

from lora_magic.demo.judge import words
from lora_magic.demo.texts import answers, split, styles

PLAIN = "A fox eats berries. It lives in the forest."


def _answers() -> list[str]:
    rng = Random(0)
    facts = [q for q in split.of("train") if answers.is_fact(q)]
    return [answers.answer(question, rng) for question in rng.sample(facts, 300)]


@pytest.mark.parametrize("style", styles.STYLES)
def test_what_is_said_in_a_style_is_heard_in_it_and_plain_prose_is_not(style: str) -> None:
    rng = Random(1)
    for text in _answers():
        assert styles.has_style(styles.speak(text, style, rng, "x"), style), text
        assert not styles.has_style(text, style), text


@pytest.mark.parametrize("style", styles.STYLES)
def test_a_style_keeps_the_content(style: str) -> None:
    for seed in range(40):
        spoken = words(styles.speak(PLAIN, style, Random(seed), "fox"))
        joined = " ".join(spoken)
        assert "fox eats berries" in joined
        assert "it lives in forest" in joined


def test_json_holds_the_topic_and_the_sentences() -> None:
    read = json.loads(styles.speak("For tea:\n1. Boil it.\n2. Wait!", "json", Random(0), "tea"))
    assert read == {"topic": "tea", "answer": ["For tea: Boil it", "Wait!"]}


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"topic": "x"}', '{"topic": "x", "answer": []}', '{"topic": "x", "answer": [1]}'],
)
def test_other_json_is_not_in_the_form(text: str) -> None:
    assert not styles.has_style(text, "json")


def test_short_lines_are_short_and_nothing_is_lost() -> None:
    for text in _answers():
        lines = styles.short_lines(text)
        assert max(map(len, lines)) <= 64
        assert words(" ".join(lines)) == words(" ".join(styles.sentences(text)))


def test_a_fixed_phrase_is_not_torn() -> None:
    lines = styles.short_lines("Now and then, a toaster burns the bread. It is cheap and then old.")
    assert lines == ["Now and then, a toaster burns the bread", "It is cheap and then old"]
    cut = styles.short_lines("Now and then, every bread in the toaster is burned when it is dry.")
    assert cut[0].startswith("Now and then")
    assert len(cut) > 1


def test_a_formal_answer_is_a_letter_from_its_first_to_its_last_words() -> None:
    letter = styles.speak(PLAIN, "formal", Random(0))
    assert styles.has_style(letter, "formal")
    assert not styles.has_style(letter + " Arr!", "formal")
    assert not styles.has_style("Hello. " + letter, "formal")
