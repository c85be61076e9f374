"""People's own words: enough of them for each aspect, and whole shapes and subjects held out."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from lora_magic.demo.factory import corpus, worded
from lora_magic.demo.factory.wording import asking, frames, subjects
from lora_magic.demo.texts import split
from lora_magic.demo.texts.grammar import expand

ASPECTS = [(family.name, aspect.name) for family in split.FAMILIES for aspect in family.aspects]
SPLITS: tuple[split.Split, ...] = ("train", "validation", "test")


def _templates(key: tuple[str, str]) -> Iterator[str]:
    for part in asking._PARTS:
        yield from getattr(subjects.WORDINGS[key], part)


@pytest.mark.parametrize("key", ASPECTS, ids="/".join)
def test_every_aspect_is_asked_in_forty_shapes_before_any_frame(key: tuple[str, str]) -> None:
    assert len({shape for text in _templates(key) for shape in expand(text)}) >= 40


@pytest.mark.parametrize("key", ASPECTS, ids="/".join)
def test_every_aspect_has_shapes_to_train_on_and_shapes_that_are_held_out(
    key: tuple[str, str],
) -> None:
    parts = {of: [asking.templates(*key, part, of) for part in asking._PARTS] for of in SPLITS}
    counts = {of: sum(map(len, found)) for of, found in parts.items()}
    assert counts["train"] >= 30
    assert counts["test"] >= 1
    assert sum(counts.values()) == len(list(_templates(key)))


def test_no_shape_is_in_two_splits() -> None:
    rng = Random(5)
    known = [q for q in split.of("train") if asking.has_wording(q)]
    held_out = {of: set() for of in SPLITS}
    for _ in range(6000):
        question = rng.choice(known)
        for of in SPLITS:
            held_out[of].add(
                (question.family, question.aspect, asking.asked(question, of, rng).phrasing)
            )
    assert not held_out["train"] & held_out["test"]
    assert not held_out["train"] & held_out["validation"]
    assert not held_out["validation"] & held_out["test"]


def test_a_subject_that_is_asked_about_plainly_keeps_the_questions_of_its_family() -> None:
    plain = {q.prompt for q in split.of("train")}
    for number, document in zip(range(8000), corpus.documents(3, 1), strict=False):
        for exchange in document.exchanges:
            question = exchange.question
            if question and asking.is_plainly_asked(question) and question.family != "relation":
                assert question.prompt in plain, (number, question)


def test_held_out_subjects_exist() -> None:
    known = {f"{family.name}/{subject}" for family in split.FAMILIES for subject in family.subjects}
    assert known >= asking.PLAINLY_ASKED
    assert {name.split("/")[0] for name in asking.PLAINLY_ASKED} == {f.name for f in split.FAMILIES}


def test_frames_leave_the_question_as_it_is() -> None:
    said = "Where does a fox live?"
    for frame in frames.QUESTION_FRAMES:
        for seed in range(4):
            placed = asking._placed(frame, said, Random(seed))
            assert said[1:] in placed
            assert not {"{", "}", "[", "]", "<", ">"} & set(placed)


def test_people_type_most_prompts_with_all_their_letters() -> None:
    rng, said = Random(1), "What does the elephant like to eat?"
    typed = [frames.typed(said, rng) for _ in range(2000)]
    assert sum("elephant" in one.lower() for one in typed) > 1800
    assert sum(one == said for one in typed) > 600
    assert len(set(typed)) > 100


def test_questions_that_measure_are_the_same_in_every_run_and_of_all_sorts() -> None:
    asked = worded.questions("test", 100)
    assert asked == worded.questions.__wrapped__("test", 100)
    families = {question.family for question in asked}
    assert {"unknown", "relation"} < families
    assert len(families) > 8
    assert not {q.prompt for q in asked} & {q.prompt for q in worded.questions("validation", 100)}
