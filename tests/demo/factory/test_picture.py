"""The record's picture: well-formed, every point at its place, the last figures in words."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from lora_magic.demo.factory import picture

POINTS = [(1e6, 2.0, 0.0), (2e6, 1.0, 0.5), (4e6, 0.5, 1.0)]
SVG = "{http://www.w3.org/2000/svg}"


def _lines(text: str) -> list[list[tuple[float, float]]]:
    """The points of the two lines that are drawn two units wide."""
    root = ElementTree.fromstring(text)
    drawn = [p for p in root.iter(f"{SVG}path") if p.get("stroke-width") == "2"]
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", path.attrib["d"])]
        for path in drawn
    ]


def test_both_lines_stand_over_the_same_tokens_to_scale() -> None:
    loss, right = _lines(picture.picture(POINTS))
    assert [x for x, _ in loss] == [x for x, _ in right]
    (a, _), (b, _), (c, _) = loss
    assert (b - a) * 2 == pytest.approx(c - b, abs=0.2)
    heights = [y for _, y in loss]
    assert (heights[1] - heights[0]) == pytest.approx(2 * (heights[2] - heights[1]), abs=0.2)
    heights = [y for _, y in right]
    assert (heights[1] - heights[0]) == pytest.approx(heights[2] - heights[1], abs=0.2)
    assert heights[0] > heights[2]


def test_it_says_in_words_what_it_shows() -> None:
    root = ElementTree.fromstring(picture.picture(POINTS))
    title = root.findtext(f"{SVG}title")
    assert title is not None
    assert "4.0 million tokens" in title
    assert "0.500" in title
    assert "100.0%" in title


def test_a_record_without_a_point_has_no_picture() -> None:
    with pytest.raises(ValueError, match="no point"):
        picture.picture([])
