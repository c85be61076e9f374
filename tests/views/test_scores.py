"""Scored answers: numbers that are read without colour, and a page that stays small."""

from __future__ import annotations

import math
import random
import re

from lora_magic.compare.comparison import Comparison
from lora_magic.compare.scores import ScoredAnswer, Scores
from tests.views.page import Page, weight
from tests.views.samples import pane, scored, shown

NAMES = ("base", "one", "two", "three", "four", "five")


def page(*answers: ScoredAnswer) -> Page:
    panes = [pane("base", "one"), pane("pirate", "two")]
    return Page(shown(Comparison(tuple(panes), scores=Scores(answers)))["text/html"])


def tokens(found: Page) -> list[tuple[str, str, str]]:
    """The marked tokens: text, tooltip and underline."""
    spans = r'<span title="(.*?)" style="background:[^;]*;border-bottom:(.*?)">(.*?)</span>'
    return [(text, title, line) for title, line, text in re.findall(spans, found.markup)]


def test_tokens_are_marked_by_direction_and_size_without_colour() -> None:
    found = page(scored())
    assert tokens(found) == [
        ("pirate", "−3.00 → −0.50", "2px solid"),
        ("↵", "−0.25 → −4.50", "4px dotted"),
    ]
    assert "Largest changes of ln p: “↵” −4.25, “pirate” +2.50, “ pirate” +0.00." in found.text


def test_a_pane_tells_its_perplexity_under_itself_and_under_the_base() -> None:
    base = scored(of="base")
    for form in (
        page(scored(), base).text.replace("\u00a0", " "),
        str(
            shown(
                Comparison(
                    (pane("base", "one"), pane("pirate", "two")), scores=Scores((scored(), base))
                )
            )["text/plain"]
        ),
    ):
        # (3 + 0.5 + 0.25) / 3 and (0.5 + 0.5 + 4.5) / 3.
        own, other = math.exp(5.5 / 3), math.exp(3.75 / 3)
        assert f"perplexity {own:.2f} · under base {other:.2f}" in form
        assert f"perplexity {other:.2f}" in form
        assert "at temperature 1" in form
        assert "with the end token if the answer ended itself" in form


def test_the_bases_answer_and_one_without_a_change_have_no_marks() -> None:
    values = ((-1.0, -2.0), (-1.25, -2.0))
    still = ScoredAnswer("Pie?", "pirate", ("a", "b"), True, ("base", "pirate"), values)
    found = page(still, scored(of="base"))
    assert tokens(found) == []
    assert "Tokens against base" not in found.text


def test_tokens_that_are_not_scored_are_a_dash_and_that_is_explained() -> None:
    values = ((-1.0, -2.0), (-1.0, math.nan))
    cut = ScoredAnswer("Pie?", "pirate", ("a", "b"), False, ("base", "pirate"), values)
    text = page(cut).text.replace("\u00a0", " ")
    assert "perplexity – · under base" in text
    assert "–: the answer is longer than the context after that prompt form" in text
    assert "–:" not in page(scored()).text


def test_long_answers_of_many_adapters_stay_small() -> None:
    draw = random.Random(0)
    panes, answers = [], []
    for name in NAMES:
        words = tuple(f" {draw.choice(['the', 'fox', 'berries', 'eats'])}" for _ in range(200))
        values = tuple(tuple(-draw.expovariate(0.3) for _ in words) for _ in NAMES)
        panes.append(pane(name, "".join(words)))
        answers.append(ScoredAnswer("Pie?", name, words, True, NAMES, values))
    bundle = shown(Comparison(tuple(panes), scores=Scores(tuple(answers))))
    assert len(tokens(Page(bundle["text/html"]))) == 5 * 60
    assert weight(bundle) < 90_000
