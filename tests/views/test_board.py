"""A board's display: the best values have a mark with a name, and no column is empty."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest

from lora_magic.evaluation.board import COLUMNS, BoardRow, Curve
from lora_magic.views.board import COPIED, CURVES, ROWS, columns, table_html
from tests.views.page import Page, outside
from tests.views.samples import board, placed, shown

TWO = (placed("calm", 0.5), placed("pirate", 0.7))
CURVE = Curve("calm", True, ((0, 2.5), (30, 0.7), (60, 0.5)), "3f2a9c1b")


def html_of(*rows: BoardRow, curves: tuple[Curve, ...] = ()) -> str:
    return str(shown(board(*(rows or TWO), curves=curves))["text/html"])


def test_the_best_value_is_bold_and_has_a_mark_that_a_screen_reader_names() -> None:
    html = html_of()
    assert re.search(r"<strong>0\.500</strong><span[^>]*aria-label=\"best\"[^>]*>★</span>", html)
    assert not re.search(r"<strong>0\.700</strong>", html)
    assert html.count('aria-label="best"') == len(board(*TWO).marks) == 2
    plain = str(shown(board(*TWO))["text/plain"])
    assert "0.500 ★" in plain
    assert "0.700 ★" not in plain


def test_columns_that_are_missing_everywhere_are_not_shown() -> None:
    found = board(*TWO)
    assert set(COLUMNS) - set(columns(found)) == {"subject", "guard", "saved"}
    text = Page(html_of()).text
    assert "Truth" in text
    assert "Guard" not in text
    assert "Guard" in Page(html_of(*TWO, placed("third", guard=0.4))).text
    assert list(found.to_frame().columns) == list(COLUMNS)


def test_different_rows_are_told_apart_in_words() -> None:
    html = html_of(*TWO, placed("third", 0.1, data="ffffffff"))
    assert "losses on different rows cannot be compared" in html
    assert "cannot be compared" not in html_of()


def test_without_adapters_it_is_one_line() -> None:
    bundle = shown(board())
    assert bundle["text/plain"] == "no adapter is attached; type: %lora attach NAME"
    assert "<table" not in str(bundle["text/html"])


def copied(html: str) -> list[list[str]]:
    (found,) = re.findall(r'data-tsv="([^"]*)"', html)
    return [line.split("\t") for line in unquote(found).split("\n")]


@pytest.mark.parametrize("inside", [False, True])
def test_the_button_copies_every_column_and_digit_but_no_folder(inside: bool) -> None:
    rows = (placed("calm", 1 / 3, saved="/home/someone/calm"), placed("a\tb", None, rank=None))
    html = table_html(board(*rows)) if inside else html_of(*rows)
    head, first, second = copied(html)
    assert head == list(COLUMNS)
    told = dict(zip(head, first, strict=True))
    assert (told["held_out"], told["saved"]) == (str(1 / 3), "saved")
    assert "someone" not in html
    assert len(second) == len(COLUMNS)
    assert dict(zip(head, second, strict=True))["rank"] == ""


def test_without_scripts_there_is_no_button_and_in_a_control_there_is_one() -> None:
    # In a control no script runs, but it is there only where scripts do.
    assert "<button" not in re.sub(r"<script.*?</script>", "", html_of(), flags=re.DOTALL)
    assert table_html(board(*TWO)).count("<button") == 1
    assert "<script" not in table_html(board(*TWO))


def test_many_adapters_are_cut_and_it_says_so() -> None:
    rows = [placed(f"number{n}", 1.0 + n) for n in range(COPIED + 100)]
    html = html_of(*rows)
    assert html.count("<tr") == 1 + ROWS
    assert f"the first {ROWS} of {len(rows)}" in html
    assert len(copied(html)) == 1 + COPIED
    curves = tuple(Curve(f"number{n}", True, ((0, 2.0), (9, 1.0))) for n in range(CURVES + 5))
    assert f"the first {CURVES} of {CURVES + 5}" in html_of(curves=curves)


def test_every_curve_is_named_inside_the_picture() -> None:
    curves = tuple(
        Curve(f"number{n}", n % 2 == 0, ((0, 2.5), (60, 0.5 + n / 1000)), "x")
        for n in range(CURVES)
    )
    page = Page(html_of(curves=curves))
    (picture,) = page.pictures()
    texts = {"".join(part.itertext()) for part in picture.iter() if part.tag.endswith("text")}
    assert {curve.adapter for curve in curves} <= texts
    assert not outside(picture)
    heights = [
        float(part.attrib["y"])
        for part in picture.iter()
        if "".join(part.itertext()).startswith("number") and part.tag.endswith("text")
    ]
    gaps = [b - a for a, b in zip(sorted(heights), sorted(heights)[1:], strict=False)]
    assert min(gaps) > 11
    assert "dashed: training loss" in page.text


def test_curves_on_different_rows_say_that_their_heights_mean_nothing() -> None:
    other = Curve("pirate", True, CURVE.points, "ffffffff")
    assert "cannot be compared" in html_of(curves=(CURVE, other))
    assert "cannot be compared" not in html_of(curves=(CURVE, CURVE))


@pytest.mark.parametrize(
    "points", [(), ((0, 0.0),), ((0, -1.0), (1, 1e299)), ((0, 1.0),), ((2**60, 1e-300), (0, 5e8))]
)
def test_no_loss_breaks_the_picture(points: tuple[tuple[int, float], ...]) -> None:
    html = html_of(curves=(Curve("calm", True, points),))
    assert "nan" not in html
    assert "inf" not in html


@pytest.mark.parametrize(
    ("gain", "said"),
    [(-0.0841, "−0.084"), (0.0, "0.000"), (1e-9, "0.000"), (0.5, "+0.500"), (-2e4, "−20000")],
)
def test_a_gain_has_its_sign_unless_it_is_nothing(gain: float, said: str) -> None:
    row = placed("calm", 1.0, base_held_out=1.0 + gain, gain=gain)
    line = str(shown(board(row))["text/plain"]).splitlines()[-1]
    assert said in line.split()
