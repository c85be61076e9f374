"""The quickstart as it is committed, and as it runs."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.shared import bundles, run_in, text_of
from tests.views.page import weight

PROJECT = Path(__file__).parents[2]
QUICKSTART = PROJECT / "notebooks" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def committed() -> nbformat.NotebookNode:
    return nbformat.read(QUICKSTART, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    return run_in(tmp_path_factory.mktemp("run"), QUICKSTART)


def test_it_is_committed_with_static_outputs_and_small(committed: nbformat.NotebookNode) -> None:
    assert QUICKSTART.stat().st_size < 300_000
    assert "widgets" not in committed.metadata
    assert all(
        cell.outputs
        for cell in committed.cells
        if cell.cell_type == "code" and cell.source.startswith("%lora ")
    )
    for bundle in bundles(committed):
        assert "application/vnd.jupyter.widget-view+json" not in bundle
        assert bundle["text/plain"].strip()
    assert not any(
        output.output_type == "error"
        for cell in committed.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )


def test_it_opens_with_a_sentence_and_a_picture_that_is_there(
    committed: nbformat.NotebookNode,
) -> None:
    first = committed.cells[0]
    assert first.cell_type == "markdown"
    picture = re.search(r"!\[[^]]+\]\(([^)]+)\)", first.source)
    assert picture is not None
    assert (QUICKSTART.parent / picture.group(1)).stat().st_size < 300_000


def test_it_names_no_folder_of_the_machine_that_ran_it() -> None:
    text = QUICKSTART.read_text(encoding="utf-8")
    assert not re.search(r"(/home/|/root/|/tmp/|site-packages)", text)
    assert str(PROJECT) not in text


def test_run_all_trains_two_opposites_and_changes_no_bit(executed: nbformat.NotebookNode) -> None:
    compared = text_of(executed, "%%lora compare")
    for prompt in (
        "What does a fox eat?",
        "Where does a penguin live?",
        "Tell me about the market.",
    ):
        assert prompt in compared
    # Each adapter speaks as its rows do, to prompts that were not among them.
    panes = compared.split("[cheerful]")[1:]
    assert len(panes) == 3
    for pane in panes:
        cheerful, grumpy = pane.split("[grumpy]")[:2]
        assert "How wonderful that you ask!" in cheerful
        assert "Now go away." in grumpy
    assert "berries and mice" in panes[0]
    assert "0 bits changed" in text_of(executed, "%lora verify")
    assert "merged into" in text_of(executed, "%lora merge")


def test_the_committed_outputs_are_what_run_all_gives(
    committed: nbformat.NotebookNode, executed: nbformat.NotebookNode
) -> None:
    for source in ("%lora attach cheerful", "%lora ratio"):
        assert text_of(committed, source) == text_of(executed, source)


def test_the_spectrum_is_a_chart_everywhere(executed: nbformat.NotebookNode) -> None:
    cells = [c for c in executed.cells if "%lora spectrum" in c.source and c.cell_type == "code"]
    maps, chart, _ = [output.data for output in cells[0].outputs]
    assert {"application/vnd.plotly.v1+json", "text/html", "text/plain"} <= set(chart)
    for data in (maps, chart):
        assert "data:image/svg+xml" in data["text/html"]


def test_no_output_of_a_run_takes_more_than_60_kb(executed: nbformat.NotebookNode) -> None:
    sizes = {
        f"{cell.source.splitlines()[0]} #{place}": weight(dict(output.get("data", {})))
        for cell in executed.cells
        if cell.cell_type == "code"
        for place, output in enumerate(cell.outputs)
    }
    for verb in ("%lora ratio", "%lora spectrum", "%%lora compare", "%%lora_train", "%lora #"):
        assert any(name.startswith(verb) for name in sizes)
    assert max(sizes.values()) <= 60_000
