"""The stream of training texts: pinned, true, well formed."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import islice
from random import Random

import pytest

from lora_magic.demo.texts import corpus, forms, opinions, split, styles
from lora_magic.demo.world import ANIMALS, DISHES


@pytest.fixture(scope="module")
def sample() -> list[corpus.Document]:
    return list(islice(corpus.documents(1, 0), 8000))


def test_the_same_shard_gives_the_same_documents_and_another_does_not() -> None:
    first = [d.text for d in islice(corpus.documents(3, 5), 50)]
    assert first == [d.text for d in islice(corpus.documents(3, 5), 50)]
    assert first != [d.text for d in islice(corpus.documents(3, 6), 50)]


@pytest.mark.parametrize("family", split.FAMILIES, ids=lambda family: family.name)
def test_every_answer_of_the_generator_is_right_and_about_its_subject(family: object) -> None:
    rng = Random(0)
    for question in split.everything():
        if question.family == family.name:  # type: ignore[attr-defined]
            answer = corpus.answer(question, rng)
            assert corpus.is_right(question, answer), (question.prompt, answer)
            assert corpus.is_about(question, answer), (question.prompt, answer)


def test_an_answer_about_another_animal_is_neither_right_nor_about_the_subject() -> None:
    asked = next(q for q in split.everything() if q.prompt == "What does a fox eat?")
    wrong = "A parrot eats fruit and seeds. It repeats every word it hears."
    assert not corpus.is_right(asked, wrong)
    assert not corpus.is_about(asked, wrong)
    assert corpus.is_right(asked, "A fox eats berries and mice.")


def test_names_in_the_tables_are_unique() -> None:
    for table in (ANIMALS, DISHES):
        names = [entry.name for entry in table]
        assert len(names) == len(set(names))


def test_texts_hold_no_leftover_of_a_template(sample: list[corpus.Document]) -> None:
    for document in sample:
        bare = re.sub(r"\{\"name\".*?\}", "", document.text)
        assert not re.search(r"[\[\]{}]|  |\.\.| [,.?]", bare), document.text
        assert not re.search(r"\b[Aa] (?:apple|owl|old|elegant|orange)\b", bare), document.text
        assert not re.search(r"\b[Aa]n (?:fox|useful|small)\b", bare), document.text


def test_a_tenth_to_a_sixth_of_the_documents_speak_in_a_voice(
    sample: list[corpus.Document],
) -> None:
    spoken = sum(
        any(styles.has_voice(exchange.answer, voice) for voice in styles.VOICES)
        for document in sample
        for exchange in document.exchanges[:1]
    )
    assert 0.10 < spoken / len(sample) < 0.17


def test_every_family_and_every_kind_occurs(sample: list[corpus.Document]) -> None:
    seen = Counter(
        exchange.question.family if exchange.question else "talk"
        for document in sample
        for exchange in document.exchanges
    )
    expected = {*(family.name for family in split.FAMILIES), "review", "story", "form", "talk"}
    assert set(seen) == expected


def test_json_answers_are_json_and_name_their_subject() -> None:
    rng = Random(0)
    asked = [q for q in split.everything() if q.family == "form" and q.aspect == "json"]
    assert asked
    for question in asked:
        assert json.loads(forms.write(question, rng))["name"] == question.subject


@pytest.mark.parametrize("kind", ["positive", "negative"])
def test_the_judge_of_reviews_agrees_with_the_generator(kind: opinions.Sentiment) -> None:
    rng = Random(0)
    for question in opinions.questions():
        text = opinions.review(question, kind, rng)
        assert opinions.sentiment_of(text) == kind, text
        assert opinions.is_about(question, text) or len(text) > 0


@pytest.mark.parametrize(
    ("text", "sentiment"),
    [
        ("I love it. It works like a dream.", "positive"),
        ("I would never buy it again. What a waste of money!", "negative"),
        ("It exists.", "mixed"),
    ],
)
def test_sentiment_is_told_by_words(text: str, sentiment: str) -> None:
    assert opinions.sentiment_of(text) == sentiment


@pytest.mark.parametrize("voice", styles.VOICES)
def test_a_voice_is_heard_and_keeps_the_content(voice: str) -> None:
    plain = "A fox eats berries. It lives in the forest."
    for seed in range(40):
        spoken = styles.speak(plain, voice, Random(seed))
        assert styles.has_voice(spoken, voice)
        assert "fox eats berries" in spoken
    assert not styles.has_voice(plain, voice)
