"""The inside of a run as charts: lines that grow with the steps, named, small."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from lora_magic.training.inside import ALL, Inside, Reading
from lora_magic.views.training import progress_html
from tests.views.page import Page, outside, weight
from tests.views.samples import inside, run, shown

PATHS = tuple(f"model.layers.{layer}.mlp.down_proj" for layer in range(8))


def page_of(record: Inside, **more: object) -> Page:
    return Page(shown(run("calm", (), inside=record, **more))["text/html"])


def drawn(record: Inside, **more: object) -> ElementTree.Element:
    (picture,) = page_of(record, **more).pictures()
    return picture


def texts(picture: ElementTree.Element) -> list[str]:
    return ["".join(part.itertext()) for part in picture.iter() if part.tag.endswith("text")]


def test_every_line_is_named_and_nothing_is_cut() -> None:
    picture = drawn(inside(*PATHS, rank=8))
    said = texts(picture)
    for name in ("A", "B", "σ₁", "σ₆", "7.down_proj", "0.down_proj", "Effective rank of ΔW"):
        assert name in said
    assert outside(picture) == []
    lines = [p for p in picture.iter() if p.get("stroke-width") == "1.5"]
    assert len(lines) == 2 + 6 + 6 + 6


def test_each_name_is_joined_to_its_line_in_the_colour_of_that_line() -> None:
    for group in drawn(inside(*(f"{n}.q_proj" for n in range(6)))):
        paths = [p for p in group if p.get("stroke") and p.get("fill") == "none"]
        lines = [p for p in paths if p.get("stroke-width") == "1.5"]
        joins = [p for p in paths if p.get("stroke-width") == "1"]
        assert lines
        assert sorted(p.get("stroke", "") for p in joins) == sorted(
            p.get("stroke", "") for p in lines
        )


def test_the_largest_module_is_the_one_whose_values_are_shown_and_they_grow() -> None:
    picture = drawn(inside("0.small", "1.large"))
    assert "σ of 1.large" in texts(picture)
    group = next(g for g in picture if "σ of 1.large" in texts(g))
    line = next(p for p in group if p.get("stroke-width") == "1.5")
    points = [tuple(map(float, p)) for p in re.findall(r"([\d.]+),([\d.]+)", line.get("d", ""))]
    steps = [b[0] - a[0] for a, b in pairwise(points)]
    rises = [a[1] - b[1] for a, b in pairwise(points)]
    # σ₁ grows by the same amount at each of the readings, which are evenly spaced.
    assert steps == pytest.approx([steps[0]] * 4, abs=0.11)
    assert rises == pytest.approx([rises[0]] * 4, abs=0.11)
    assert rises[0] > 0


def test_the_caption_says_what_the_base_has_and_what_was_followed() -> None:
    text = page_of(inside("0.q", "1.q")).text
    for part in ("none of its 41 tensors has a gradient", "2 of 3 modules", "before clipping"):
        assert part in text
    assert "A's is 0 at step 0, since B = 0 there" in text
    assert "run.inside.to_frame()" in text
    asked = Inside((Reading(0, ALL, {"B": 1.0}, 2),), 1, 41)
    assert "2 of the base's tensors have a gradient" in page_of(asked).text


def test_without_factors_only_what_there_is_is_drawn() -> None:
    readings = [
        Reading(step, module, {"other": 1.0 + step}, base, norm)
        for step in (0, 5)
        for module, base, norm in ((ALL, 0, None), ("0.q_proj", None, 0.1 * step))
    ]
    page = page_of(Inside(tuple(readings), 1, 41))
    (picture,) = page.pictures()
    assert [t for t in texts(picture) if "norm" in t or "ΔW" in t] == [
        "Gradient norm, all modules",
        "‖ΔW‖",
    ]
    assert "not a product of factors" in page.text


@pytest.mark.parametrize("record", [None, Inside((), 3, 41), Inside((Reading(0, ALL),), 3, 41)])
def test_nothing_read_is_no_section(record: Inside | None) -> None:
    assert "Inside the run" not in page_of(record).text  # type: ignore[arg-type]  # None too


def test_a_run_under_way_shows_it_on_the_axis_of_the_whole_run() -> None:
    page = Page(progress_html(losses=[2.0], step=20, total=60, inside=inside("0.q", readings=3)))
    (_, picture) = page.drawings()
    assert "60" in texts(picture)
    assert not re.search(r"\b(nan|inf)\b", ElementTree.tostring(picture, encoding="unicode"))


def test_the_display_stays_small() -> None:
    record = inside(*(f"{path}.{n}" for path in PATHS for n in "ab"), readings=25, rank=64)
    losses = tuple(3.0 / (1 + at) for at in range(6000))
    assert weight(shown(run("t", losses, inside=record))) < 32_000
