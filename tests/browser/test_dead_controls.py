"""A control whose kernel is gone: its line is read, and no word of JupyterLab's about it."""

from __future__ import annotations

from dataclasses import dataclass

import nbformat
import pytest

from lora_magic.views.controls.outputs import GONE
from tests.browser.lab import Book, Lab

SOURCE = """
import ipywidgets
from IPython.display import display
from lora_magic.views.controls.outputs import outputs
control = ipywidgets.VBox([ipywidgets.IntText(description="Rank", value=8)])
for bundle in outputs(control, "Recount by rank."):
    display(bundle, raw=True)
display({"text/html": "<p>The next record.</p>", "text/plain": ""}, raw=True)
"""
DEAD = f"Recount by rank. {GONE} The next record.".split()


def seen(book: Book) -> list[str]:
    """The words in view, once nothing changes any more."""
    # JupyterLab gives up on a widget after a moment; before that it says that it loads one.
    book.page.wait_for_timeout(1500)
    words: list[str] = book.cell(0).locator(".jp-OutputArea").inner_text().split()
    return words


@dataclass
class Lived:
    """A notebook with the control, saved; its kernel is gone. What was seen while it lived."""

    name: str
    words: list[str]
    violations: list[str]


@pytest.fixture(scope="package")
def lived(lab: Lab) -> Lived:
    lab.write("control.ipynb", SOURCE.strip())
    book = lab.open_notebook("control.ipynb")
    book.run_all()
    book.page.get_by_label("Rank").wait_for()
    book.save()
    made = Lived("control.ipynb", seen(book), book.violations(book.outputs))
    book.close()
    return made


def test_while_it_lives_nothing_is_said_about_its_end(lived: Lived) -> None:
    assert lived.words == ["Recount", "by", "rank.", "Rank", "The", "next", "record."]
    assert lived.violations == []


def test_without_a_kernel_its_line_is_read_and_nothing_of_a_widget(lab: Lab, lived: Lived) -> None:
    book = lab.open_notebook(lived.name, kernel=False)
    assert book.outputs.and_(book.page.locator(".jp-mod-trusted")).count() > 0
    assert seen(book) == DEAD
    assert book.page.get_by_text("Loading widget").first.is_hidden()
    book.close()


def test_with_another_kernel_its_line_is_read_and_nothing_of_a_widget(
    lab: Lab, lived: Lived
) -> None:
    book = lab.open_notebook(lived.name)
    book.page.get_by_text("model not found").wait_for(state="attached")
    assert seen(book) == DEAD
    book.close()


def test_in_a_stranger_s_notebook_its_line_is_read(lab: Lab, lived: Lived) -> None:
    notebook = nbformat.read(lab.folder / lived.name, as_version=4)
    assert "widgets" not in notebook.metadata
    lab.write("strange-control.ipynb", *notebook.cells, "never_run = 1")
    strange = lab.open_notebook("strange-control.ipynb", kernel=False)
    assert strange.page.locator(".jp-mod-trusted").count() == 0
    assert seen(strange) == DEAD
    strange.close()
