"""A control whose kernel is gone: its line is read, and no word of JupyterLab's about it."""

from __future__ import annotations

from collections.abc import Iterator

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


@pytest.fixture
def live(lab: Lab) -> Iterator[Book]:
    """The control, alive, in a notebook that is saved."""
    lab.write("control.ipynb", SOURCE.strip())
    book = lab.open_notebook("control.ipynb")
    book.run_all()
    book.page.get_by_label("Rank").wait_for()
    book.save()
    yield book
    book.close()


def seen(book: Book) -> list[str]:
    """The words in view, once nothing changes any more."""
    # JupyterLab gives up on a widget after a moment; before that it says that it loads one.
    book.page.wait_for_timeout(1500)
    words: list[str] = book.cell(0).locator(".jp-OutputArea").inner_text().split()
    return words


def test_while_it_lives_nothing_is_said_about_its_end(live: Book) -> None:
    assert seen(live) == ["Recount", "by", "rank.", "Rank", "The", "next", "record."]
    assert live.violations(live.outputs) == []


def test_without_a_kernel_its_line_is_read_and_nothing_of_a_widget(live: Book) -> None:
    again = live.shut_down_kernel_and_reopen()
    assert again.outputs.and_(again.page.locator(".jp-mod-trusted")).count() > 0
    assert seen(again) == DEAD
    assert again.page.get_by_text("Loading widget").first.is_hidden()
    again.close()


def test_with_another_kernel_its_line_is_read_and_nothing_of_a_widget(live: Book) -> None:
    live.shut_down_kernel_and_reopen().close()
    again = live.lab.open_notebook(live.name)
    again.page.get_by_text("model not found").wait_for(state="attached")
    assert seen(again) == DEAD
    again.close()


def test_in_a_stranger_s_notebook_its_line_is_read(live: Book) -> None:
    notebook = nbformat.read(live.lab.folder / live.name, as_version=4)
    assert "widgets" not in notebook.metadata
    live.lab.write("strange-control.ipynb", *notebook.cells, "never_run = 1")
    live.close()
    strange = live.lab.open_notebook("strange-control.ipynb", kernel=False)
    assert strange.page.locator(".jp-mod-trusted").count() == 0
    assert seen(strange) == DEAD
    strange.close()
