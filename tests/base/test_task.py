"""Labels and tasks: what may be said, and what a live model says of itself."""

from __future__ import annotations

import builtins
import doctest

import numpy
import pandas
import pytest

from lora_magic.base import task
from lora_magic.base.task import check_kind, names_of, task_of
from lora_magic.errors import BaseModelError, CommandError
from tests.classifiers import tiny_classifier
from tests.tiny import tiny_model


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("negative, positive", ("negative", "positive")),
        ("positive,negative,positive", ("positive", "negative")),
        (3, ("0", "1", "2")),
        (" 2 ", ("0", "1")),
        (["no", "yes"], ("no", "yes")),
        ([2, 0, 2, 1], ("2", "0", "1")),
        (pandas.Series(["b", "a", None, "b", "  "]), ("b", "a")),
        (pandas.Series([1, 0, 1]), ("1", "0")),
        (numpy.array(["x", "y", "x"]), ("x", "y")),
        (numpy.int64(2), ("0", "1")),
        ({0: "no", 1: "yes"}, ("no", "yes")),
    ],
    ids=str,
)
def test_labels_are_names_a_number_or_a_column(given: object, names: tuple[str, ...]) -> None:
    assert names_of(given) == names


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("positive", "only 'positive'"),
        (["yes", "yes"], "only 'yes'"),
        ([], "none"),
        (1, "only '0'"),
        (0, "none"),
        (True, "--labels: True;"),
        (2.5, r"--labels: 2\.5;"),
        ([["a"], ["b"]], "a list among them"),
        (pandas.DataFrame({"a": [1, 2]}), "a DataFrame;"),
        ({"yes"}, "a set;"),
        (range(2000), "a range;"),
        ([str(i) for i in range(2000)], "2,000 different values"),
        (10**12, "at most 1,000"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_cannot_be_labels_is_told_with_what_was_expected(given: object, told: str) -> None:
    with pytest.raises(CommandError, match=told):
        names_of(given)


def test_a_task_is_one_of_two_and_labels_need_the_one() -> None:
    check_kind("causal")
    check_kind("classification", ["a", "b"])
    with pytest.raises(CommandError, match="Did you mean 'classification'"):
        check_kind("classifcation")
    with pytest.raises(CommandError, match="--task classification"):
        check_kind("causal", "a,b")
    with pytest.raises(CommandError, match="causal or classification"):
        check_kind(None)


def test_a_live_model_says_its_task_labels_and_head() -> None:
    model = tiny_classifier("roberta", id2label={1: "b", 0: "a"}, label2id={"a": 0, "b": 1})
    found = task_of(model)
    assert found.labels == ("a", "b")
    assert found.head == ("classifier.dense", "classifier.out_proj")
    assert (found.classifies, found.fresh) == (True, ())
    assert task_of(tiny_model()) == task.CAUSAL
    assert not task.CAUSAL.classifies


@pytest.mark.parametrize("kind", ["regression", "multi_label_classification"])
def test_a_head_that_gives_no_single_label_is_refused(kind: str) -> None:
    with pytest.raises(BaseModelError, match=kind):
        task_of(tiny_classifier("bert", problem_type=kind))
    with pytest.raises(BaseModelError, match="one number"):
        task_of(tiny_classifier("bert", labels=1))


def test_the_examples_in_the_docstrings_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    # doctest leaves a last value for every shell of this process to find.
    monkeypatch.setitem(builtins.__dict__, "_", None)
    assert doctest.testmod(task).failed == 0
    assert doctest.testmod(task).attempted > 0
