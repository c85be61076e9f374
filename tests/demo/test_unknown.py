"""What the world does not hold: the names are none of its own, and new ones are new."""

from __future__ import annotations

from random import Random

from lora_magic.demo.judge import judge
from lora_magic.demo.texts import answers, split, unknown


def test_no_name_beyond_the_world_is_one_of_its_subjects() -> None:
    inside = {(f.name, name) for f in split.FAMILIES for name in f.subjects}
    for kind, (_, names) in unknown.NAMES.items():
        assert len(set(names)) == len(names)
        assert inside.isdisjoint((kind, name) for name in names)


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


def test_a_name_that_nobody_has_heard_of_is_in_no_table() -> None:
    rng = Random(0)
    known = {question.subject for question in split.everything()}
    made = [unknown.unheard(rng) for _ in range(500)]
    assert known.isdisjoint(question.subject for question in made)
    assert len({question.subject for question in made}) > 480


def test_its_answers_admit_it_and_others_do_not() -> None:
    rng = Random(0)
    for question in rng.sample(split.everything(), 2000):
        text = answers.answer(question, rng)
        assert unknown.is_admitted(text) == (question.family == "unknown"), text
        assert judge(question, text).right
