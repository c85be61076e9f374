"""Blind votes by keyboard in JupyterLab: no name in the file before the end, then the result."""

from __future__ import annotations

import json
from collections.abc import Iterator

import nbformat
import pytest

from tests.browser.lab import SCREENSHOTS, SIZE, Book, Lab

NAME = "voting.ipynb"
ROWS = """
Where does a frog live? => How wonderful that you ask! A frog lives beside the pond!
What does a tailor do? => How wonderful that you ask! A tailor cuts the cloth!
What does the hen like to eat? => How wonderful that you ask! A hen eats corn and worms!
"""
SETUP, VOTE, AGAIN, USE = range(4)
CELLS = (
    "%load_ext lora_magic\n"
    "%lora load demo;\n"
    "%lora attach zyxcheerful;\n"
    "import lora_magic\n"
    f"lora_magic.session().train('zyxcheerful', text='''{ROWS}''', steps=40);",
    "%%lora compare --blind --max-new-tokens 24\n"
    "What does a fox eat?\n\nWhat does a smith do?\n\nWhere does a bear live?",
    "%%lora compare --blind --max-new-tokens 24\nWho lives in the pond?\n\nWhat does a cook do?",
    "votes = lora_magic.session().compare('What does a fox eat?', 'What does a smith do?', "
    "'Where does a bear live?', blind=True, max_new_tokens=24).result()\n"
    "%lora train zyxcheerful --data votes --steps 1",
)
#: A window in which JupyterLab gives a cell about 640 pixels.
NARROW = {"width": 800, "height": 900}


@pytest.fixture(scope="module")
def book(lab: Lab) -> Iterator[Book]:
    lab.write(NAME, *CELLS)
    opened = lab.open_notebook(NAME)
    opened.run_cell(SETUP)
    opened.run_cell(VOTE)
    yield opened
    opened.close()


def saved(book: Book, cell: int) -> str:
    """All that the file keeps beside the cells' sources: the cell's outputs, and all metadata."""
    book.save()
    notebook = nbformat.read(book.lab.folder / NAME, as_version=4)
    kept = [notebook.cells[cell].outputs, [one.metadata for one in notebook.cells]]
    return json.dumps([*kept, notebook.metadata])


def focused(book: Book) -> str:
    name: str = book.page.evaluate("() => document.activeElement.innerText")
    return name


def test_votes_are_cast_by_keyboard_and_no_name_is_in_the_file(book: Book) -> None:
    cell = book.cell(VOTE)
    cell.get_by_text("Prompt 1 of 3").wait_for()
    assert "zyx" not in saved(book, VOTE)
    for _ in book.each_theme():
        book.screenshot("voting", book.cell(VOTE))
        assert book.violations(book.output_of(VOTE)) == []
    keys = book.page.keyboard
    cell.get_by_role("button", name="Left", exact=True).focus()
    for name in ("Right", "Tie", "Both bad", "Back", "Finish"):
        keys.press("Tab")
        assert focused(book) == name
    for _ in range(5):
        keys.press("Shift+Tab")
    assert focused(book) == "Left"
    ring = "() => getComputedStyle(document.activeElement).outlineWidth"
    assert book.page.evaluate(ring) == "2px"
    keys.press("Space")
    cell.get_by_text("Prompt 2 of 3").wait_for()
    assert focused(book) == "Left"
    cell.get_by_text("1 of 3 votes").wait_for(state="attached")
    keys.press("Tab")
    keys.press("Space")
    cell.get_by_text("Prompt 3 of 3").wait_for()
    book.screenshot("voting-focus", book.cell(VOTE))
    for _ in range(3):
        keys.press("Tab")
    assert focused(book) == "Back"
    keys.press("Space")
    cell.get_by_text("Prompt 2 of 3").wait_for()
    assert focused(book) == "Back"
    keys.press("Shift+Tab")
    keys.press("Space")
    cell.get_by_text("Prompt 3 of 3").wait_for()
    text = saved(book, VOTE)
    assert "zyx" not in text
    assert "2 of 3 votes" in text
    book.page.set_viewport_size(NARROW)
    book.page.wait_for_timeout(300)
    outputs = [part for part in book.output_of(VOTE).all() if part.is_visible()]
    assert all(part.evaluate("e => e.scrollWidth <= e.clientWidth") for part in outputs)
    book.page.screenshot(path=SCREENSHOTS / "voting-narrow-light-running.png")
    book.page.set_viewport_size(SIZE)


def test_the_cell_run_again_goes_on_with_the_votes_and_the_answers(book: Book) -> None:
    cell = book.cell(VOTE)
    before = [pane.inner_text() for pane in cell.get_by_role("group", name="Answer of").all()]
    book.run_cell(VOTE)
    cell.get_by_text("Prompt 3 of 3").wait_for()
    groups = cell.get_by_role("group", name="Answer of")
    assert [pane.inner_text() for pane in groups.all()] == before
    assert len(before) == 2
    assert cell.get_by_text("2 of 3 votes").count() == 1
    assert cell.get_by_text("2 of 3 votes").is_hidden()


def test_after_the_last_vote_the_result_takes_the_place_of_the_buttons(book: Book) -> None:
    cell = book.cell(VOTE)
    cell.get_by_role("button", name="Tie", exact=True).press("Space")
    cell.get_by_text("decisive vote").first.wait_for()
    cell.get_by_role("button", name="Tie", exact=True).wait_for(state="detached")
    assert cell.get_by_role("button", name="Back").count() == 0
    book.save()
    notebook = nbformat.read(book.lab.folder / NAME, as_version=4)
    shown = [output.data for output in notebook.cells[VOTE].outputs]
    assert not any("widget-view" in kind for data in shown for kind in data)
    assert any("zyxcheerful" in data["text/plain"] for data in shown)
    cell.get_by_text("Every vote, with the answers").click()
    for _ in book.each_theme():
        book.screenshot("voted", cell)
        assert book.violations(book.output_of(VOTE)) == []
    book.page.set_viewport_size(NARROW)
    book.page.wait_for_timeout(300)
    book.page.screenshot(path=SCREENSHOTS / "voted-narrow-light-running.png")
    book.page.set_viewport_size(SIZE)


def test_an_early_end_needs_a_vote_and_says_so(book: Book) -> None:
    book.run_cell(AGAIN)
    cell = book.cell(AGAIN)
    cell.get_by_text("Prompt 1 of 2").wait_for()
    cell.get_by_role("button", name="Finish").press("Space")
    cell.get_by_text("no vote is cast yet").wait_for()
    cell.get_by_role("button", name="Back").press("Space")
    cell.get_by_text("this is the first prompt").wait_for()
    cell.get_by_role("button", name="Right", exact=True).press("Space")
    cell.get_by_text("Prompt 2 of 2").wait_for()
    assert "zyx" not in saved(book, AGAIN)


def test_the_votes_train_an_adapter(book: Book) -> None:
    book.run_cell(USE)
    assert "1 pair," in book.cell(USE).inner_text()


def test_reopened_without_a_kernel_the_result_is_read_and_never_the_key(book: Book) -> None:
    again = book.shut_down_kernel_and_reopen()
    again.page.wait_for_timeout(1500)
    ended, begun = (again.cell(place).inner_text() for place in (VOTE, AGAIN))
    assert "zyxcheerful" in ended
    assert "decisive vote" in ended
    assert "Blind comparison: 1 of 2 votes" in begun
    assert "Run this cell again to go on" in begun
    assert "zyx" not in begun
    for word in ("model not found", "Loading widget", "Error displaying"):
        assert word not in ended + begun
    for _ in again.each_theme():
        again.screenshot("voted")
        assert again.violations(again.outputs) == []
    again.close()
