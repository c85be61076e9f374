"""The notebook about one's own rows as it is committed, and as it runs."""

from __future__ import annotations

import re

import nbformat
import pytest

from tests.notebooks.shared import NOTEBOOKS, check_committed, run_in, text_of

NOTEBOOK = NOTEBOOKS / "your_own_data.ipynb"


@pytest.fixture(scope="module")
def committed() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    return run_in(tmp_path_factory.mktemp("run"), NOTEBOOK)


def test_it_is_committed_with_static_outputs_and_names_no_folder() -> None:
    check_committed(NOTEBOOK)


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
    assert "⟦Thank|·you|" in shown
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
