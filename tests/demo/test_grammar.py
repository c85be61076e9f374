"""The small rules of English."""

from __future__ import annotations

from random import Random

import pytest

from lora_magic.demo.texts.grammar import articles, expand, joined, plural, polish, render


def test_a_template_expands_to_every_combination_of_its_choices() -> None:
    assert expand("[a|the] {name} [is|was] here") == (
        "a {name} is here",
        "a {name} was here",
        "the {name} is here",
        "the {name} was here",
    )


def test_what_is_rendered_is_one_of_what_is_expanded() -> None:
    template = "[one|two] [three|four|] {name}"
    drawn = {render(template, {"name": "x"}, Random(seed)) for seed in range(60)}
    assert drawn == {text.replace("{name}", "x") for text in expand(template)}


def test_a_field_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError):
        render("{name}", {}, Random(0))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a owl", "an owl"),
        ("a hour", "an hour"),
        ("A orange umbrella", "An orange umbrella"),
        ("a useful box", "a useful box"),
        ("a uniform", "a uniform"),
        ("a unusual day", "an unusual day"),
        ("a fox", "a fox"),
        ("banana apple", "banana apple"),
    ],
)
def test_the_article_follows_the_sound(before: str, after: str) -> None:
    assert articles(before) == after


def test_sentences_and_quotations_begin_with_a_capital() -> None:
    assert polish('he came. "who is there?" she asked. "me."') == (
        'He came. "Who is there?" she asked. "Me."'
    )


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("fox", "foxes"),
        ("mouse", "mice"),
        ("butterfly", "butterflies"),
        ("monkey", "monkeys"),
        ("postman", "postmen"),
        ("policewoman", "policewomen"),
    ],
)
def test_plurals_are_english(one: str, many: str) -> None:
    assert plural(one) == many


def test_items_are_joined_as_a_phrase() -> None:
    assert joined(["a"]) == "a"
    assert joined(["a", "b", "c"]) == "a, b and c"
