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
    written = comparison.progress_bundle([(name, [(name, None)])])["text/html"]
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


def many(count: int) -> Comparison:
    others = (pane(f"a{place}", f"answer {place}") for place in range(count))
    return Comparison((pane("base", BASE), *others))


def test_the_base_is_beside_every_row_of_many_adapters() -> None:
    bundle = shown(many(12))
    names = re.findall(r'aria-label="Answer of (\w+)"', str(bundle["text/html"]))
    lines = re.findall(r"^\[(\w+)\]", str(bundle["text/plain"]), flags=re.MULTILINE)
    rows = [[f"a{place}" for place in range(at, at + 3)] for at in range(0, 12, 3)]
    assert names == lines == [name for row in rows for name in ("base", *row)]
    few = str(shown(many(4))["text/plain"])
    assert few.count("[base]") == 1


def test_adapters_that_are_left_out_are_named_with_the_flag_that_shows_them() -> None:
    bundle = shown(replace(many(1), left_out=("raw", "new")))
    line = "Untrained adapters left out: raw, new; name them with --adapters."
    assert line in str(bundle["text/plain"])
    assert line in Page(bundle["text/html"]).text
    assert "left out" not in str(shown(many(1)))


def test_a_stopped_answer_and_one_that_was_not_begun_say_so() -> None:
    begun = pane("base", BASE, ended=False, stopped=True)
    never = pane("a", "", tokens=0, ended=False, stopped=True, first_logit_change=float("nan"))
    bundle = shown(Comparison((begun, never)))
    for text in (str(bundle["text/plain"]), Page(bundle["text/html"]).text):
        text = text.replace("\u00a0", " ")
        assert text.count("stopped by you") == 2
        assert "not begun: stopped by you" in text
        assert not {"incomplete", "nan", "empty answer"} & set(re.findall(r"[\w ]+", text))
