"""Votes: exact intervals against published ones, the votes still needed, and rows to train on."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from math import comb

import pytest
from scipy.stats import beta, binomtest

from lora_magic.errors import DataError
from lora_magic.evaluation.votes import (
    BOTH_BAD,
    IDENTICAL,
    LEFT,
    LEVEL,
    RIGHT,
    TIE,
    Pair,
    Vote,
    Votes,
    interval,
    p_value,
    power,
    votes_needed,
)


def vote(left: str, right: str, choice: str, prompt: str = "What?") -> Vote:
    return Vote(prompt, left, right, choice, f"{left} says", f"{right} says")


def votes(*choices: str, asked: int | None = None) -> Votes:
    """Votes between pirate, on the left, and calm."""
    given = tuple(vote("pirate", "calm", choice, f"Prompt {n}") for n, choice in enumerate(choices))
    return Votes(given, len(choices) if asked is None else asked)


#: Two-sided 95 % intervals of Clopper and Pearson as published: tables for n = 10, and the four
#: examples of Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I.
PUBLISHED = [
    (0, 10, 0.0, 0.3085),
    (5, 10, 0.1871, 0.8129),
    (9, 10, 0.5550, 0.9975),
    (10, 10, 0.6915, 1.0),
    (81, 263, 0.2527, 0.3676),
    (15, 148, 0.0578, 0.1617),
    (0, 20, 0.0, 0.1684),
    (1, 29, 0.0009, 0.1776),
]


@pytest.mark.parametrize(("wins", "decisive", "low", "high"), PUBLISHED)
def test_an_interval_is_the_published_one(
    wins: int, decisive: int, low: float, high: float
) -> None:
    assert interval(wins, decisive) == pytest.approx((low, high), abs=5e-5)


def test_intervals_are_quantiles_of_the_beta_distribution() -> None:
    for n in range(1, 30):
        for k in range(n + 1):
            low = beta.ppf(LEVEL / 2, k, n - k + 1) if k else 0.0
            high = beta.ppf(1 - LEVEL / 2, k + 1, n - k) if k < n else 1.0
            assert interval(k, n) == pytest.approx((low, high), abs=1e-9)
    assert interval(0, 0) == (0.0, 1.0)


def tail(n: int, k: int, p: Fraction) -> Fraction:
    """P(X ≤ k) for X ~ Binomial(n, p), as an exact fraction."""
    return sum((comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)), Fraction(0))


def test_the_test_against_a_half_is_exact_and_agrees_with_the_interval() -> None:
    for n in range(1, 40):
        for k in range(n + 1):
            exact = min(Fraction(1), 2 * tail(n, min(k, n - k), Fraction(1, 2)))
            assert p_value(k, n) == pytest.approx(float(exact), abs=1e-12)
            low, high = interval(k, n)
            assert (p_value(k, n) <= LEVEL) == (not low <= 0.5 <= high)


def exact_power(n: int, p: Fraction) -> Fraction:
    """The sum over all results that the exact two-sided test at 5 % rejects."""
    return sum(
        (
            comb(n, k) * p**k * (1 - p) ** (n - k)
            for k in range(n + 1)
            if 2 * tail(n, min(k, n - k), Fraction(1, 2)) <= Fraction(1, 20)
        ),
        Fraction(0),
    )


@pytest.mark.parametrize("rate", [Fraction(3, 5), Fraction(7, 10), Fraction(9, 11), Fraction(1)])
def test_the_power_is_that_of_the_exact_test(rate: Fraction) -> None:
    for n in range(1, 40):
        assert power(n, float(rate)) == pytest.approx(float(exact_power(n, rate)), abs=1e-12)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (Fraction(3, 5), 199),
        (Fraction(7, 10), 49),
        (Fraction(4, 5), 20),
        (Fraction(9, 11), 17),
        (Fraction(9, 10), 12),
        (Fraction(1), 6),
    ],
)
def test_so_many_votes_are_the_first_with_a_power_of_80_percent(
    rate: Fraction, expected: int
) -> None:
    assert votes_needed(float(rate)) == expected
    assert votes_needed(float(1 - rate)) == expected
    four_fifths = Fraction(4, 5)
    assert exact_power(expected, rate) >= four_fifths
    smaller = range(1, expected) if expected < 60 else range(expected - 12, expected)
    assert all(exact_power(n, rate) < four_fifths for n in smaller)


def test_a_rate_near_a_half_takes_many_votes_and_a_half_no_number() -> None:
    found = votes_needed(0.51)
    assert 19_000 < found < 20_500
    assert power(found, 0.51) >= 0.8 > power(found - 1, 0.51)
    with pytest.raises(ValueError, match="no number"):
        votes_needed(0.5)


def test_a_pair_counts_decisive_votes_alone() -> None:
    (pair,) = votes(LEFT, LEFT, RIGHT, TIE, BOTH_BAD, IDENTICAL).pairs
    assert (pair.winner, pair.other, pair.wins, pair.losses) == ("pirate", "calm", 2, 1)
    assert (pair.ties, pair.both_bad, pair.identical) == (1, 1, 1)
    assert pair.rate == pytest.approx(2 / 3)
    assert pair.interval == pytest.approx(
        tuple(binomtest(2, 3).proportion_ci(confidence_level=0.95, method="exact"))
    )


def test_neither_the_side_nor_the_order_of_the_votes_changes_the_result() -> None:
    names = ["base", "calm", "pirate"]
    draw = random.Random(0)
    given = [
        vote(*draw.sample(names, 2), draw.choice([LEFT, RIGHT, TIE, BOTH_BAD])) for _ in range(40)
    ]
    turned = {LEFT: RIGHT, RIGHT: LEFT}
    mirrored = [
        replace(
            one,
            left=one.right,
            right=one.left,
            left_text=one.right_text,
            right_text=one.left_text,
            vote=turned.get(one.vote, one.vote),
        )
        for one in given
    ]
    expected = Votes(tuple(given), 40)
    for other in (mirrored, draw.sample(given, 40)):
        found = Votes(tuple(other), 40)
        assert set(found.pairs) == set(expected.pairs)
        same = {tuple(row.items()) for row in found.preferences()}
        assert same == {tuple(row.items()) for row in expected.preferences()}


def test_the_sentence_says_whether_it_is_more_than_noise() -> None:
    few = votes(*[LEFT] * 9, *[RIGHT] * 2)
    assert few.lines[0] == (
        "pirate won 9 of 11 decisive votes against calm (82%, 95% interval 48% to 98%): could be "
        "chance; about 6 more decisive votes would tell, if the rate stays."
    )
    enough = votes(*[LEFT] * 10, RIGHT)
    assert "more than noise, p = 0.012" in enough.lines[0]
    assert enough.pairs[0].more == 0
    even = votes(LEFT, RIGHT)
    assert "no difference seen" in even.line
    assert even.pairs[0].more is None
    none = votes(TIE, BOTH_BAD)
    assert none.lines == (
        "No decisive vote between calm and pirate.",
        "Not decisive: 1 tie, 1 both bad.",
    )


def test_one_vote_cannot_tell_and_says_how_many_could() -> None:
    pair = Pair("pirate", "calm", 1, 0)
    assert pair.more == 5
    assert "1 of 1 decisive vote against" in pair.line


def test_of_several_pairs_only_the_clear_ones_have_a_sentence() -> None:
    found = Votes((vote("a", "b", LEFT), vote("b", "c", RIGHT), vote("c", "a", LEFT)), 3)
    assert found.lines == (
        "Decisive votes won: c 2 of 2, a 1 of 2, b 0 of 2.",
        "The difference of any pair could be chance.",
    )
    clear = Votes((*found.votes, *[vote("b", "a", RIGHT)] * 6), 9)
    assert clear.lines[1] == clear.pairs[0].line
    assert "a won 7 of 7 decisive votes against b" in clear.lines[1]
    assert clear.lines[2] == "The difference of the others could be chance."


def test_the_interval_of_a_pair_knows_no_other_pair() -> None:
    found = Votes((vote("a", "b", LEFT), vote("b", "c", RIGHT), vote("c", "a", LEFT)), 3)
    for row in found.summary()[["wins", "low", "high"]].values.tolist():
        assert row == pytest.approx([1, 0.025, 1.0])


def test_an_early_end_and_a_favoured_side_are_said() -> None:
    assert "Ended after 2 of 5 votes." in votes(LEFT, TIE, asked=5).lines
    turns = [("a", "b"), ("b", "a")] * 5
    leftist = Votes(tuple(vote(*pair, LEFT) for pair in turns), 10)
    assert any("The left side won 10 of 10" in line for line in leftist.lines)
    assert not any("side won" in line for line in votes(LEFT, LEFT, RIGHT).lines)


def test_votes_add_up() -> None:
    both = votes(*[LEFT] * 9, *[RIGHT] * 2) + votes(*[LEFT] * 5, RIGHT, asked=7)
    (pair,) = both.pairs
    assert (pair.wins, pair.decisive) == (14, 17)
    assert pair.more == 0
    assert "Ended after 17 of 18 votes." in both.lines
    with pytest.raises(TypeError):
        sum([both])  # type: ignore[call-overload]


def test_frames_have_a_row_for_each_vote_with_names_and_with_texts() -> None:
    found = votes(LEFT, TIE)
    assert found.to_frame().values.tolist() == [
        ["Prompt 0", "pirate", "calm", "left"],
        ["Prompt 1", "pirate", "calm", "tie"],
    ]
    assert found.answers.values.tolist() == [
        ["Prompt 0", "pirate says", "calm says"],
        ["Prompt 1", "pirate says", "calm says"],
    ]


def test_preferences_are_the_decisive_votes() -> None:
    assert votes(LEFT, RIGHT, TIE, BOTH_BAD, IDENTICAL).preferences() == [
        {"prompt": "Prompt 0", "chosen": "pirate says", "rejected": "calm says"},
        {"prompt": "Prompt 1", "chosen": "calm says", "rejected": "pirate says"},
    ]
    with pytest.raises(DataError, match="none of the 2 votes is decisive"):
        votes(TIE, BOTH_BAD, IDENTICAL).preferences()


def test_importing_votes_imports_neither_scipy_nor_pandas() -> None:
    code = (
        "import sys, lora_magic.evaluation.votes; "
        "print([name for name in ('scipy', 'pandas', 'torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
