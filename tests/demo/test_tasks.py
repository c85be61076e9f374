"""What adapters are trained on and measured with: right, in form, and never the same."""

from __future__ import annotations

import pytest

from lora_magic import demo
from lora_magic.demo.judge import judge
from lora_magic.demo.texts import split, tasks
from lora_magic.errors import DataError


@pytest.mark.parametrize("task", tasks.TASKS)
def test_rows_are_in_the_form_and_of_the_training_split(task: str) -> None:
    rows = demo.rows(task, 150)
    assert len({prompt for prompt, _ in rows}) == 150
    asked = {question.prompt: question for question in split.of("train")}
    for prompt, completion in rows:
        assert tasks.is_in_form(completion, task), completion
        assert not split.is_unseen(asked[prompt])


@pytest.mark.parametrize("task", tasks.TASKS)
def test_rows_are_true_and_about_their_subject(task: str) -> None:
    asked = {question.prompt: question for question in split.of("train")}
    right = [judge(asked[prompt], told).right for prompt, told in demo.rows(task, 150, seed=1)]
    assert all(right)


@pytest.mark.parametrize("task", tasks.TASKS)
def test_an_adapter_is_asked_about_subjects_that_it_never_saw(task: str) -> None:
    asked = tasks.held_out(task, 30)
    assert len({question.key for question in asked}) == 30
    assert all(split.split_of(question) == "test" for question in asked)
    trained = {question.prompt: question for question in split.of("train")}
    seen = {split.subject(trained[prompt]) for prompt, _ in demo.rows(task, 150)}
    assert seen.isdisjoint(split.subject(question) for question in asked)


def test_a_third_of_the_subjects_is_kept_from_adapters() -> None:
    subjects = {split.subject(q): split.is_unseen(q) for q in split.everything()}
    assert 0.25 < sum(subjects.values()) / len(subjects) < 0.42


def test_prompts_of_an_adapter_spread_over_the_families() -> None:
    families = [question.family for question in tasks.held_out("pirate", 30)]
    assert len(set(families)) >= 9
    assert max(families.count(family) for family in set(families)) <= 8


def test_half_of_the_prompts_that_are_shown_ask_for_a_review() -> None:
    asked = tasks.shown(20)
    assert sum(question.family == "review" for question in asked) == 10
    assert {tasks.review_key(question).split()[0] for question in asked} <= {
        "product",
        "dish",
        "place",
        "thing",
        "hobby",
    }


def test_the_seed_decides_the_rows() -> None:
    assert demo.rows("positive", 8, seed=1) == demo.rows("positive", 8, seed=1)
    assert demo.rows("positive", 8, seed=1) != demo.rows("positive", 8, seed=2)


def test_more_rows_than_the_world_has_are_refused() -> None:
    with pytest.raises(DataError, match=r"2250 prompts of one kind .* there are \d+"):
        demo.rows("pirate", 11_250)
    with pytest.raises(DataError, match="'pirat'; expected one of"):
        demo.rows("pirat", 5)


def test_recipes_are_chosen_on_other_prompts_than_those_that_are_reported() -> None:
    for task in demo.ADAPTERS:
        reported = {question.key for question in tasks.held_out(task, 30)}
        chosen_by = tasks.held_out(task, 30, part="validation")
        assert reported.isdisjoint(question.key for question in chosen_by)
        assert all(split.is_unseen(question) for question in chosen_by)
