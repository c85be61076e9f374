"""The committed quickstart as a page of HTML, opened where there is no network at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter

from tests.browser.lab import SCREENSHOTS, Lab, Theme, violations
from tests.views.page import BUTTON, Page, letters

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
#: Wide and narrow: a laptop's window, and a column beside another.
WIDTHS = (1280, 700)


@pytest.fixture(scope="package")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(QUICKSTART, as_version=4)


@pytest.fixture
def exported(
    lab: Lab, theme: Theme, notebook: nbformat.NotebookNode, tmp_path: Path
) -> Iterator[Any]:
    """The page; `faults` holds its errors, `asked` what it wanted from elsewhere."""
    exporter = HTMLExporter(theme=theme, embed_images=True)
    markup, _ = exporter.from_notebook_node(
        notebook.copy(), resources={"metadata": {"path": str(QUICKSTART.parent)}}
    )
    path = tmp_path / "quickstart.html"
    path.write_text(markup, encoding="utf-8")
    page = lab.browser.new_page(viewport={"width": WIDTHS[0], "height": 900})
    page.faults, page.asked = [], []
    page.on("pageerror", lambda fault: page.faults.append(str(fault)))
    page.route(re.compile("^(?!file:|data:)"), lambda route: refuse(page, route))
    page.goto(path.as_uri())
    page.wait_for_load_state()
    yield page
    page.close()


def refuse(page: Any, route: Any) -> None:
    page.asked.append(route.request.url)
    route.abort()


def unfold(page: Any) -> None:
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")


def test_every_output_is_read_without_a_network(
    exported: Any, notebook: nbformat.NotebookNode
) -> None:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    areas = exported.locator(".jp-CodeCell .jp-OutputArea")
    assert areas.count() == len(cells)
    unfold(exported)
    for place, cell in enumerate(cells):
        shown = letters(areas.nth(place).inner_text()).replace(BUTTON, "")
        for output in cell.outputs:
            if output.output_type == "stream":
                assert letters(output.text) in shown
            elif "text/html" in output.data:
                assert letters(Page(output.data["text/html"]).text) in shown


def test_every_picture_is_painted_and_nothing_of_ours_asks_for_more(exported: Any) -> None:
    pictures = exported.locator("img").evaluate_all(
        "all => all.map(i => [i.src.slice(0, 22), i.alt, i.complete && i.naturalWidth])"
    )
    ours = [given for given in pictures if not given[0].startswith("http")]
    assert len(ours) > 3
    assert all(alt and width for _, alt, width in ours), ours
    outputs = exported.locator(".jp-OutputArea-output")
    assert outputs.locator("[src^=http], [href^=http], script, link, iframe").count() == 0
    # Without MathJax and its kin, which nbconvert's own page asks for, nothing of ours fails.
    assert exported.faults == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_page(exported: Any, width: int) -> None:
    exported.set_viewport_size({"width": width, "height": 900})
    unfold(exported)
    assert exported.evaluate("() => document.documentElement.scrollWidth") <= width
    # An area that scrolls would hide a column of a table.
    cut = exported.locator(".jp-OutputArea-output").evaluate_all(
        "all => all.filter(o => o.scrollWidth > o.clientWidth + 1).map(o => o.textContent)"
    )
    assert cut == []


def test_it_is_readable_in_both_colour_schemes(exported: Any, theme: Theme) -> None:
    unfold(exported)
    paper = exported.evaluate("() => getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", paper)[:3])) > 3 * 128
    assert light == (theme == "light")
    height = exported.evaluate("() => document.documentElement.scrollHeight")
    exported.set_viewport_size({"width": WIDTHS[0], "height": height})
    SCREENSHOTS.mkdir(exist_ok=True)
    exported.screenshot(path=SCREENSHOTS / f"quickstart-html-{theme}-offline.png")
    assert violations(exported, exported.locator(".jp-OutputArea-output")) == []
