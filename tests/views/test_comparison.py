"""Answers side by side: what was answered is what is read, the differing words are marked."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

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
    return [re.sub("<.*?>", "", one) for one in re.findall("<ins.*?</ins>", found.markup)]


def missing(found: Page) -> list[str]:
    return [re.sub("<.*?>", "", one) for one in re.findall("<del.*?</del>", found.markup)]


def test_an_answer_keeps_its_words_blanks_and_newlines() -> None:
    found = page(*both())
    struck = re.sub("<del.*?</del> ?", "", found.markup)
    assert "Arr, pie\n  be" in Page(struck).text


def test_the_differing_words_are_marked_and_no_others() -> None:
    assert marked(page(*both())) == ["Arr,", "be", "added"]
    assert missing(page(*both())) == ["No", "is", "missing"]


def test_a_text_that_shares_few_words_shows_no_missing_ones_and_says_so() -> None:
    base = pane("base", "He is at sea again and will not be back.")
    found = page(base, pane("pirate", "Arr, matey!"))
    assert missing(found) == []
    assert "shares few words with the base's shows no missing words" in found.text
    assert "4 words added, 11 missing" in found.text.replace("\u00a0", " ")
    assert "shares few words" not in page(*both()).text


def test_a_long_text_that_shares_few_words_stays_readable_without_marks() -> None:
    other = " ".join(f"w{at}" for at in range(60))
    found = page(pane("base", "He is at sea again and will not be back."), pane("pirate", other))
    assert (marked(found), missing(found)) == ([], [])
    assert other in found.text
    assert "60 words added, 11 missing" in found.text.replace("\u00a0", " ")
    assert "a long one shows no marks" in found.text


@pytest.mark.parametrize(
    ("base", "text", "said"),
    [
        ("one two", "one two three", "1 word added"),
        ("one two three four", "one two", "2 words missing"),
        ("one two", "one three", "1 word added, 1 missing"),
        ("one two", "one two", ""),
    ],
)
def test_the_differing_words_are_counted_in_words(base: str, text: str, said: str) -> None:
    bundle = shown(Comparison((pane("base", base), pane("pirate", text))))
    for form in (Page(bundle["text/html"]).text, str(bundle["text/plain"])):
        counts = re.findall(
            r"\d+ words? (?:added, \d+ missing|added|missing)", form.replace("\u00a0", " ")
        )
        assert counts == ([said] if said else [])


def test_an_answer_that_equals_the_bases_says_so_first_and_once() -> None:
    note = "first logits identical to base: this adapter changes nothing yet"
    twin = pane("twin", BASE)
    fresh = pane("fresh", BASE, first_logit_change=0.0, note=note)
    bundle = shown(Comparison((pane("base", BASE), twin, fresh)))
    found = Page(bundle["text/html"]).text.replace("\u00a0", " ")
    for form in (found, str(bundle["text/plain"])):
        assert form.count("Same answer as base") == 2
        assert form.count(f"Same answer as base; {note}") == 1
        assert form.lower().count("no change") == 0
    assert "twinSame answer as baseNo pie" in found
    assert f"freshSame answer as base; {note}No pie" in found


def test_of_many_prompts_the_first_are_shown_and_the_rest_are_counted() -> None:
    every = [pane(name, name, prompt=f"p{at}") for at in range(12) for name in ("base", "a")]
    notes = ("row 3: no prompt, so not answered",)
    bundle = shown(Comparison(tuple(every), notes=notes))
    for form in (Page(bundle["text/html"]).text, str(bundle["text/plain"])):
        assert "2 more prompts are not shown; .to_frame() has them all." in form
        assert "row 3: no prompt, so not answered" in form
        assert "p9" in form
        assert "p10" not in form
    assert "not shown" not in str(shown(Comparison(tuple(every[:20]))))
    assert "1 more prompt is not shown" in str(shown(Comparison(tuple(every[:22]))))


def test_unfinished_answers_say_how_many_prompts_are_begun_and_show_the_last_ones() -> None:
    begun = [(f"p{at}", (("base", "text"), ("a", None))) for at in range(6)]
    bundle = comparison.progress_bundle(begun, 40)
    for form in (Page(bundle["text/html"]).text, str(bundle["text/plain"])):
        assert "6 of 40 prompts" in form
        assert "p5" in form
        assert "p1" not in form
    assert str(bundle["text/html"]).count("answering …") == 1
    assert "prompts" not in str(comparison.progress_bundle(begun[:1]))


def test_the_blank_between_two_marked_words_is_marked_with_them() -> None:
    assert marked(page(pane("base", "he is"), pane("pirate", "so it is")))[0] == "so it"
    broken = page(pane("base", "he is"), pane("pirate", "so\nit is"))
    assert marked(broken)[:2] == ["so", "it"]


def test_without_a_mark_there_is_no_legend_of_marks() -> None:
    text = page(pane("base", "same"), pane("pirate", "same")).text
    assert "added" not in text
    assert "missing" not in text


def test_a_pane_tells_tokens_seconds_and_the_change_of_the_logits() -> None:
    text = page(*both()).text.replace("\u00a0", " ")
    assert "12 tokens · 0.82 s · first logits ±3.25" in text
    assert "incomplete" not in text


def test_an_answer_that_was_cut_says_so() -> None:
    bundle = shown(Comparison(both(ended=False)))
    assert "incomplete" in str(bundle["text/plain"])
    assert "incomplete" in Page(bundle["text/html"]).text.replace("\u00a0", " ")


def test_no_change_of_the_logits_is_told_in_words_and_the_note_called_out() -> None:
    fresh = pane("fresh", "other", first_logit_change=0.0, note="not trained yet")
    text = page(pane("base", "same"), fresh).text.replace("\u00a0", " ")
    assert "first logits: no change" in text
    assert "Note: not trained yet" in text


def test_base_is_not_measured_against_itself() -> None:
    assert (
        "first logits" not in page(pane("base", BASE)).text.replace("\u00a0", " ").split("First")[0]
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
