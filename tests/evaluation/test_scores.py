"""Scores of one answer. ROUGE-L is rouge-score's on every pair of ASCII texts.

rouge-score drops letters that are not ASCII, so for these the values are computed by hand.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from lora_magic.errors import CommandError, DataError
from lora_magic.evaluation.scores import (
    exact_match,
    own_metrics,
    own_value,
    repetition,
    rouge_l,
    words,
)

PAIRS = [
    ("the cat sat on the mat", "the cat was sitting on the mat"),
    ("police killed the gunman", "police kill the gunman"),
    ("police killed the gunman", "the gunman kill police"),
    ("", "something"),
    ("something", ""),
    ("", ""),
    ("!!! ...", "a b"),
    ("same", "same"),
    ("Same WORDS, other case!", "same words other CASE"),
    ("snake_case is two words", "snake case is two words"),
    ("it's 3.14, isn't it?", "its 3 14 isn t it"),
    ("one\ntwo\tthree", "one two   three"),
    ("a a a a", "a a"),
    ("a b a b a b", "b a b a b a"),
    ("it eats 7 berries", "it eats 8 berries"),
    ("e-mail me at a@b.org", "mail me at b org"),
    ("x" * 70 + " y", "y " + "x" * 70),
    ("<b>bold</b>", "bold"),
    ("1,000,000", "1 000 000"),
    ("Arr, it be down by the harbour, matey!", "It is down by the harbour."),
    ("#hash $money %percent", "hash money percent"),
    ("word " * 90, "word other " * 45),
]


@pytest.mark.parametrize(("answer", "reference"), PAIRS)
def test_rouge_l_is_that_of_rouge_score(answer: str, reference: str) -> None:
    expected = RougeScorer(["rougeL"]).score(reference, answer)["rougeL"].fmeasure
    assert rouge_l(answer, reference) == pytest.approx(expected, abs=1e-12)


def test_rouge_l_is_that_of_rouge_score_on_drawn_texts() -> None:
    draw, scorer = random.Random(0), RougeScorer(["rougeL"])
    for _ in range(200):
        answer, reference = (
            " ".join(draw.choices("abcdefg", k=draw.randrange(1, 150))) for _ in range(2)
        )
        expected = scorer.score(reference, answer)["rougeL"].fmeasure
        assert rouge_l(answer, reference) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Café Łódź", ["café", "łódź"]),
        ("Cafe\u0301", ["café"]),  # the accent as a character of its own
        ("Привет, мир!", ["привет", "мир"]),
        ("狐は何を食べる", list("狐は何を食べる")),
        ("我吃3个 apples", ["我", "吃", "3", "个", "apples"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("naïve_word – “quoted”", ["naïve", "word", "quoted"]),
        ("🦊🦊", []),
    ],
)
def test_words_of_every_script_are_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_rouge_l_counts_letters_that_are_not_ascii() -> None:
    # The longest common subsequence has 2 of 3 and of 2 words: 2·2/5.
    assert rouge_l("le café noir", "café noir") == pytest.approx(4 / 5)
    assert rouge_l("мир труд", "май труд") == pytest.approx(1 / 2)
    assert rouge_l("狐は食べる", "狐が食べる") == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),
    [
        ("Arr!", "Arr!", 1),
        ("  Arr!\n", "Arr!", 1),
        ("arr!", "Arr!", 0),
        ("A  b", "A b", 0),
        ("", " \n", 1),
    ],
)
def test_exact_match_ignores_white_space_at_the_ends_alone(
    answer: str, reference: str, expected: int
) -> None:
    assert exact_match(answer, reference) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", 0),
        ("a a a a", 0),  # one run
        ("a a a a a", 1 / 2),  # two runs, which are the same
        ("a b c d e f", 0),
        ("a b c d a b c d", 1 / 5),  # abcd bcda cdab dabc abcd
    ],
)
def test_repetition_is_the_share_of_runs_that_were_there_before(
    answer: str, expected: float
) -> None:
    assert repetition(answer) == pytest.approx(expected)


def test_a_metric_has_the_name_of_its_function_or_of_its_key() -> None:
    def polite(prompt: str, answer: str, reference: str | None) -> float:
        return 1.0

    assert list(own_metrics(polite, ())) == ["polite"]
    assert list(own_metrics([polite, len], ())) == ["polite", "len"]
    assert list(own_metrics({"mine": polite}, ())) == ["mine"]
    assert own_metrics(None, ()) == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "--metric: expected a function .* got int"),
        ("polite", "--metric: expected a function .* got 'polite'"),
        ([len, len], "--metric len: there is already a metric of that name"),
        ({"loss": len}, "--metric loss: there is already"),
    ],
)
def test_what_is_no_metric_is_refused(given: Any, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        own_metrics(given, ("loss",))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((3, 3), (0.5, 0.5), (-1.5, -1.5), (True, 1), (False, 0)),
        *((np.float32(2), 2), (np.int64(4), 4), (np.bool_(True), 1)),
    ],
)
def test_a_number_or_a_bool_is_a_value(value: Any, expected: float) -> None:
    found = own_value("m", lambda p, a, r: value, 1, "p", "a", "r")
    assert (found, type(found)) == (expected, float)


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            "good",
            float("nan"),
            float("inf"),
            -float("inf"),
            1j,
            [1],
            {"a": 1},
            10**400,
            1e200,
        ),
        *(np.array([1.0]), object()),
    ],
)
def test_anything_else_is_an_error_that_names_row_and_function(value: Any) -> None:
    with pytest.raises(DataError, match="--metric tidy: row 7: expected a finite number") as found:
        own_value("tidy", lambda p, a, r: value, 7, "p", "a", "r")
    assert "\n" not in str(found.value)
    assert "got a int" not in str(found.value)
    assert "up to 1e100" in str(found.value)


def test_an_error_in_a_metric_names_row_function_and_cause() -> None:
    def tidy(prompt: str, answer: str, reference: str | None) -> float:
        raise KeyError("colour\nand more")

    with pytest.raises(DataError, match="--metric tidy: row 3: KeyError: 'colour") as found:
        own_value("tidy", tidy, 3, "p", "a", "r")
    assert "\n" not in str(found.value)
    with pytest.raises(DataError, match="--metric len: row 3: TypeError"):
        own_value("len", len, 3, "p", "a", "r")  # type: ignore[arg-type]
