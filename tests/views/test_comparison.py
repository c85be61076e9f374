"""Answers side by side: what was answered is what is read, the differing words are marked."""

from __future__ import annotations

import re
from dataclasses import replace

from lora_magic.compare.ask import Answer
from lora_magic.compare.comparison import Comparison, Pane
from lora_magic.views import comparison
from tests.views.page import Page
from tests.views.samples import pane, shown

BASE = "No pie\n  is "
ANSWER = "Arr, pie\n  be "


def page(*panes: Pane) -> Page:
    return Page(shown(Comparison(panes))["text/html"])


def both(text: str = ANSWER, **more: object) -> tuple[Pane, Pane]:
    return pane("base", BASE), pane("pirate", text, **more)


def marked(found: Page) -> list[str]:
    return [re.sub("<.*?>", "", one) for one in re.findall("<mark.*?</mark>", found.markup)]


def test_an_answer_keeps_its_words_blanks_and_newlines() -> None:
    assert "Arr, pie\n  be" in page(*both()).text


def test_the_differing_words_are_marked_and_no_others() -> None:
    assert marked(page(*both())) == ["Arr,", "be", "marked"]


def test_the_blank_between_two_marked_words_is_marked_with_them() -> None:
    assert marked(page(pane("base", "he is"), pane("pirate", "so it is")))[0] == "so it"


def test_without_a_mark_there_is_no_legend_of_marks() -> None:
    assert "marked" not in page(pane("base", "same"), pane("pirate", "same")).text


def test_a_pane_tells_tokens_seconds_and_the_change_of_the_logits() -> None:
    text = page(*both()).text.replace("\u00a0", " ")
    assert "12 tokens · 0.82 s · first logits ±3.25" in text
    assert "incomplete" not in text


def test_an_answer_that_was_cut_says_so() -> None:
    bundle = shown(Comparison(both(ended=False)))
    assert "incomplete" in str(bundle["text/plain"])
    assert "incomplete" in Page(bundle["text/html"]).text.replace("\u00a0", " ")


def test_no_change_of_the_logits_is_told_in_words_and_the_note_called_out() -> None:
    fresh = pane("fresh", "same", first_logit_change=0.0, note="not trained yet")
    text = page(pane("base", "same"), fresh).text.replace("\u00a0", " ")
    assert "first logits: no change" in text
    assert "Note: not trained yet" in text


def test_base_is_not_measured_against_itself() -> None:
    assert (
        "first logits"
        not in page(pane("base", BASE)).text.replace("\u00a0", " ").split("marked")[0]
    )


def test_one_batched_pass_is_told_apart_from_one_after_the_other() -> None:
    assert "one batched pass" in page(*both()).text
    apart = [replace(one, batched=False) for one in both()]
    assert "one after the other" in page(*apart).text


def test_an_empty_answer_is_told_in_words() -> None:
    assert "(an empty answer)" in page(*both("")).text
    assert "(an empty answer)" in page(*both("\n ")).text


def test_the_panes_wrap_and_each_is_named() -> None:
    found = page(*both())
    assert any("auto-fit" in str(given.get("style")) for given in found.named("div"))
    names = [given.get("aria-label") for given in found.named("div")]
    assert "Answer of base" in names
    assert "Answer of pirate" in names


def test_a_name_or_a_prompt_without_a_blank_breaks_inside_its_pane() -> None:
    name = "a" * 64
    written = comparison.progress_html((name, [(name, None)]))
    whole = shown(Comparison((pane(name, ANSWER, prompt=name),)))["text/html"]
    for found in (Page(whole), Page(written)):
        told = re.findall(f"<p ([^>]*)><strong>{name}", found.markup)
        assert len(told) == 2
        assert all("overflow-wrap:anywhere" in style for style in told)


def test_the_plain_form_holds_each_prompt_name_and_answer() -> None:
    record = Comparison((*both(), pane("base", BASE, prompt="Fox?")))
    plain = str(shown(record)["text/plain"])
    for part in ("> Pie?", "> Fox?", "[base]", "[pirate]", "Arr, pie\n  be"):
        assert part in plain


def test_a_single_answer_reads_as_the_answer_and_a_line_below() -> None:
    bundle = shown(Answer("Fox?", "base", "Mice.\nEggs.", 1, 0.4, True))
    assert bundle["text/plain"] == "Mice.\nEggs.\n(base · 1 token · 0.40 s)"
    assert "Mice.\nEggs." in Page(bundle["text/html"]).text
