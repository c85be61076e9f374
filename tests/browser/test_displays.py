"""Every display in a real JupyterLab, where the notebook is trusted and where it is a stranger's.

JupyterLab's own sanitiser (an allow-list of elements, attributes and styles) does the dropping.
"""

from __future__ import annotations

from typing import Any

import nbformat
import pytest

from tests.browser.lab import Book, Lab
from tests.views.page import BUTTON, Page, letters
from tests.views.samples import ALL, Bundle

#: A display of a run under way is replaced by another before anybody saves it.
KEPT = [name for name in ALL if name != "progress"]
MARKS = ("table", "caption", "th[scope=row]", "th[scope=col]", "mark", "b", "strong", "code", "img")


@pytest.fixture(scope="package")
def displays(lab: Lab) -> dict[str, Bundle]:
    """Each display as the output of a cell, in a notebook that is signed and in one that is not."""
    made = {name: ALL[name]("pirate $19.90") for name in KEPT}
    cells = [cell(name, bundle) for name, bundle in made.items()]
    lab.write("signed.ipynb", *cells)
    lab.trust("signed.ipynb")
    lab.write("strange.ipynb", *cells, "never_run = 1")
    return made


def cell(name: str, bundle: Bundle) -> nbformat.NotebookNode:
    # As HTML, even where there is a chart: plotly's own page is for the quickstart's tests.
    data = {kind: bundle[kind] for kind in ("text/html", "text/plain")}
    output = nbformat.v4.new_output("display_data", data=data)
    return nbformat.v4.new_code_cell(f"# {name}", outputs=[output], execution_count=1)


def kept(book: Book, place: int, markup: object) -> None:
    """What stands in the page is what was written: text, structure, pictures and their words."""
    written, shown = Page(markup), book.output_of(place)
    # Not inner_text: what a reader unfolds counts too.
    # A table's copy button stands where scripts run.
    words = letters("".join(shown.all_text_contents())).replace(BUTTON, "")
    assert words == letters(written.text)
    for mark in MARKS:
        tag, _, rest = mark.partition("[")
        wanted = rest.removesuffix("]").split("=") if rest else []
        found = [
            given for given in written.named(tag) if not wanted or given.get(wanted[0]) == wanted[1]
        ]
        assert shown.locator(mark).count() == len(found), mark
    pictures = shown.locator("img").evaluate_all("all => all.map(i => [i.alt, i.naturalWidth])")
    assert [alt for alt, _ in pictures] == [given["alt"] for given in written.named("img")]
    assert all(width > 0 for _, width in pictures)


def unfold(book: Book) -> None:
    book.outputs.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")


def wider_than_the_page(book: Book) -> list[Any]:
    found: list[Any] = book.outputs.evaluate_all(
        "all => all.filter(o => o.scrollWidth > o.clientWidth + 1).map(o => o.textContent)"
    )
    return found


def test_every_display_has_no_fault_of_accessibility(lab: Lab, displays: dict[str, Bundle]) -> None:
    book = lab.open_notebook("signed.ipynb", kernel=False)
    unfold(book)
    for place, bundle in enumerate(displays.values()):
        kept(book, place, bundle["text/html"])
    buttons = book.outputs.get_by_role("button", name="Copy table")
    assert buttons.count() == sum(str(b["text/html"]).count("<thead>") for b in displays.values())
    for _ in book.each_theme():
        assert book.violations(book.outputs) == []
        assert wider_than_the_page(book) == []
        book.screenshot("displays")
    assert book.refused == []
    book.close()


def test_every_display_outlives_the_sanitiser_of_an_untrusted_notebook(
    lab: Lab, displays: dict[str, Bundle]
) -> None:
    book = lab.open_notebook("strange.ipynb", kernel=False)
    assert book.outputs.and_(book.page.locator(".jp-mod-trusted")).count() == 0
    unfold(book)
    for place, bundle in enumerate(displays.values()):
        kept(book, place, bundle["text/html"])
    assert book.outputs.get_by_role("button").count() == 0
    for _ in book.each_theme():
        assert book.violations(book.outputs) == []
        book.screenshot("displays-untrusted")
    book.close()
