"""The result of blind votes, and the page of one prompt."""

from __future__ import annotations

from typing import Any

from lora_magic.views.votes import SHOWN, ballot_html
from tests.views.page import Page
from tests.views.samples import voted

THREE = (("pirate", "calm"), ("calm", "base"), ("base", "pirate"))


def page(votes: Any) -> Page:
    return Page(votes._repr_mimebundle_()["text/html"])


def test_the_sentence_comes_first_and_both_forms_say_the_same() -> None:
    votes = voted(*["left"] * 9, *["right"] * 2, "tie")
    bundle = votes._repr_mimebundle_()
    lines = str(bundle["text/plain"]).splitlines()
    assert lines == list(votes.lines)
    assert all(line in page(votes).text for line in votes.lines)
    assert repr(votes) == bundle["text/plain"]


def test_every_vote_is_shown_with_names_and_answers() -> None:
    votes = voted("left", "both bad")
    text = page(votes).text
    for vote in votes.votes:
        for part in (vote.prompt, vote.left, vote.right, vote.left_text, vote.right_text):
            assert part in text
    assert "both bad" in text


def test_several_pairs_have_a_table_and_one_pair_has_none() -> None:
    several, one = (page(voted("left", "left", "tie", pairs=pairs)) for pairs in (THREE, THREE[:1]))
    captions = [len(shown.named("caption")) for shown in (several, one)]
    assert captions == [2, 1]
    plain = voted("left", "left", "tie", pairs=THREE)._repr_mimebundle_()["text/plain"]
    rows = [" ".join(line.split()) for line in str(plain).splitlines()[-3:]]
    # Won, rate, interval, p, votes still needed, ties and both bad.
    assert rows[0] == "pirate calm 1 of 1 100% 3 to 100% 1 5 0, 0"
    assert rows[2] == "base pirate 0 of 0 – 0 to 100% 1 – 1, 0"


def test_many_votes_are_cut_and_the_rest_is_counted() -> None:
    text = page(voted(*["left"] * (SHOWN + 7))).text
    assert "7 more in .answers" in text
    assert f"Prompt {SHOWN - 1}" in text
    assert f"Prompt {SHOWN}" not in text.replace(f"Prompt {SHOWN - 1}", "")


def test_a_page_to_vote_on_has_two_named_groups_and_looks_the_same_on_both_sides() -> None:
    shown = Page(ballot_html("Prompt 1 of 2", "What?", "one", "two"))
    labels = [given.get("aria-label") for given in shown.named("div") if given.get("aria-label")]
    assert labels == ["Blind comparison", "Answer of Left", "Answer of Right"]
    styles = [
        given["style"]
        for given in shown.named("div")
        if str(given.get("aria-label")).startswith("Answer of")
    ]
    assert styles[0] == styles[1]


def test_an_empty_answer_is_said_to_be_empty() -> None:
    assert "(an empty answer)" in ballot_html("Prompt 1 of 2", "What?", "", "two")
