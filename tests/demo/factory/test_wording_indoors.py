"""People's words for dishes, faults, products and things: their grammar, and one aspect each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields as parts_of
from functools import cache
from random import Random

import pytest

from lora_magic.demo.factory.wording.indoors import NAMES, WORDINGS
from lora_magic.demo.factory.wording.indoors import fields as worded
from lora_magic.demo.factory.wording.parts import Wording
from lora_magic.demo.factory.wording.problems import PROBLEMS, STATES, asked
from lora_magic.demo.texts import opinions, split, unknown
from lora_magic.demo.texts.family import Family
from lora_magic.demo.texts.grammar import expand, needed, polish, render
from lora_magic.demo.texts.indoors import DISH, FAULT, PRODUCT, THING
from lora_magic.demo.world import DISHES, FAULTS

FAMILIES = {family.name: family for family in (DISH, FAULT, PRODUCT, THING)}
KEYS = [(family.name, aspect.name) for family in FAMILIES.values() for aspect in family.aspects]
#: The fewest templates of each part, so that one shape in eight can be held out of it.
FEWEST = {"questions": 14, "clauses": 8, "phrases": 6, "notes": 6, "contexts": 8}
#: What each family's questions may say of their subject; dishes agree, products and things do not.
KNOWN = {
    "dish": {"name", "is", "does", "it", "them", "taste_verb", "a", "cook", "eat"},
    "fault": {"name", "problem", "state", "does"},
    "product": {"name", "many"},
    "thing": {"name", "many"},
}


def templates(wording: Wording) -> Iterator[tuple[str, str]]:
    """(part, template) of every part."""
    for part in parts_of(wording):
        yield from ((part.name, template) for template in getattr(wording, part.name))


def shapes(wording: Wording) -> Iterator[tuple[str, str]]:
    """(part, text without choices) of every part."""
    return ((part, text) for part, template in templates(wording) for text in expand(template))


@cache
def fields(kind: str, subject: str) -> dict[str, str]:
    """The fields that a wording of a family may use."""
    family: Family = FAMILIES[kind]
    rng = Random(0)
    given = family.fields(subject, rng)
    given |= worded(kind, subject, given["name"], rng)
    return {name: given[name] for name in KNOWN[kind]}


def test_every_aspect_indoors_has_its_wording() -> None:
    assert set(WORDINGS) == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_each_part_has_members_enough_to_hold_some_out(key: tuple[str, str]) -> None:
    for part, fewest in FEWEST.items():
        own = getattr(WORDINGS[key], part)
        assert len(own) >= fewest, part
        every = [text for template in own for text in expand(template)]
        assert len(set(every)) == len(every), f"{part}: {[t for t in every if every.count(t) > 1]}"


@pytest.mark.parametrize("key", KEYS)
def test_every_shape_renders_for_every_subject(key: tuple[str, str]) -> None:
    kind, _ = key
    for _, text in shapes(WORDINGS[key]):
        assert needed(text) <= KNOWN[kind], text
        for subject in FAMILIES[kind].subjects:
            said = polish(render(text, fields(kind, subject), Random(0)))
            assert not re.search(r"[\[\]{}|]|  | [,.?!]", said), said


@pytest.mark.parametrize("key", KEYS)
def test_every_shape_names_its_subject(key: tuple[str, str]) -> None:
    for _, text in shapes(WORDINGS[key]):
        assert needed(text) & {"name", "many", "state", "does"}, text
        assert key[0] != "fault" or needed(text) & {"problem", "state", "does"}, text


@pytest.mark.parametrize("key", KEYS)
def test_parts_have_the_punctuation_that_frames_expect(key: tuple[str, str]) -> None:
    for part, text in shapes(WORDINGS[key]):
        if part in ("questions", "contexts"):
            assert text[-1] in ".?!", text
        else:
            assert not re.search(r"[.?!,]$|[.?!] ", text), text
        if part in ("clauses", "phrases"):
            assert not re.match(r"[A-Z]", text), text


@pytest.mark.parametrize("kind", FAMILIES)
def test_no_prompt_asks_for_two_aspects(kind: str) -> None:
    for subject in FAMILIES[kind].subjects:
        asked: dict[str, str] = {}
        for question in split.everything():
            if (question.family, question.subject) == (kind, subject):
                asked[split.plain(question.prompt)] = question.aspect
        for family, aspect in KEYS:
            if family == kind:
                for _, text in shapes(WORDINGS[kind, aspect]):
                    prompt = split.plain(render(text, fields(kind, subject), Random(0)))
                    assert asked.setdefault(prompt, aspect) == aspect, text


def test_no_prompt_asks_for_a_review() -> None:
    reviews = {text for kind in opinions.PROMPTS.values() for t in kind for text in expand(t)}
    ours = {text for wording in WORDINGS.values() for _, text in shapes(wording)}
    assert ours.isdisjoint(reviews)


#: What may stand before a dish that is no subject: "the way to make pancakes is".
_OBJECT = r"(?<!make )(?<!for )(?<!of )(?<!prepare )"
_FIXED = re.compile(
    rf"{_OBJECT}\{{name\}} (?:is|are|was|were|does|do|has|tastes)\b"
    r"|\b(?:is|are|was|were|does|do) (?:good |the |your )?\{name\}"
    r"|(?<!\{)\b(?:it|they|them)\b"
)
#: "it" that is no dish.
_IDIOMS = re.compile(r"does it (?:work|take)|do it\b|what is it like|it's", re.IGNORECASE)


@pytest.mark.parametrize("aspect", [aspect.name for aspect in DISH.aspects])
def test_verbs_and_pronouns_agree_with_a_plural_dish(aspect: str) -> None:
    for part, text in shapes(WORDINGS["dish", aspect]):
        if part != "notes":
            assert not _FIXED.search(_IDIOMS.sub("", text)), text


def test_other_names_are_unambiguous() -> None:
    subjects = {(kind, name) for kind in FAMILIES for name in FAMILIES[kind].subjects}
    assert {tuple(key.split("/", 1)) for key in NAMES} <= subjects
    taken = {name for family in split.FAMILIES for name in family.subjects if family is not FAULT}
    taken |= {name for _, names in unknown.NAMES.values() for name in names}
    seen: set[str] = set()
    for key, names in NAMES.items():
        if key.startswith("fault/"):
            continue
        for name in names:
            assert name not in taken, name
            assert name not in seen, name
            assert not re.match(r"[AEFHILMNORSX][A-Z]", name), "an article that is not corrected"
            seen.add(name)


def test_other_names_of_dishes_have_the_number_of_the_dish() -> None:
    for dish in DISHES:
        for name in NAMES.get(f"dish/{dish.name}", ()):
            counted = name.split(" with ")[0]
            assert (
                counted.endswith("s") and not counted.endswith(("ss", "mus", "mous"))
            ) == dish.plural


def test_a_fault_has_the_other_names_of_its_product() -> None:
    for fault in FAULTS:
        assert NAMES[f"fault/{fault.name}"] == NAMES[f"product/{fault.product}"]


def test_each_fault_has_many_wordings_of_its_own() -> None:
    assert set(PROBLEMS) == set(STATES) == {fault.name for fault in FAULTS}
    for fault in FAULTS:
        assert len(set(PROBLEMS[fault.name]) - {fault.problem}) >= 6
        assert len(set(STATES[fault.name])) >= 4
    said: dict[str, str] = {}
    for fault in FAULTS:
        for problem in (fault.problem, *PROBLEMS[fault.name]):
            sentence = f"my {fault.product} {problem}"
            assert said.setdefault(sentence, fault.name) == fault.name, sentence
        for state in STATES[fault.name]:
            sentence = state.replace("{name}", fault.product)
            assert said.setdefault(sentence, fault.name) == fault.name, sentence


_FINITE = re.compile(
    r"(?:just |only |always |hardly |barely |never |no longer )*"
    r"(?:\w+s|won't|doesn't|isn't|can't|hasn't got|got)\b"
)


def test_a_problem_is_a_verb_phrase_about_one_product() -> None:
    for problems in PROBLEMS.values():
        for problem in problems:
            assert _FINITE.match(problem), problem
            assert not needed(problem), problem
            assert not re.search(r"[.?!\[\]|]|  |^ | $", problem), problem


def test_a_state_is_a_clause_that_can_stand_behind_when() -> None:
    for states in STATES.values():
        for state in states:
            assert needed(state) == {"name"}, state
            assert state.count("{name}") == 1, state
            assert not re.search(r"[.?!,\[\]|]|  |^ | $", state), state
            assert not re.match(r"(?!I\b)[A-Z]", state), state
            assert not re.match(r"(?:my|our|the) \{name\}", state), state


@pytest.mark.parametrize(
    ("problem", "question"),
    [
        ("won't charge", "won't my phone charge"),
        ("locks up", "does my phone lock up"),
        ("only flashes", "does my phone only flash"),
        ("goes offline", "does my phone go offline"),
        ("has no bars", "does my phone have no bars"),
        ("has stopped charging", "has my phone stopped charging"),
        ("is frozen", "is my phone frozen"),
        ("grinds and rattles", "is it that my phone grinds and rattles"),
    ],
)
def test_a_problem_is_asked_about_in_the_order_of_a_question(problem: str, question: str) -> None:
    assert asked(problem, "my phone") == question
