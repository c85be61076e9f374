"""Answers side by side: what was answered is what is read, the differing words are marked."""

from __future__ import annotations

import re

from lora_magic.views import comparison
from tests.views.page import Page
from tests.views.samples import pane

WORDS = [("Arr,", True), (" ", False), ("pie", False), ("\n  ", False), ("be", True), (" ", False)]


def page(*panes: dict[str, object]) -> Page:
    return Page(comparison.bundle(groups=[("Pie?", list(panes))])["text/html"])


def marked(shown: Page) -> list[str]:
    return [re.sub("<.*?>", "", found) for found in re.findall("<mark.*?</mark>", shown.markup)]


def test_an_answer_keeps_its_words_blanks_and_newlines() -> None:
    assert "Arr, pie\n  be " in page(pane("pirate", WORDS)).text


def test_the_differing_words_are_marked_and_no_others() -> None:
    assert marked(page(pane("pirate", WORDS))) == ["Arr,", "be", "marked"]


def test_the_blank_between_two_marked_words_is_marked_with_them() -> None:
    words = [("so", True), (" ", False), ("it", True), (" ", False), ("is", False)]
    assert marked(page(pane("pirate", words)))[0] == "so it"


def test_without_a_mark_there_is_no_legend_of_marks() -> None:
    assert "marked" not in page(pane("base", [("same", False)])).text


def test_a_pane_tells_tokens_seconds_and_the_change_of_the_logits() -> None:
    text = page(pane("pirate", WORDS)).text.replace("\u00a0", " ")
    assert "12 tokens · 0.82 s · first logits ±3.25" in text
    assert "did not end" not in text


def test_an_answer_that_was_cut_says_so() -> None:
    bundle = comparison.bundle(groups=[("Pie?", [pane("pirate", WORDS, ended=False)])])
    assert "did not end by itself" in str(bundle["text/plain"])
    assert "did not end by itself" in Page(bundle["text/html"]).text.replace("\u00a0", " ")


def test_no_change_of_the_logits_is_told_in_words_and_the_note_called_out() -> None:
    fresh = pane("fresh", [("same", False)], first_logit_change=0.0, note="not trained yet")
    text = page(fresh).text.replace("\u00a0", " ")
    assert "first logits: no change" in text
    assert "Note: not trained yet" in text


def test_base_is_not_measured_against_itself() -> None:
    assert (
        "first logits"
        not in page(pane("base", WORDS, first_logit_change=0.0))
        .text.replace("\u00a0", " ")
        .split("marked")[0]
    )


def test_one_batched_pass_is_told_apart_from_one_after_the_other() -> None:
    two = [pane("base", WORDS), pane("pirate", WORDS)]
    assert "one batched pass" in page(*two).text
    apart = [{**one, "batched": False} for one in two]
    assert "one after the other" in page(*apart).text


def test_an_empty_answer_is_told_in_words() -> None:
    assert "(an empty answer)" in page(pane("pirate", [])).text
    assert "(an empty answer)" in page(pane("pirate", [("\n ", True)])).text


def test_the_panes_wrap_and_each_is_named() -> None:
    shown = page(pane("base", WORDS), pane("pirate", WORDS))
    assert any("auto-fit" in str(given.get("style")) for given in shown.named("div"))
    names = [given.get("aria-label") for given in shown.named("div")]
    assert "Answer of base" in names
    assert "Answer of pirate" in names


def test_a_name_or_a_prompt_without_a_blank_breaks_inside_its_pane() -> None:
    name = "a" * 64
    panes = [pane(name, WORDS)]
    written = comparison.progress_html(prompt=name, panes=[(name, None)])
    whole = comparison.bundle(groups=[(name, panes)])["text/html"]
    for shown in (Page(whole), Page(written)):
        told = re.findall(f"<p ([^>]*)><strong>{name}", shown.markup)
        assert len(told) == 2
        assert all("overflow-wrap:anywhere" in style for style in told)


def test_the_plain_form_holds_each_prompt_name_and_answer() -> None:
    groups = [("Pie?", [pane("base", WORDS)]), ("Fox?", [pane("pirate", WORDS)])]
    plain = str(comparison.bundle(groups=groups)["text/plain"])
    for part in ("> Pie?", "> Fox?", "[base]", "[pirate]", "Arr, pie\n  be"):
        assert part in plain


def test_a_single_answer_reads_as_the_answer_and_a_line_below() -> None:
    bundle = comparison.answer_bundle(
        prompt="Fox?", adapter="base", text="Mice.\nEggs.", tokens=1, seconds=0.4, ended=True
    )
    assert bundle["text/plain"] == "Mice.\nEggs.\n(base · 1 token · 0.40 s)"
    assert "Mice.\nEggs." in Page(bundle["text/html"]).text
