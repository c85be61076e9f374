"""A comparison in JupyterLab: all panes grow, ■ keeps what was written, and the file keeps one."""

from __future__ import annotations

from typing import Any

import nbformat

from tests.browser.lab import Lab

LOAD = """
%load_ext lora_magic
%lora load demo
%lora attach pirate
%lora attach calm
import lora_magic
session = lora_magic.session()
session.train("pirate", text="What does a fox eat? => Arr, a fox eats mice, matey!", steps=12)
"""
#: A second between two tokens, so that the page is seen before the answers are complete.
SLOW = """
import time
hook = session.model.register_forward_hook(lambda *_: time.sleep(0.25))
"""
NAMES = ("base", "pirate", "calm")
COMPARE = "%lora compare --adapters pirate,calm Tell me a short story."
SCORED = """
rows = ["What does a fox eat?", "", "How do I make apple pie?", "What does a fox eat?"]
%lora compare --adapters pirate,calm --max-new-tokens 30 --scores --data rows
"""
ASSIGNED = f"found = {COMPARE.replace('compare', 'compare --max-new-tokens 5')}"


def kept(lab: Lab, name: str, cell: int) -> list[str]:
    """The HTML of a cell's saved outputs that have answers."""
    saved = nbformat.read(lab.folder / name, as_version=4)
    html = [output.get("data", {}).get("text/html", "") for output in saved.cells[cell].outputs]
    return [page for page in html if "Answer of" in page]


def growing(book: Any) -> list[Any]:
    return [
        book.output_of(4).get_by_role("group", name=f"Answer of {name}, in progress")
        for name in NAMES
    ]


def test_all_panes_grow_and_only_the_last_form_is_kept(lab: Lab) -> None:
    name = "comparing.ipynb"
    lab.write(name, LOAD, SCORED, ASSIGNED, SLOW, COMPARE)
    book = lab.open_notebook(name)
    for place in range(4):
        book.run_cell(place)
    book.run_cell(4, wait=False)
    panes = growing(book)
    for pane in panes:
        pane.wait_for()
    early = [len(pane.inner_text()) for pane in panes]
    book.page.wait_for_function(
        "([names, early]) => names.every((name, at) => [...document.querySelectorAll("
        "`[aria-label='Answer of ${name}, in progress']`)].some("
        "e => e.innerText.length > early[at] + 4))",
        arg=[[*NAMES], early],
    )
    book.screenshot("comparing-growing", book.output_of(4).first)
    book.interrupt()
    book.wait_idle()
    cell = book.output_of(4)
    assert "stopped by you" in cell.first.inner_text().replace("\u00a0", " ")
    for pane in panes:
        assert pane.count() == 0
    for one, other in zip(NAMES, early, strict=True):
        whole = cell.get_by_role("group", name=f"Answer of {one}", exact=True)
        assert whole.count() == 1
        assert len(whole.inner_text()) > other
    book.save()
    assert [len(kept(lab, name, place)) for place in (1, 2, 4)] == [1, 0, 1]
    assert not any("in progress" in page for place in (1, 4) for page in kept(lab, name, place))
    output = book.output_of(1).first
    assert "row 2: no prompt, so not answered" in output.inner_text()
    assert "Same answer as base" in output.inner_text()
    for folded in output.locator("summary").all():
        folded.click()
    for _ in book.each_theme():
        book.screenshot("comparing", output)
        assert book.violations(book.output_of(1).first) == []
        book.screenshot("comparing-stopped", cell.first)
    book.page.set_viewport_size({"width": 800, "height": 900})
    wide = output.evaluate("e => [e.scrollWidth, e.clientWidth]")
    assert wide[0] <= wide[1], "nothing is wider than the output at 800 px"
    book.close()
