"""The palette, measured: WCAG contrast on white and on JupyterLab's dark background."""

from __future__ import annotations

import itertools
import re

import pytest

from lora_magic.views import style

BACKGROUNDS = ("#FFFFFF", "#111111")


def rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def luminance(colour: tuple[float, float, float]) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(first: tuple[float, float, float], second: tuple[float, float, float]) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def deuteranope(colour: str) -> tuple[float, float, float]:
    """Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(colour)]
    rows = (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    )
    seen = [sum(a * b for a, b in zip(row, linear, strict=True)) for row in rows]
    return seen[0], seen[1], seen[2]


def test_black_on_white_has_the_contrast_that_the_standard_gives() -> None:
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("colour", [*style.SERIES, *style.ramp(8)])
def test_every_line_stands_out_from_both_backgrounds(colour: str, background: str) -> None:
    assert contrast(rgb(colour), rgb(background)) >= 3.0


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_text_in_grey_is_as_readable_as_one_grey_can_be_on_both(background: str) -> None:
    # The product of both contrasts is fixed by the backgrounds, so their root is the best minimum.
    best = contrast(rgb(BACKGROUNDS[0]), rgb(BACKGROUNDS[1])) ** 0.5
    assert best < 4.5
    assert contrast(rgb(style.GREY), rgb(background)) >= best - 0.15


@pytest.mark.parametrize(("background", "ink"), [("#FFFFFF", 0.13), ("#111111", 1.0)])
def test_a_marked_word_is_readable_on_its_tint(background: str, ink: float) -> None:
    found = re.search(r"rgba\((\d+),(\d+),(\d+),([\d.]+)\)", style.MARK)
    assert found
    tint, alpha = [int(part) / 255 for part in found.groups()[:3]], float(found[4])
    under = [t * alpha + b * (1 - alpha) for t, b in zip(tint, rgb(background), strict=True)]
    assert contrast((ink, ink, ink), (under[0], under[1], under[2])) >= 4.5


def test_a_marked_word_is_not_marked_by_colour_alone() -> None:
    assert "underline" in style.MARK


@pytest.mark.parametrize(
    ("first", "second"), list(itertools.combinations((style.BLUE, style.ORANGE, style.PINK), 2))
)
def test_two_colours_differ_for_a_reader_without_green(first: str, second: str) -> None:
    distance = sum(
        (a - b) ** 2 for a, b in zip(deuteranope(first), deuteranope(second), strict=True)
    )
    assert distance**0.5 > 0.15


def test_a_ramp_begins_with_the_first_colour_and_ends_with_the_last() -> None:
    for steps in (2, 3, 8):
        colours = style.ramp(steps)
        assert (colours[0], colours[-1]) == (style.LAYERS[0], style.LAYERS[-1])
        assert len(set(colours)) == steps
    assert style.ramp(1) == [style.LAYERS[0]]
