"""The notebook about one's own rows as it is committed, and as it runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.notebooks.test_quickstart import bundles, text_of
from tests.views.page import weight

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "your_own_data.ipynb"
ROWS = NOTEBOOK.parent / "messages.csv"


@pytest.fixture(scope="module")
def committed() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    folder = tmp_path_factory.mktemp("own")
    shutil.copy(ROWS, folder)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return notebook


def test_it_is_committed_with_static_outputs_and_names_no_folder(
    committed: nbformat.NotebookNode,
) -> None:
    assert "widgets" not in committed.metadata
    for bundle in bundles(committed):
        assert "application/vnd.jupyter.widget-view+json" not in bundle
        assert bundle["text/plain"].strip()
        assert weight(bundle) <= 60_000
    code = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in code if "%lora" in cell.source)
    assert not [out for cell in code for out in cell.outputs if out.output_type == "error"]
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"(/home/|/root/|/tmp/|site-packages)", text)


def test_the_run_holds_out_a_tenth_and_says_what_it_learned_and_forgot(
    executed: nbformat.NotebookNode,
) -> None:
    run = text_of(executed, "%lora train desk")
    assert "30 held out" in run
    assert "1 left out (prompt too long)" in run
    assert re.search(r"held out \d\.\d\d → 0\.\d\d", run)
    forgotten = re.search(
        r"forgetting: (\d+) of 24 questions", text_of(executed, "run.forgetting.line")
    )
    assert forgotten is not None
    assert int(forgotten.group(1)) >= 18


def test_new_messages_are_answered_in_the_desk_s_style_and_the_base_is_unchanged(
    executed: nbformat.NotebookNode,
) -> None:
    panes = text_of(executed, "%%lora compare").split("[desk]")[1:]
    assert len(panes) == 4
    for pane in panes:
        assert "Thank you for your message." in pane
        assert "Your visitor desk" in pane
    assert "0 bits changed" in text_of(executed, "%lora verify")


def test_what_would_be_trained_is_shown_before(executed: nbformat.NotebookNode) -> None:
    shown = text_of(executed, "%lora preview")
    assert "⟦T|h|ank|" in shown
    assert "equal prompts with different replies: 2 rows (61, 247)" in shown
    assert "held out: 30 rows" in shown
    assert "columns not used: ticket, sent" in shown


def test_the_held_out_messages_are_answered_beside_the_desk_s_replies(
    executed: nbformat.NotebookNode,
) -> None:
    (page,) = [
        output.data["text/html"]
        for cell in executed.cells
        if "%lora ask --data" in cell.source
        for output in cell.outputs
        if "data" in output
    ]
    assert page.count("<tr") == 1 + 30
    assert page.count("Your visitor desk") >= 59


def test_the_killed_run_resumes_to_the_same_weights(executed: nbformat.NotebookNode) -> None:
    assert "exit status: -9" in text_of(executed, "process.kill()")
    assert re.search(r"resumed after step \d+ of 40", text_of(executed, "--resume"))
    assert "equal: True" in text_of(executed, "read_bytes() ==")
