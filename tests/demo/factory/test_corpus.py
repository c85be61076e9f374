"""The stream of training texts: pinned, true, well formed."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import islice
from random import Random

import pytest

from lora_magic.demo.factory import corpus
from lora_magic.demo.texts import answers, forms, opinions, split, styles
from lora_magic.demo.world import ANIMALS, DISHES, JOBS


@pytest.fixture(scope="module")
def sample() -> list[corpus.Document]:
    return list(islice(corpus.documents(1, 0), 8000))


def test_the_same_shard_gives_the_same_documents_and_another_does_not() -> None:
    first = [d.text for d in islice(corpus.documents(3, 5), 50)]
    assert first == [d.text for d in islice(corpus.documents(3, 5), 50)]
    assert first != [d.text for d in islice(corpus.documents(3, 6), 50)]


@pytest.mark.parametrize("family", split.FAMILIES, ids=lambda family: family.name)
def test_every_answer_of_the_generator_states_what_was_asked(family: object) -> None:
    rng = Random(0)
    for question in split.everything():
        if question.family == family.name:  # type: ignore[attr-defined]
            answer = answers.answer(question, rng)
            assert answers.is_right(question, answer), (question.prompt, answer)


def test_what_is_asked_by_a_property_has_one_answer() -> None:
    homes = [animal.habitat for animal in ANIMALS]
    tools = [job.tool for job in JOBS]
    assert len(set(homes)) == len(homes)
    assert len(set(tools)) == len(tools)


def test_names_in_the_tables_are_unique() -> None:
    for table in (ANIMALS, DISHES):
        names = [entry.name for entry in table]
        assert len(names) == len(set(names))


def test_a_dialogue_is_between_two_people_and_nothing_is_asked_or_said_twice() -> None:
    rng = Random(0)
    for question in rng.sample([q for q in split.everything() if q.family == "dialogue"], 600):
        lines = [line.split(": ", 1) for line in answers.answer(question, rng).split("\n")]
        first, second = lines[0][0], lines[1][0]
        assert first != second
        assert [name for name, _ in lines] == [first, second, first, second, first][: len(lines)]
        told = [text for _, text in lines]
        assert len(set(told)) == len(told), lines
        after_the_lead = [re.split(r"(?<=[.!?]) ", text)[1:] for text in told]
        sentences = [sentence for rest in after_the_lead for sentence in rest]
        assert len(set(sentences)) == len(sentences), lines


def test_half_of_the_dialogues_about_a_subject_begin_alike() -> None:
    # Greedy decoding follows what is likeliest: one beginning has to be.
    question = next(q for q in split.everything() if q.family == "dialogue")
    rng = Random(0)
    begun = Counter(answers.answer(question, rng).split("\n")[0] for _ in range(200))
    assert 80 <= begun.most_common(1)[0][1] <= 130
    assert len(begun) > 50


def test_a_dish_review_states_nothing_twice() -> None:
    rng = Random(0)
    for dish in DISHES:
        asked = next(
            q
            for q in split.everything()
            if (q.family, q.aspect, q.subject) == ("dish", "needs", dish.name)
        )
        for _ in range(10):
            text = answers.answer(asked, rng)
            assert "You make" not in text


def test_texts_hold_no_leftover_of_a_template(sample: list[corpus.Document]) -> None:
    for document in sample:
        bare = re.sub(r"\{\"(?:name|topic)\".*?\}", "", document.text)
        assert not re.search(r"[\[\]{}]", bare), document.text
        for exchange in document.exchanges:
            said = re.sub(r"\{\"(?:name|topic)\".*?\}", "", exchange.answer)
            assert not re.search(r"\.\.|  | [,.?]", said), said
            assert not re.search(r"\b[Aa] (?:apple|owl|old|elegant|orange)\b", said), said
            assert not re.search(r"\b[Aa]n (?:fox|useful|small)\b", said), said


def test_articles_and_verbs_agree_with_their_nouns(sample: list[corpus.Document]) -> None:
    """By a rule of its own: vowels as they are spoken, and plurals by their tables.

    In answers: people's prompts have errors on purpose.
    """
    spoken_as_consonant = ("use", "uni", "one", "eu")
    several = [dish.name for dish in DISHES if dish.plural]
    single = [dish.name for dish in DISHES if not dish.plural]
    wrong = "|".join([*(f"{name} is" for name in several), *(f"{name} are" for name in single)])
    for document in sample:
        text = " ".join(exchange.answer.lower() for exchange in document.exchanges)
        for article, word in re.findall(r"\b(an?) ([a-z]+)", text):
            vowel = word[0] in "aeiou" and not word.startswith(spoken_as_consonant)
            silent = word.startswith(("hour", "honest"))
            assert (article == "an") == (vowel or silent), (article, word)
        found = re.search(rf"(?<![a-z] )\b(?:{wrong})\b", text)
        assert not found, text


def test_a_tenth_to_three_twentieths_of_the_documents_are_no_plain_prose(
    sample: list[corpus.Document],
) -> None:
    other = sum(
        (made.question is not None and made.question.family == "form")
        or any(styles.has_style(made.answer, style) for style in styles.STYLES)
        for made in (document.exchanges[0] for document in sample)
        if not (made.question is None and made.answer.startswith("- "))
    )
    assert 0.10 < other / len(sample) < 0.15


def test_every_family_and_every_kind_occurs(sample: list[corpus.Document]) -> None:
    seen = Counter(
        exchange.question.family if exchange.question else "talk"
        for document in sample
        for exchange in document.exchanges
    )
    others = {"relation", "review", "story", "form", "talk", "dialogue", "unknown"}
    expected = {*(family.name for family in split.FAMILIES), *others}
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
    for subject in opinions.SUBJECTS:
        for _ in range(12):
            text = opinions.review(f"{subject.kind} {subject.name}", kind, rng)
            assert opinions.sentiment_of(text) == kind, text


def test_a_review_gives_no_property_twice() -> None:
    rng = Random(0)
    for _ in range(400):
        text = opinions.review("product lamp", "positive", rng)
        assert text.count("read after dark") <= 1, text


def test_a_review_seldom_says_one_opinion_twice() -> None:
    rng, twice, told = Random(0), 0, 0
    for question in rng.sample([q for q in split.everything() if q.family == "review"], 1000):
        said = re.findall(
            r"wonderful|excellent|a joy|perfect|awful|disaster|useless|hopeless|badly made|waste",
            answers.answer(question, rng),
        )
        told += bool(said)
        twice += len(set(said)) < len(said)
    assert told > 200
    # An opinion that a sentence has but one word for may come again.
    assert twice <= told // 50


def test_drinks_come_in_a_glass() -> None:
    rng = Random(0)
    for dish in DISHES:
        texts = " ".join(
            opinions.review(f"dish {dish.name}", kind, rng)
            for kind in opinions.SENTIMENTS
            for _ in range(40)
        )
        drink = dish.method == "drink"
        assert ("glass" in texts, "plate" in texts) == (drink, not drink), dish.name


@pytest.mark.parametrize(
    ("text", "sentiment"),
    [
        ("I love it. It works like a dream.", "positive"),
        ("I would never buy it again. What a waste of money!", "negative"),
        ("It exists.", "mixed"),
    ],
)
def test_words_decide_the_sentiment(text: str, sentiment: str) -> None:
    assert opinions.sentiment_of(text) == sentiment
