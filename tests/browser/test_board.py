"""The board as a person uses it: sorted with the keyboard, copied, both themes, a narrow window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lora_magic.evaluation.board import COLUMNS
from tests.browser.lab import SCREENSHOTS, SIZE, Book, Lab

#: Three adapters on the same rows, one with others, one without held-out rows, one untrained.
TRAINED = """
from itertools import product
rows = [(f"Where does a {a} {b}?", f"Arr, a {a} may {b} by the pond, matey!")
        for a, b in product(("frog", "hen", "fox", "cow"), ("live", "sleep", "eat"))]
lora = lora_magic.session()
lora.attach("pirate", rank=8); lora.train("pirate", rows, eval=3, steps=20)
lora.attach("calm", rank=2, targets="q_proj,v_proj"); lora.train("calm", rows, eval=3, steps=20)
lora.attach("virtual", method="prefix"); lora.train("virtual", rows, eval=3, steps=20)
lora.attach("dora", rank=4, dora=True); lora.train("dora", rows, eval=4, steps=20, guard=rows[:4])
lora.attach("alone", rank=2); lora.train("alone", rows, steps=20)
lora.attach("fresh", rank=4)
lora.save("calm");
"""
LOAD, ROWS, BOARD, FEW, PANEL = range(5)
CELLS = (
    "import lora_magic\n%load_ext lora_magic\n%lora load demo",
    TRAINED,
    "%lora board",
    "%lora board calm",
    "%lora panel board",
)
NARROW = {"width": 800, "height": 900}


@pytest.fixture(scope="module")
def book(lab: Lab) -> Iterator[Book]:
    """The notebook, run to its end."""
    lab.write("board.ipynb", *CELLS)
    opened = lab.open_notebook("board.ipynb")
    opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.run_all()
    yield opened
    opened.close()


def below(book: Book) -> Any:
    """The controls below the board."""
    return book.output_of(BOARD).last


def names(table: Any) -> list[str]:
    """The adapters in the order of a table."""
    return [row.inner_text().split()[0] for row in table.locator("tbody th").all()]


def shows(controls: Any, order: str) -> None:
    """Wait for the table in this order."""
    controls.get_by_role("group", name=f"Board by {order}").wait_for()


def copied(book: Book, place: Any) -> list[list[str]]:
    """What the button of an output copies, by rows and cells."""
    book.page.evaluate("() => navigator.clipboard.writeText('')")
    place.get_by_role("button", name="Copy table").click()
    place.get_by_role("button", name="Copied as TSV").wait_for()
    text = book.page.evaluate("() => navigator.clipboard.readText()")
    return [line.split("\t") for line in text.split("\n")]


def test_one_output_tells_which_is_best_and_by_how_much(book: Book) -> None:
    record = book.output_of(BOARD).first
    first, second = names(record)[:2]
    line = record.locator("strong").first.inner_text()
    assert f"{first} has the lowest held-out loss" in line
    assert f"the next, {second}" in line
    # Not by colour alone: the best values are bold and have a mark with a name.
    assert record.locator("tbody tr").first.get_by_role("img", name="best").count() >= 2
    assert record.get_by_text("losses on different rows cannot be compared").count() == 1
    assert record.locator("figure img").count() == 1


def test_a_picker_sorts_the_table_with_the_keyboard_alone(book: Book) -> None:
    controls = below(book)
    before = names(book.output_of(BOARD).first)
    picker = controls.get_by_label("Sort by")
    picker.focus()
    picker.press("p")  # the only column with this letter: parameters
    shows(controls, "parameters, lowest first")
    assert (names(controls)[0], names(controls)[-1]) == ("calm", "pirate")
    picker.press("Tab")
    order = controls.get_by_label("Order")
    assert order.evaluate("it => it === document.activeElement")
    order.press("h")
    shows(controls, "parameters, highest first")
    assert names(controls)[0] == "pirate"
    picker.select_option("truth")
    shows(controls, "truth, highest first")
    assert order.input_value() == "highest first"
    assert names(controls)[-1] == "fresh"
    assert names(book.output_of(BOARD).first) == before
    for _ in book.each_theme():
        book.screenshot("board", book.cell(BOARD))
        assert book.violations(book.output_of(BOARD)) == []


def test_the_buttons_copy_every_column_for_a_spreadsheet(book: Book) -> None:
    controls = below(book)
    controls.get_by_label("Sort by").select_option("rank")
    shows(controls, "rank, lowest first")
    record = copied(book, book.output_of(BOARD).first)
    assert record[0] == list(COLUMNS)
    assert len(record) == 1 + 6
    assert all(len(row) == len(COLUMNS) for row in record)
    by_rank = copied(book, controls)
    assert sorted(by_rank[1:]) == sorted(record[1:])
    ranks = [int(row[2]) for row in by_rank[1:] if row[2]]
    assert ranks == sorted(ranks)
    saved = {row[0]: row[-1] for row in record[1:]}
    assert saved["calm"] == "saved"
    assert not saved["pirate"]


def test_six_adapters_fit_into_a_window_of_800_pixels(book: Book) -> None:
    controls = below(book)
    controls.get_by_label("Sort by").select_option("gain")
    shows(controls, "gain, highest first")
    book.page.set_viewport_size(NARROW)
    try:
        for theme in book.each_theme():
            place = SCREENSHOTS / f"board-narrow-{theme}-{book.state}.png"
            book.cell(BOARD).screenshot(path=place)
            for output in (book.output_of(BOARD).first, controls):
                assert output.evaluate("it => it.scrollWidth <= it.clientWidth")
    finally:
        book.page.set_viewport_size(SIZE)


def test_one_adapter_has_nothing_to_sort(book: Book) -> None:
    assert names(book.output_of(FEW).first) == ["calm"]
    panel = book.output_of(PANEL).last
    panel.get_by_label("Sort by").wait_for()
    assert len(names(panel)) == 6


def test_a_board_outlives_its_kernel_without_its_controls(book: Book) -> None:
    again = book.shut_down_kernel_and_reopen()
    try:
        record = again.output_of(BOARD).first
        assert len(names(record)) == 6
        assert record.locator("figure img").count() == 1
        assert again.output_of(BOARD).get_by_label("Sort by").count() == 0
        for _ in again.each_theme():
            assert again.violations(record) == []
    finally:
        again.close()
