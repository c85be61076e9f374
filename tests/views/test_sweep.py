"""A sweep's display: arms by their loss; curves and fronts say what they show without colour."""

from __future__ import annotations

import json
from xml.etree.ElementTree import Element

import pytest

from lora_magic.views.sweep import NAMED, ROWS, STOP, progress_html
from tests.views.page import Page, outside, weight
from tests.views.samples import shown, sweep, swept

FOUR = (
    swept(1, 0.9),
    swept(2, 0.6, state="chosen"),
    swept(3, 0.7),
    swept(4, None, state="failed", error="the loss is not finite"),
)


def page(*arms: object, **more: object) -> Page:
    return Page(shown(sweep(*(arms or FOUR), chosen=2, **more))["text/html"])  # type: ignore[arg-type]  # arms


def texts(picture: Element) -> list[str]:
    return ["".join(part.itertext()) for part in picture.iter() if part.tag.endswith("text")]


def numbers_of(found: Page) -> list[str]:
    """The arms' numbers in the order of the rows of the first table."""
    text = str(found.text)
    lines = [f"rank {arm}" for arm in range(1, 5)]
    return sorted(lines, key=text.index)


def test_the_table_is_sorted_by_loss_and_arms_without_one_are_last() -> None:
    assert numbers_of(page()) == ["rank 2", "rank 3", "rank 1", "rank 4"]


def test_the_line_says_what_was_chosen_and_on_which_rows_the_number_is() -> None:
    line = sweep(*FOUR, chosen=2).line
    assert line == (
        "best: 4 arms, 40 steps in 1 min 03 s; chosen: arm 2 (rank 2), step 10 of 30; held out "
        "base 3.31 → 0.75 on 4 rows that did not decide the choice"
    )
    assert line in page().text


def test_the_chosen_arm_is_marked_by_more_than_a_colour() -> None:
    assert "2 ✓" in page().text.replace("\u00a0", " ")
    curves, _ = page().pictures()
    widths = [p.get("stroke-width") for p in curves.iter() if p.get("fill") == "none"]
    assert widths.count("3") == 1
    dashed = [p for p in curves.iter() if p.get("stroke-dasharray")]
    assert len(dashed) == 2
    bold = [p for p in curves.iter() if p.get("font-weight") == "700"]
    assert ["".join(p.itertext()) for p in bold] == ["2"]


def test_each_line_ends_at_its_arms_number() -> None:
    curves, _ = page(swept(1, 0.9), swept(2, 0.3, state="chosen"), swept(3, 2.0)).pictures()
    assert {"1", "2", "3"} <= set(texts(curves))


def test_arms_at_the_same_place_share_a_label() -> None:
    arms = [swept(2, 0.6, state="chosen"), *(swept(at, 0.6) for at in (3, 5, 6))]
    curves, _ = page(*arms).pictures()
    assert "2, 3 +2" in texts(curves)


def test_the_front_has_the_arms_that_no_other_beats() -> None:
    # More parameters and more seconds from arm to arm: the second one beats the third.
    found = sweep(*FOUR)
    assert found.front("parameters") == (1, 2)
    assert found.front("seconds") == (1, 2)
    _, sizes = page().pictures()
    filled = [p for p in sizes.iter() if p.tag.endswith("rect") and p.get("fill") != "none"]
    hollow = [p for p in sizes.iter() if p.tag.endswith("rect") and p.get("fill") == "none"]
    # Two arms in each of the two panels, and one that is beaten.
    assert (len(filled), len(hollow)) == (4, 2)
    assert {"parameters", "seconds"} <= set(texts(sizes))


def test_means_are_shown_only_for_several_seeds() -> None:
    assert "Means over the seeds" not in page().text
    two = page(swept(1, 0.9, setting=1), swept(2, 0.7, setting=1, state="chosen"))
    assert "Means over the seeds" in two.text
    # s = 0.1414, t(1) = 12.706: 0.8 ± 1.271.
    assert "0.800" in two.text
    assert "-0.471 to 2.071" in two.text


def test_a_mean_has_the_seeds_that_ended_early() -> None:
    # The choice is made by it, whichever step a seed ended at; one that may go on is no seed of it.
    ended = swept(1, 0.9, setting=1, state="finished", steps=5)
    (mean,) = sweep(ended, swept(2, 0.7, setting=1, state="chosen"), chosen=2).means
    assert mean.mean == pytest.approx(0.8)
    paused = swept(1, 0.9, setting=1, state="paused", steps=5)
    (mean,) = sweep(paused, swept(2, 0.7, setting=1, state="chosen"), chosen=2).means
    assert mean.mean is None


def test_a_sweep_that_ended_before_all_arms_began_counts_those_that_did() -> None:
    arms = [swept(1, None), swept(2, None, steps=0)]
    found = sweep(*arms, chosen=None, stopped=True)
    assert (
        found.line == "best: stopped after 1 of 2 arms, 10 steps in 1 min 03 s; no arm was chosen"
    )
    found = sweep(*arms, chosen=None, minutes=True)
    assert found.line.endswith("none was measured in that time; give more --minutes")


def test_every_arm_has_its_lines_to_type_and_a_failed_one_its_reason() -> None:
    found = page(*(swept(at, 1 / at, attach=f"attach {at}", train=f"t {at}") for at in (1, 2)))
    assert "arm 2: attach 2 ; t 2" in found.text
    assert "arm 4 failed: the loss is not finite" in page().text


def test_without_a_choice_it_says_so() -> None:
    found = sweep(swept(1, None), swept(2, None), chosen=None, stopped=True)
    assert found.line == ("best: stopped after 2 arms, 20 steps in 1 min 03 s; no arm was chosen")
    assert Page(shown(found)["text/html"]).pictures() == []


@pytest.mark.parametrize("count", [12, 256])
def test_many_arms_stay_small_and_no_label_is_cut(count: int) -> None:
    arms = [swept(at, 0.5 + at / 300, state="chosen" if at == 2 else "dropped")
            for at in range(1, count + 1)]  # fmt: skip
    bundle = shown(sweep(*arms, chosen=2))
    found = Page(bundle["text/html"])
    assert weight(bundle) < 60_000
    assert json.loads(json.dumps(bundle)) == bundle
    for picture in found.pictures():
        assert outside(picture) == []
    assert (f"the first {ROWS} of {count}" in found.text) == (count > ROWS)
    named = sum(len(text.split(",")) for text in texts(found.pictures()[0]) if "," in text)
    assert named <= NAMED


def test_a_sweep_under_way_is_drawn_in_place_and_says_how_to_stop() -> None:
    found = Page(progress_html(sweep(*FOUR, chosen=None), "12 arms, up to step 10"))
    assert len(found.drawings()) == 2
    assert found.pictures() == []
    assert STOP in found.text
    assert "12 arms, up to step 10" in found.text


def test_before_the_first_measurement_there_is_no_picture() -> None:
    waiting = swept(1, None, losses=(), steps=0, state="waiting")
    found = Page(progress_html(sweep(waiting, chosen=None)))
    assert found.drawings() == []
    assert "waiting" in found.text
