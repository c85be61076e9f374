"""An answer in JupyterLab: it grows while it is generated, ■ ends it, and the file keeps one."""

from __future__ import annotations

from typing import Any

import nbformat

from tests.browser.lab import Lab

LOAD = "%load_ext lora_magic\n%lora load demo"
#: A second between two tokens, so that the page is seen before the answer is complete.
SLOW = """
import time, lora_magic
model = lora_magic.session().model
hook = model.register_forward_hook(lambda *_: time.sleep(0.25))
"""
ASK = "%lora ask Tell me a short story."
ROWS = "rows = ['What does a fox eat?', '', 'How do I make apple pie?', 'Hi'] * 6"
COLUMN = "%lora ask --max-new-tokens 20 --data rows"


def outputs(lab: Lab, name: str, cell: int) -> list[Any]:
    saved = nbformat.read(lab.folder / name, as_version=4)
    return [output for output in saved.cells[cell].outputs if output.output_type != "error"]


def test_an_answer_grows_and_only_the_last_form_is_kept(lab: Lab) -> None:
    name = "asking.ipynb"
    lab.write(name, LOAD, ASK, ROWS, COLUMN, SLOW, ASK, COLUMN)
    book = lab.open_notebook(name)
    for place in range(5):
        book.run_cell(place)
    book.run_cell(5, wait=False)
    pane = book.output_of(5).get_by_role("group", name="Answer of base, in progress")
    pane.wait_for()
    early = pane.inner_text()
    book.page.wait_for_function(
        "([early]) => [...document.querySelectorAll('[role=group]')].some("
        "e => (e.getAttribute('aria-label') || '').endsWith('in progress')"
        " && e.innerText.length > early.length + 8)",
        arg=[early],
    )
    book.page.wait_for_timeout(1000)
    book.screenshot("asking-growing", book.output_of(5).first)
    book.interrupt()
    book.wait_idle()
    assert "stopped by you" in book.output_of(5).first.inner_text().replace("\u00a0", " ")
    book.run_cell(6, wait=False)
    book.output_of(6).get_by_text("answering 24 rows").or_(
        book.output_of(6).get_by_text("prompts answered")
    ).first.wait_for()
    book.screenshot("asking-column-running", book.output_of(6).first)
    book.interrupt()
    book.wait_idle()
    assert "stopped by you" in book.output_of(6).first.inner_text()
    book.save()
    for cell in (1, 3, 5, 6):
        (kept,) = outputs(lab, name, cell)
        assert "in progress" not in kept.data["text/html"]
    for _ in book.each_theme():
        assert book.violations(book.output_of(3)) == []
        assert book.violations(book.output_of(1)) == []
        book.screenshot("asking")
    book.close()
