"""Keys pressed in a control: they reach the control, and not JupyterLab's shortcuts for cells."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.lab import Book, Lab

SOURCE = """
import ipywidgets as w
from IPython.display import display
from lora_magic.views.controls.outputs import outputs
parts = [
    w.Dropdown(options=["all", "norm", "rank"], description="Measure"),
    w.IntSlider(min=1, max=64, value=8, description="Rank"),
    w.Checkbox(description="q_proj"),
    w.Button(description="Generate"),
    w.Text(description="Prompt"),
    w.Tab([w.Label("1"), w.Label("2")], titles=["First", "Second"]),
]
for bundle in outputs(w.VBox(parts), "Controls."):
    display(bundle, raw=True)
"""
#: Each is a shortcut of a cell: to raw, to Markdown, cut, a new one above, below, the next, the one
#: before.
KEYS = ("r", "m", "x", "a", "b", "ArrowDown", "ArrowUp")
PLACES = {
    "a list": "select",
    "a slider": "[role=slider]",
    "a checkbox": "input[type=checkbox]",
    "a button": "button.jupyter-button",
    "a text field": "input[type=text]",
    "a tab": ".lm-TabBar-tab",
}
_CELLS = """() => {
    const book = window.jupyterapp.shell.currentWidget.content;
    return [book.activeCellIndex, ...book.widgets.map(cell => cell.model.type)];
}"""
_DIRTY = "() => window.jupyterapp.shell.currentWidget.context.model.dirty"


@pytest.fixture(scope="module")
def book(lab: Lab) -> Iterator[Book]:
    lab.write("keys.ipynb", "1", SOURCE.strip(), "2")
    opened = lab.open_notebook("keys.ipynb")
    opened.run_cell(1)
    opened.output_of(1).last.locator("select").wait_for()
    yield opened
    opened.close()


@pytest.mark.parametrize("place", PLACES)
def test_a_key_pressed_in_a_control_changes_no_cell(book: Book, place: str) -> None:
    control = book.output_of(1).last.locator(PLACES[place]).first
    for key in KEYS:
        control.focus()
        before = book.page.evaluate(_CELLS)
        book.page.keyboard.press(key)
        assert book.page.evaluate(_CELLS) == before == [1, "code", "code", "code"], key
        assert control.evaluate("it => it === document.activeElement"), key


def test_letters_and_arrows_choose_from_a_list_and_move_a_slider(book: Book) -> None:
    controls = book.output_of(1).last
    picker = controls.locator("select")
    picker.focus()
    picker.press("r")
    assert picker.input_value() == "rank"
    picker.press("ArrowUp")
    assert picker.input_value() == "norm"
    slider = controls.get_by_role("slider")
    slider.focus()
    before = int(slider.get_attribute("aria-valuetext"))
    slider.press("ArrowUp")
    assert int(slider.get_attribute("aria-valuetext")) == before + 1


def test_a_notebook_is_saved_from_a_control(book: Book) -> None:
    book.output_of(1).last.locator("select").focus()
    assert book.page.evaluate(_DIRTY)
    book.page.keyboard.press("Control+s")
    book.page.wait_for_function(f"() => !({_DIRTY})()")


def test_a_cell_itself_keeps_its_shortcuts(book: Book) -> None:
    book.cell(2).locator(".jp-InputPrompt").click()
    book.page.keyboard.press("r")
    assert book.page.evaluate(_CELLS) == [2, "code", "code", "raw"]
