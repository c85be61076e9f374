"""Labels and their probabilities: each number is there in words, bars and colours beside it."""

from __future__ import annotations

import re

from lora_magic.compare.prediction import Prediction
from lora_magic.views import classification
from tests.views.page import Page
from tests.views.samples import labelled


def html(*columns: Prediction) -> str:
    return str(classification.bundle(columns)["text/html"])


def plain(*columns: Prediction) -> str:
    return str(classification.bundle(columns, "two")["text/plain"])


BASE = labelled("base", {"no": 0.75, "yes": 0.25})
MOODY = labelled("moody", {"no": 0.041, "yes": 0.959}, note="a note")


def test_every_probability_stands_under_its_adapter_beside_its_label() -> None:
    cells = re.findall(r"<t[hd].*?</t[hd]>", html(BASE, MOODY))
    texts = [re.sub("<.*?>", "", cell) for cell in cells]
    told = [" ".join(re.sub("[█░]", "", text).split()) for text in texts]
    assert told == [
        "label",
        "base",
        "moody",
        "no",
        "75.0% ✓",
        "4.10%",
        "yes",
        "25.0%",
        "95.9% ✓",
    ]


def test_what_is_chosen_reads_without_colour_and_without_the_bar() -> None:
    page = html(BASE, MOODY)
    assert re.findall(r"<strong>([\d.]+% ✓)</strong>", page) == ["75.0% ✓", "95.9% ✓"]
    assert all("█" in bar or "░" in bar for bar in re.findall(r'aria-hidden="true">(.*?)<', page))
    assert "color:" not in "".join(re.findall(r"<td.*?</td>", page))


def test_a_bar_is_as_long_as_the_probability_and_all_are_as_wide() -> None:
    bars = re.findall("[█░]+", html(labelled("base", {"a": 0.0, "b": 0.5, "c": 1.0})))
    assert [bar.count("█") for bar in bars] == [0, 6, 12]
    assert {len(bar) for bar in bars} == {12}


def test_the_plain_text_has_the_same_numbers_notes_and_columns() -> None:
    lines = plain(BASE, MOODY).splitlines()
    assert lines[0] == "two"
    assert lines[2] == "> Good?"
    assert [line.split()[0] for line in lines[3:6]] == ["base", "no", "yes"]
    assert "75.0% ✓" in lines[4]
    assert lines[4].index("4.1") == lines[5].index("95.9")
    assert lines[6] == "  Note: moody: a note"


def test_of_many_labels_the_likeliest_are_shown_and_the_others_counted() -> None:
    shares = {f"label {place}": (place + 1) / 5050 for place in range(100)}
    page = Page(html(labelled("base", shares)))
    shown = classification.SHOWN
    assert f"{100 - shown} less likely labels omitted" in page.text
    assert "label 99" in page.text
    assert "label 87" not in page.text
    assert f"and {100 - shown} less likely labels" in plain(labelled("base", shares))
