"""A plan as a person uses it: before a base is loaded, changed by its controls, in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.lab import SCREENSHOTS, SIZE, Book, Lab

LOAD, PLAN, TORCH, PANEL = range(4)
CELLS = (
    "%load_ext lora_magic",
    "%lora plan gpt3-175b --rank 4 --gpu h100 --price 2.5",
    "import sys\n'torch' in sys.modules",
    "%lora panel",
)
#: A window in which a cell's output is 400 pixels wide, and one of 690.
WIDTHS = (530, 820)


@pytest.fixture(scope="module")
def book(lab: Lab) -> Iterator[Book]:
    """The notebook, run to its end."""
    lab.write("planning.ipynb", *CELLS)
    opened = lab.open_notebook("planning.ipynb")
    opened.run_all()
    yield opened
    opened.close()


def below(book: Book, place: int) -> Any:
    """The controls of a cell: its last output."""
    return book.output_of(place).last


def appears(place: Any, text: str) -> None:
    place.get_by_text(text).first.wait_for()


def types(controls: Any, line: str) -> None:
    """Wait for the line to type that begins in this way."""
    appears(controls, f"The same as a line: %lora plan {line}")


def type_in(controls: Any, name: str, text: str) -> None:
    field = controls.get_by_label(name, exact=True)
    field.fill(text)
    field.press("Enter")


def test_a_plan_and_its_controls_import_no_torch(book: Book) -> None:
    assert below(book, PLAN).get_by_label("Model", exact=True).input_value() == "gpt3-175b"
    assert book.output_of(TORCH).last.inner_text().strip() == "False"


def test_the_record_is_seen_at_any_width_in_both_themes(book: Book) -> None:
    record = book.output_of(PLAN).first
    picture = record.locator("img")
    try:
        for width in (*WIDTHS, SIZE["width"]):
            book.page.set_viewport_size({"width": width, "height": 3000})
            inside, drawn = record.bounding_box(), picture.bounding_box()
            assert drawn["x"] + drawn["width"] <= inside["x"] + inside["width"] + 1
            for _ in book.each_theme():
                book.page.wait_for_timeout(200)
                record.screenshot(path=SCREENSHOTS / f"plan-{width}-{book.theme}-running.png")
    finally:
        book.page.set_viewport_size(SIZE)
    assert "full fine-tuning" in str(picture.get_attribute("alt"))


def test_a_choice_is_planned_at_once_and_says_the_line_to_type(book: Book) -> None:
    controls = below(book, PLAN)
    type_in(controls, "Model", "demo")
    types(controls, "demo --method lora --rank 4 --gpu h100 --price 2.5")
    controls.get_by_label("Checkpointing").check()
    types(controls, "demo --method lora --rank 4 --checkpointing")
    type_in(controls, "Max length", "128")
    appears(controls, "× 128")
    controls.get_by_label("Bits").select_option("4")
    types(controls, "demo --method lora --rank 4 --max-length 128 --bits 4")
    controls.get_by_label("Method").select_option("prefix")
    types(controls, "demo --method prefix --max-length")
    assert controls.get_by_label("Rank", exact=True).is_disabled()
    controls.get_by_label("Method").select_option("lora")
    type_in(controls, "Rank", "many")
    appears(controls, "'many' is not a whole number")
    type_in(controls, "Rank", "8")
    types(controls, "demo --method lora --rank 8")
    # The record above is as it was.
    assert "gpt3-175b" in book.output_of(PLAN).first.inner_text()
    for _ in book.each_theme():
        book.screenshot("plan", book.cell(PLAN))
        assert book.violations(book.output_of(PLAN)) == []


def test_the_panel_has_a_plan_before_a_base_is_loaded(book: Book) -> None:
    controls = below(book, PANEL)
    controls.get_by_role("tab", name="Plan").wait_for()
    type_in(controls, "Model", "layers=2,width=64")
    types(controls, "layers=2,width=64")
    for _ in book.each_theme():
        book.screenshot("plan-panel", book.cell(PANEL))
        assert book.violations(book.output_of(PANEL)) == []
