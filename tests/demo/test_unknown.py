"""What the world does not hold: the names are none of its own, and new ones are new."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import cache
from random import Random

import pytest

from lora_magic.demo.factory import elsewhere
from lora_magic.demo.factory.elsewhere import groups, made, tables
from lora_magic.demo.judge import Verdict, is_declined, judge
from lora_magic.demo.texts import answers, split, styles, unknown
from lora_magic.demo.texts.family import Question
from lora_magic.demo.texts.grammar import expand, needed, plural

SUBJECTS = {name for family in split.FAMILIES for name in family.subjects}
PARTS: tuple[split.Split, ...] = ("train", "validation", "test")
#: Questions that the embedded model was once measured with: they stay held out.
HELD_OUT = (
    "What is the home of the octopus?",
    "Where do walruses live?",
    "Who is Napoleon?",
    "Where is Japan?",
    "What is the capital of Peru?",
    "What is seven times eight?",
    "Why is the sky blue?",
)


@cache
def _stream(part: split.Split, count: int = 6000) -> tuple[Question, ...]:
    rng = Random(f"unknown/{part}")
    return tuple(elsewhere.elsewhere(rng, part) for _ in range(count))


def _templates(*groups: str) -> list[str]:
    found = elsewhere.groups()
    return [text for group in groups for texts in found[group].values() for text in texts]


def test_no_name_beyond_the_world_is_one_of_its_subjects() -> None:
    subjects = SUBJECTS | {plural(name) for name in SUBJECTS}
    for _, names in unknown.NAMES.values():
        assert len(set(names)) == len(names)
        assert subjects.isdisjoint(names)
        assert subjects.isdisjoint(plural(name) for name in names)


def test_no_table_of_elsewhere_names_a_subject_or_a_name_twice() -> None:
    subjects = SUBJECTS | {plural(name) for name in SUBJECTS}
    for table, entries in tables.TABLES.items():
        names = [" ".join(entry.split()) for entry in entries.split(",")]
        assert all(names), table
        assert len(set(names)) == len(names), table
        assert subjects.isdisjoint(names), subjects & set(names)


def test_no_question_beyond_the_world_is_asked_within_it() -> None:
    within = {split.plain(q.prompt) for q in split.everything() if q.family != "unknown"}
    assert within.isdisjoint(split.plain(question.prompt) for question in unknown.questions())


def test_whole_names_are_held_out() -> None:
    parts: dict[tuple[str, str], set[str]] = {}
    for question in unknown.questions():
        named = (question.aspect, question.subject)
        parts.setdefault(named, set()).add(split.split_of(question))
    assert all(len(part) == 1 for part in parts.values())
    held = sum(part != {"train"} for part in parts.values())
    assert 0.2 < held / len(parts) < 0.6


def test_what_was_held_out_before_the_tables_grew_still_is() -> None:
    tested = {question.prompt for question in split.of("test") if question.family == "unknown"}
    assert tested.issuperset(HELD_OUT)


def test_a_name_that_nobody_has_heard_of_is_in_no_table() -> None:
    rng = Random(0)
    known = {question.subject for question in split.everything()}
    made_up = [unknown.unheard(rng) for _ in range(500)]
    assert known.isdisjoint(question.subject for question in made_up)
    assert len({question.subject for question in made_up}) > 480


def test_its_answers_admit_it_and_others_do_not() -> None:
    rng = Random(0)
    for question in rng.sample(split.everything(), 2000):
        text = answers.answer(question, rng)
        assert unknown.is_admitted(text) == (question.family == "unknown"), text
        assert judge(question, text).right


def test_the_stream_is_wide() -> None:
    topics = elsewhere.groups()["topic"]
    assert len(topics) >= 35
    assert all(len(texts) >= 15 for texts in topics.values())
    assert len(set(_templates("topic"))) >= 700
    assert len(groups()["tongue"]) >= 12
    assert set(groups()["relation"]) == {family.name for family in split.FAMILIES}
    for texts in elsewhere.groups()["relation"].values():
        assert len(set(texts)) >= 25
    prompts = Counter(split.plain(question.prompt) for question in _stream("train"))
    assert len(prompts) > 0.8 * len(_stream("train"))


def test_no_template_stands_twice_and_every_field_has_a_table() -> None:
    about = set(elsewhere.about("animal", "fox"))
    tables_ = {*tables.TABLES, *made.FIELDS, "who", "where"}
    for group, topics in elsewhere.groups().items():
        for topic, texts in topics.items():
            assert len(set(texts)) == len(texts), topic
            fields = set().union(*(needed(text) for text in texts))
            open_ = fields - about if group in ("relation", "name") else fields
            assert {elsewhere.table(field) for field in open_} <= tables_, topic


def test_a_name_that_is_a_whole_prompt_stands_in_one_table_only() -> None:
    # Otherwise it could be held out in one table and trained on in the other.
    alone = {text.strip("{}?") for text in _templates("topic") if re.fullmatch(r"{\w+}\??", text)}
    places: dict[str, set[str]] = defaultdict(set)
    for field in {*alone - set(made.FIELDS), *unknown.NAMES}:
        for entry in (entry for part in PARTS for entry in elsewhere.entries(field, part)):
            places[entry.lower().removeprefix("the ")].add(field)
    assert not {name: found for name, found in places.items() if len(found) > 1}


@pytest.mark.parametrize("part", PARTS)
def test_the_stream_is_the_same_each_time(part: split.Split) -> None:
    rng = Random(f"unknown/{part}")
    assert [elsewhere.elsewhere(rng, part) for _ in range(100)] == list(_stream(part)[:100])


def test_held_out_templates_and_entries_are_never_trained_on() -> None:
    held = {text for text in _templates(*elsewhere.SHARES) if elsewhere.part_of(text) != "train"}
    share = len(held) / len(set(_templates(*elsewhere.SHARES)))
    assert 0.09 < share < 0.16
    assert held.isdisjoint(question.phrasing for question in _stream("train"))
    names = {kind: names for kind, (_, names) in unknown.NAMES.items()}
    for question in _stream("train"):
        if question.aspect in names:
            assert split.part_of_name(question.aspect, question.subject) == "train"
    paris = {city for part in PARTS[1:] for city in elsewhere.entries("city", part)}
    assert len(paris) >= 3
    for question in _stream("train"):
        if question.phrasing == "Where is {city}?":
            assert question.prompt.removeprefix("Where is ").rstrip("?") not in paris


def test_the_parts_share_no_prompt_and_no_prompt_is_one_of_the_fixed_questions() -> None:
    # In sums and other scripts the signs count, which a plain prompt does not have.
    asked = [{q.prompt.lower().rstrip(".?! ") or q.prompt for q in _stream(p)} for p in PARTS]
    assert not asked[0] & asked[1]
    assert not asked[0] & asked[2]
    assert not asked[1] & asked[2]
    for part in PARTS:
        assert split.prompts().isdisjoint(split.plain(q.prompt) for q in _stream(part))


def test_no_prompt_contains_a_question_of_the_worlds() -> None:
    plain = {split.plain(q.prompt) for q in split.everything() if q.family != "unknown"}
    # A bare name with its article ("a hat") is a prompt, too, and part of any question about it.
    within = {text for text in plain if len(text.split()) > 2}
    for question in (*_stream("train"), *_stream("test")):
        said = split.plain(question.prompt).split()
        spans = {" ".join(said[i:j]) for i in range(len(said)) for j in range(i, len(said) + 1)}
        assert within.isdisjoint(spans), question


def test_every_shape_of_a_relation_can_be_filled_for_every_subject() -> None:
    for family in split.FAMILIES:
        for name in family.subjects:
            fields = elsewhere.about(family.name, name)
            for template in elsewhere.groups()["relation"][family.name]:
                for shape in expand(template):
                    inside = needed(shape) & set(fields)
                    assert inside, template
                    assert "[" not in shape, template


def test_the_streams_answers_decline_in_every_style() -> None:
    rng = Random(3)
    for question in (*_stream("train")[:500], *_stream("test")[:200]):
        text = answers.answer(question, rng)
        assert is_declined(question, text), (question, text)
        spoken = styles.speak(text, rng.choice(styles.STYLES), rng, split.subject(question))
        assert judge(question, spoken).right, (question, spoken)


def test_an_answer_names_a_kind_only_for_a_real_name_of_that_kind() -> None:
    rng = Random(4)
    kinds = [f"this {kind}" for kind in (*unknown.NAMES, *unknown.ELSEWHERE)]
    seen = set()
    for question in (*_stream("train"), *(unknown.unheard(rng) for _ in range(500))):
        text = answers.answer(question, rng)
        named = {kind for kind in kinds if kind in text}
        real = unknown.own_kind(question)
        assert named <= {f"this {real}"}, (question, text)
        seen |= named
    assert seen == {f"this {kind}" for kind in unknown.NAMES}


ZEBRA = Question("unknown", "animal", "zebra", "{name}", "zebra")
DROLLIMP = Question("unknown", "animal", "drollimp", "{name}", "drollimp")
SUM = Question("unknown", "arithmetic", "arithmetic", "{sum}", "17 × 3")
AGE = Question("unknown", "relation", "fox", "How old does {a} get?", "How old does a fox get?")


@pytest.mark.parametrize(
    ("question", "text", "expected"),
    [
        (ZEBRA, "I do not know this animal.", Verdict(True, True)),
        (
            ZEBRA,
            "I do not know that. My world is small. Ask me about the fox.",
            Verdict(True, True),
        ),
        (ZEBRA, "I do not know this dish.", Verdict(False, False)),
        (ZEBRA, "I do not know this animal. It eats fruit and seeds.", Verdict(True, False)),
        (
            ZEBRA,
            "I do not know this animal. A nurse works in a hospital.",
            Verdict(True, False),
        ),
        (ZEBRA, "A zebra eats grass.", Verdict(False, False)),
        (DROLLIMP, "I do not know that.", Verdict(True, True)),
        (DROLLIMP, "I do not know this animal.", Verdict(False, False)),
        (SUM, "Sorry, but I do not know that. Ask me about noodles.", Verdict(True, True)),
        (SUM, "I do not know this dish.", Verdict(False, False)),
        (SUM, "Arr! I do not know this country, matey.", Verdict(False, False)),
        (SUM, "51", Verdict(False, False)),
        (AGE, "I do not know that.", Verdict(True, True)),
        (AGE, "I do not know this animal.", Verdict(False, False)),
        (AGE, "I do not know that. A fox lives in the forest.", Verdict(True, False)),
    ],
)
def test_which_declines_are_right(question: Question, text: str, expected: Verdict) -> None:
    assert judge(question, text) == expected
    assert is_declined(question, text) == expected.right
