"""The committed quickstart in a real JupyterLab: reopened without a kernel, and run live."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.browser.lab import Book, Lab
from tests.views.page import BUTTON, Page, letters

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
QUICKSTART = NOTEBOOKS / "quickstart.ipynb"
NAME = QUICKSTART.name
#: What a notebook must never say to somebody who opens it.
DEAD = ("model not found", "Loading widget", "Error", "Traceback", "Javascript")


@pytest.fixture(scope="package")
def quickstart(lab: Lab) -> str:
    """The notebook and its pictures in the server's folder."""
    lab.add(*(path for path in NOTEBOOKS.iterdir() if path.is_file()))
    return NAME


@pytest.fixture(params=[True, False], ids=["trusted", "untrusted"])
def reopened(lab: Lab, quickstart: str, request: pytest.FixtureRequest) -> Iterator[Book]:
    """The committed file, opened and not run."""
    name = f"{'signed' if request.param else 'strange'}-{quickstart}"
    # A signature holds for the content: each copy has its own.
    notebook = nbformat.read(lab.folder / quickstart, as_version=4)
    notebook.metadata["copy"] = name
    nbformat.write(notebook, lab.folder / name)
    if request.param:
        lab.trust(name)
    book = lab.open_notebook(name, kernel=False)
    assert (book.page.locator(".jp-mod-trusted").count() > 0) == request.param
    yield book
    book.close()


def assert_panes(book: Book) -> None:
    # The record, not the controls beside it, which name the adapters too.
    output = book.output_of("%%lora compare").and_(book.page.locator(".jp-RenderedHTML"))
    output.get_by_text("grumpy", exact=True).last.wait_for()
    for name in ("base", "cheerful", "grumpy"):
        assert output.get_by_text(name, exact=True).count() == 3
    marked = output.locator("ins").filter(has_text="How wonderful that you ask!")
    assert marked.count() > 0
    ink, paper = (contrast_of(output.first, kind) for kind in ("color", "backgroundColor"))
    assert abs(ink - paper) > 0.5, "the text is not to be told from the page"


def contrast_of(element: Any, kind: str) -> float:
    """How bright a colour is, 0 to 1; a transparent background is that of what lies behind."""
    channels = element.evaluate(
        """(node, kind) => {
            let colour = getComputedStyle(node)[kind];
            while (node.parentElement && colour.replace(/ /g, '') === 'rgba(0,0,0,0)') {
                node = node.parentElement;
                colour = getComputedStyle(node)[kind];
            }
            return colour.match(/[0-9.]+/g).slice(0, 3).map(Number);
        }""",
        kind,
    )
    return sum(map(float, channels)) / 765


def assert_painted(book: Book) -> None:
    """Every picture of ours; plotly keeps a hidden one, and badges come over the network."""
    book.page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('.jp-Notebook img')]"
        ".filter(image => !image.matches('.plot-img') && !/^https:/.test(image.src));"
        " return all.length > 3 && all.every(image => image.complete && image.naturalWidth); }"
    )
    sources = book.outputs.locator("img:not(.plot-img)").evaluate_all("all => all.map(i => i.src)")
    assert all(source.startswith("data:image/svg+xml") for source in sources)


def assert_nothing_dead(book: Book) -> None:
    # Of the areas: an output that is hidden itself would tell what it hides.
    said = "\n".join(book.page.locator(".jp-Notebook .jp-OutputArea").all_inner_texts())
    assert said.strip()
    for word in DEAD:
        assert word not in said
    assert book.page.locator(".jp-OutputArea-output[data-mime-type*=error]").count() == 0


def assert_every_word(book: Book, notebook: nbformat.NotebookNode) -> None:
    """Each HTML output stands in the page as it was written."""
    for place, cell in enumerate(notebook.cells):
        shown = letters("".join(book.output_of(place).all_text_contents())).replace(BUTTON, "")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "application/vnd.plotly.v1+json" not in data and "text/html" in data:
                assert letters(Page(data["text/html"]).text) in shown, f"cell {place}"


def test_reopened_without_a_kernel_everything_is_to_be_seen(reopened: Book) -> None:
    assert_nothing_dead(reopened)
    assert_every_word(reopened, nbformat.read(QUICKSTART, as_version=4))
    trusted = reopened.name.startswith("signed")
    for _ in reopened.each_theme():
        assert_panes(reopened)
        assert_painted(reopened)
        reopened.screenshot("quickstart" if trusted else "quickstart-untrusted")
        assert reopened.violations(reopened.outputs) == []


def test_run_live_the_training_is_seen_and_its_curve_stays(lab: Lab, quickstart: str) -> None:
    book = lab.open_notebook(quickstart)
    book.run_all(wait=False)
    book.cell("%%lora_train cheerful").get_by_text("press ■").first.wait_for()
    book.wait_idle()
    trained = book.cell("%%lora_train cheerful")
    assert trained.get_by_text("60 steps in").count() == 1
    assert trained.get_by_text("press ■").count() == 0
    assert book.cell("%lora spectrum").locator(".js-plotly-plot .main-svg").count() > 0
    assert_nothing_dead(book)
    assert book.page.get_by_text("0 bits changed").count() > 0
    for _ in book.each_theme():
        assert_panes(book)
        assert_painted(book)
        book.screenshot("quickstart")
        assert book.violations(book.outputs) == []
    again = book.shut_down_kernel_and_reopen()
    assert_nothing_dead(again)
    for _ in again.each_theme():
        assert_panes(again)
        assert_painted(again)
        again.screenshot("quickstart-run-here")
    again.close()
