"""The notebook on what is inside ΔW, as it is committed and as it runs."""

from __future__ import annotations

import re

import nbformat
import pytest

from tests.notebooks.shared import (
    NOTEBOOKS,
    check_committed,
    check_questions,
    run_in,
    text_of,
)

NOTEBOOK = NOTEBOOKS / "inside_delta_w.ipynb"


@pytest.fixture(scope="module")
def committed() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """Run whole: its cells assert what its text says."""
    return run_in(tmp_path_factory.mktemp("run"), NOTEBOOK)


def test_it_is_committed_with_static_outputs_and_names_no_folder() -> None:
    check_committed(NOTEBOOK)


def test_each_of_its_eight_questions_is_answered_by_an_asserted_number(
    committed: nbformat.NotebookNode,
) -> None:
    check_questions(committed)


def test_its_numbers_of_the_paper_are_those_of_tables_6_and_7(
    committed: nbformat.NotebookNode,
) -> None:
    source = "\n".join(cell.source for cell in committed.cells)
    for row in (
        "[73.4, 73.3, 73.7, 73.8, 73.5]",
        "[91.3, 91.4, 91.3, 91.6, 91.4]",
        "[4, 0.32, 21.67, 0.02, 6.91, 61.95, 21.6]",
        "[64, 1.90, 37.71, 0.33, 3.57, 61.95, 1.9]",
    ):
        assert row in source


def test_what_it_prints_are_the_numbers_that_were_committed(
    committed: nbformat.NotebookNode, executed: nbformat.NotebookNode
) -> None:
    # Numbers on another machine differ in the last digits; directions differ more than losses.
    for cell in ("changed = spectrum", "ranks = changed", "first = ranks_compared", "enough: rank"):
        one, two = (
            [float(n) for n in re.findall(r"-?\d+\.?\d*", text_of(notebook, cell))]
            for notebook in (committed, executed)
        )
        assert one == pytest.approx(two, abs=0.2)


def test_no_bit_of_the_base_changes(
    committed: nbformat.NotebookNode, executed: nbformat.NotebookNode
) -> None:
    for notebook in (committed, executed):
        assert "0 bits changed" in text_of(notebook, "%lora verify")
