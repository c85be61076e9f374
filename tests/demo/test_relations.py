"""Yes or no, comparisons, two subjects or aspects: right answers, verdicts, what is held out."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from random import Random

import pytest

from lora_magic.demo.judge import Verdict, judge, kind_of
from lora_magic.demo.texts import answers, relations, split, styles, unknown
from lora_magic.demo.texts.family import Question
from lora_magic.demo.texts.relations import beyond, checking, frames, values
from lora_magic.demo.texts.relations.facts import told
from lora_magic.demo.texts.relations.sentences import FACTS
from lora_magic.demo.texts.split import Split
from lora_magic.demo.world import ANIMALS, SIZES

PARTS: tuple[Split, ...] = ("train", "validation", "test")


def _drawn(part: Split, count: int, seed: int = 0) -> list[tuple[Question, str]]:
    rng = Random(seed)
    return [relations.draw(rng, part) for _ in range(count)]


def _asked(aspect: str, subject: str) -> Question:
    return Question("relation", aspect, subject, "", "")


@pytest.mark.parametrize("part", PARTS)
def test_every_drawn_answer_is_right_and_in_plain_english(part: Split) -> None:
    for question, text in _drawn(part, 500):
        assert relations.is_right(question, text), (question, text)
        assert answers.is_right(question, text)
        assert answers.is_fact(question)
        assert judge(question, text) == Verdict(subject=True, true=True), (question, text)
        assert kind_of(question) == question.subject.split("/")[0]
        assert not re.search(r"[{}\[\]|]|  |\ba [aeio]", question.prompt + text), question.prompt
        assert question.prompt[0].isupper() or question.prompt[0].isdigit()


def test_half_of_the_yes_or_no_questions_mean_yes_and_every_aspect_is_drawn() -> None:
    drawn = _drawn("train", 4000)
    counts = Counter(question.aspect for question, _ in drawn)
    assert set(counts) == {"yesno", "size", "both", "two"}
    assert min(counts.values()) > 300
    asked = [relations.read(question) for question, _ in drawn if question.aspect == "yesno"]
    meant = sum(
        one.asked in values.yes(f"{one.kind}/{one.fields[0]}", one.names[0]) for one in asked
    )
    assert 0.45 < meant / len(asked) < 0.55


def test_no_answer_says_yes_or_no_and_the_opposite_conclusion_is_wrong() -> None:
    tried = 0
    for question, text in _drawn("train", 600):
        assert checking.verdict(text) is None, text
        if question.aspect != "size" or "same size" in text:
            continue
        changed = re.sub(r"\b(bigger|smaller)\.$", lambda m: _other(m[1]) + ".", text)
        tried += 1
        assert not relations.is_right(question, changed), (question, changed)
        assert not judge(question, changed).right
    assert tried > 60


def _other(word: str) -> str:
    return "smaller" if word == "bigger" else "bigger"


def test_a_bare_verdict_and_half_of_two_facts_are_wrong() -> None:
    for question, text in _drawn("train", 400):
        if question.aspect == "yesno":
            assert not relations.is_right(question, "Yes.")
            assert not relations.is_right(question, "No.")
        if question.aspect == "both":
            first = text.split(", and ")[0] + "."
            assert not relations.is_right(question, first), (question, first)


def test_facts_that_changed_places_are_wrong() -> None:
    both = _asked("both", "animal/food/fox/bear")
    assert relations.is_right(both, "A fox eats berries and mice, and a bear eats honey and fish.")
    assert relations.is_right(both, "Bears eat honey and fish. Foxes eat berries and mice.")
    assert not relations.is_right(
        both, "A fox eats honey and fish, and a bear eats berries and mice."
    )


@pytest.mark.parametrize(
    ("aspect", "subject", "text", "expected"),
    [
        ("yesno", "animal/food/fox/berries", "Yes, a fox eats berries and mice.", True),
        ("yesno", "animal/food/fox/berries", "A fox eats berries and mice, so yes.", True),
        ("yesno", "animal/food/fox/berries", "A fox eats berries and mice, so that is true.", True),
        ("yesno", "animal/food/fox/berries", "A fox eats berries and mice, so no.", False),
        ("yesno", "animal/food/fox/berries", "A fox eats honey and fish, so yes.", False),
        ("yesno", "animal/food/fox/berries", "A fox eats berries and mice.", True),
        ("yesno", "animal/food/fox/berries", "A bear eats berries and mice, so yes.", False),
        ("yesno", "animal/food/fox/honey", "A fox eats berries and mice, not honey, so no.", True),
        ("yesno", "animal/food/fox/honey", "A fox does not eat honey, so no.", False),
        ("yesno", "animal/food/fox/honey", "No, it eats berries and mice.", True),
        ("yesno", "animal/food/fox/honey", "A fox eats berries and mice, so it is not true.", True),
        ("yesno", "animal/food/fox/honey", "A fox eats no berries and mice, so no.", False),
        ("yesno", "animal/food/fox/honey", "Oh no! A fox eats berries and mice, so yes.", False),
        ("yesno", "animal/size/fox/big", "A fox is small, so no.", True),
        ("yesno", "animal/size/fox/big", "A fox is very small, so no.", False),
        ("size", "animal/size/mouse/horse/bigger", "A mouse is very small and a horse is large, so "
         "the horse is bigger.", True),
        ("size", "animal/size/mouse/horse/bigger", "A mouse is very small and a horse is large, so "
         "the mouse is smaller.", True),
        ("size", "animal/size/mouse/horse/bigger", "A mouse is very small and a horse is large, so "
         "the mouse is bigger.", False),
        ("size", "animal/size/mouse/horse/bigger", "The horse is bigger.", False),
        ("size", "animal/size/mouse/horse/is bigger", "A mouse is very small and a horse is large, "
         "so no.", True),
        ("size", "animal/size/mouse/horse/is smaller", "A mouse is very small and a horse is "
         "large, so yes.", True),
        ("size", "animal/size/mouse/horse/is bigger", "A mouse is very small and a horse is large, "
         "so the horse is bigger.", True),
        ("size", "animal/size/mouse/horse/is bigger", "A mouse is very small and a horse is large, "
         "so the horse is bigger, so yes.", False),
        ("size", "animal/size/mouse/horse/is bigger", "A mouse is very small and a horse is large.",
         False),
        ("size", "animal/size/fox/cat/bigger", "A fox is small and a cat is small. They are about "
         "the same size.", True),
        ("size", "animal/size/fox/cat/bigger", "A fox is small and a cat is small, so the fox is "
         "bigger.", False),
        ("two", "animal/habitat+food/fox", "A fox lives in the forest. It eats berries and mice.",
         True),
        ("two", "animal/habitat+food/fox", "A fox lives in the forest.", False),
    ],
)  # fmt: skip
def test_verdicts_decided_by_hand(aspect: str, subject: str, text: str, expected: bool) -> None:
    question = _asked(aspect, subject)
    assert relations.is_right(question, text) is expected


def test_to_decline_is_not_right() -> None:
    for question, _ in _drawn("train", 50):
        assert not relations.is_right(question, "I do not know that.")
        assert not judge(question, "I do not know that.").right


@pytest.mark.parametrize("style", styles.STYLES)
def test_a_style_makes_no_difference(style: str) -> None:
    rng = Random(3)
    for question, text in _drawn("train", 120):
        spoken = styles.speak(text, style, rng, split.subject(question))
        assert judge(question, spoken).right, spoken


def test_held_out_wordings_and_pairs_are_never_in_training() -> None:
    trained = _drawn("train", 2000)
    for part in ("validation", "test"):
        held = _drawn(part, 500)
        prompts = {split.plain(question.prompt) for question, _ in held}
        assert prompts.isdisjoint(split.plain(question.prompt) for question, _ in trained)
    for question, _ in trained:
        assert relations.part_of(question.phrasing) == "train"
        assert relations.part_of(relations.read(question).pair) == "train"
    for question, _ in _drawn("test", 500):
        parts = {
            relations.part_of(question.phrasing),
            relations.part_of(relations.read(question).pair),
        }
        assert parts in ({"test"}, {"test", "train"})


def test_two_subjects_are_held_out_in_either_order() -> None:
    one, two = (relations.read(_asked("size", f"animal/size/{names}/bigger"))
                for names in ("fox/bear", "bear/fox"))  # fmt: skip
    assert one.pair == two.pair


def test_each_aspect_has_more_than_forty_wordings_an_eighth_of_them_held_out() -> None:
    pools = {
        "yesno": set().union(*(frames.yes_or_no(fact)[i] for fact in FACTS if fact.ask
                               for i in range(4))),
        "size": {*frames.sizes()[0], *itertools.chain(*frames.yes_or_no(frames.COMPARED))},
        "both": {text for f in FACTS if f.pair for group in frames.both(f) for text in group},
        "two": {text for one in FACTS for other in FACTS for group in frames.two(one, other)
                if one.what and other.what and one.kind == other.kind == "animal"
                for text in group},
        "declined": set(beyond.compared()).union(*(beyond.alone(kind) for kind in beyond.ALONE)),
    }  # fmt: skip
    for name, shapes in pools.items():
        assert len(shapes) > 40, name
        parts = Counter(relations.part_of(shape) for shape in shapes)
        assert 0.04 < parts["test"] / len(shapes) < 0.25, name
        assert parts["train"] > 40, name


def test_a_no_is_no_part_of_the_subject_s_own_facts() -> None:
    for fact in FACTS:
        if not fact.ask:
            continue
        for subject, own in told()[fact.name].items():
            denied, stated = values.no(fact.name, subject), values.yes(fact.name, subject)
            assert not set(denied) & set(stated)
            if fact.field != "size":
                for value in denied:
                    assert not values.roots(value) & values.roots(own), (subject, value)
    assert "in the northern woods" not in values.no("animal/habitat", "fox")
    assert "in the desert" in values.no("animal/habitat", "fox")
    assert "berries" in values.no("animal/food", "bear")


def test_sizes_form_an_order_and_every_animal_has_one() -> None:
    assert {a.size for a in ANIMALS} == set(SIZES)
    # From the smallest to the largest, by the weight of a grown animal.
    known = ("ant", "mouse", "cat", "fox", "dog", "wolf", "horse", "bear", "elephant", "whale")
    size = {a.name: SIZES.index(a.size) for a in ANIMALS}
    assert [size[name] for name in known] == sorted(size[name] for name in known)
    for one, two in itertools.permutations(known, 2):
        question = _asked("size", f"animal/size/{one}/{two}/bigger")
        text = relations.answer(question, Random(0))
        if size[one] == size[two]:
            assert text.endswith("They are about the same size.")
        else:
            assert text.endswith(f"so the {max(one, two, key=size.__getitem__)} is bigger.")


@pytest.mark.parametrize("part", PARTS)
def test_what_the_world_does_not_compare_or_hold_is_declined(part: Split) -> None:
    rng, known = Random(0), {split.plain(question.prompt) for question in split.everything()}
    strange = 0
    for _ in range(400):
        question = relations.declined(rng, part)
        assert question.family == "unknown"
        assert split.plain(question.prompt) not in known
        text = answers.answer(question, rng)
        assert unknown.is_admitted(text)
        assert judge(question, text).right
        if question.aspect != "other":
            strange += 1
            assert question.subject in unknown.NAMES[question.aspect][1]
        if part == "train":
            assert relations.part_of(question.phrasing) == "train"
            if question.aspect != "other":
                assert split.part_of_name(question.aspect, question.subject) == "train"
    assert 80 < strange < 200
