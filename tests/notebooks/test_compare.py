"""The notebook on which adapter is better, as it is committed and as it runs."""

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

NOTEBOOK = NOTEBOOKS / "compare.ipynb"


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


def test_what_it_prints_are_the_numbers_that_were_committed(
    committed: nbformat.NotebookNode, executed: nbformat.NotebookNode
) -> None:
    # Losses on another machine differ in the last digits.
    for cell in ("best = board", 'pair = found.pair("loss"', "mixed = %lora"):
        one, two = (
            [float(n) for n in re.findall(r"-?\d+\.\d+", text_of(notebook, cell))]
            for notebook in (committed, executed)
        )
        assert one == pytest.approx(two, abs=0.05)


def test_no_bit_of_the_base_changes(
    committed: nbformat.NotebookNode, executed: nbformat.NotebookNode
) -> None:
    for notebook in (committed, executed):
        assert "0 bits changed" in text_of(notebook, "%lora verify")
