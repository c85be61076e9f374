"""The notebook on several workers and a Ray cluster, as it is committed and as it runs."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tests.notebooks.shared import NOTEBOOKS, check_committed, check_questions, run_in, text_of

NOTEBOOK = NOTEBOOKS / "more_machines.ipynb"
PAPER = Path(__file__).parents[1] / "benchmarks" / "scale.md"
#: The cell tagged "parameters", with fewer steps.
FEW = "steps = 24"


@pytest.fixture(scope="module")
def committed() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """Run whole, with few steps: its cells assert what its text says."""
    pytest.importorskip("ray")
    return run_in(tmp_path_factory.mktemp("run"), NOTEBOOK, FEW)


def test_it_is_committed_with_static_outputs_and_names_no_folder() -> None:
    check_committed(NOTEBOOK)


def test_each_of_its_six_questions_is_answered_by_an_asserted_number(
    committed: nbformat.NotebookNode,
) -> None:
    check_questions(committed, 6)


def test_workers_of_either_engine_learn_what_this_process_learns(
    executed: nbformat.NotebookNode,
) -> None:
    assert "2 workers (this machine)" in text_of(executed, "%lora train two ")
    assert "2 workers (Ray, " in text_of(executed, "%lora train cluster ")
    for names in ('"alone", "two"', '"alone", "cluster"'):
        (share,) = re.findall(r"differ by (\S+) of ‖ΔW‖", text_of(executed, f"distance({names})"))
        assert float(share) < 1e-3


def test_a_run_whose_worker_is_killed_says_so_and_ends_as_the_others(
    executed: nbformat.NotebookNode,
) -> None:
    shown = text_of(executed, "%lora train survivor ")
    assert re.search(r"worker \d.* lost", shown)
    told = text_of(executed, 'distance("cluster", "survivor")')
    ((ours, other),) = re.findall(r"loss (\S+) with a killed worker, (\S+) without", told)
    assert float(ours) == pytest.approx(float(other), abs=1e-3)


def test_a_stopped_run_ends_with_another_number_of_workers(
    executed: nbformat.NotebookNode,
) -> None:
    assert "--resume" in text_of(executed, "# what ■ does")
    assert "24 steps" in text_of(executed, "resumed = %lora")


def test_its_table_is_that_of_the_paper(committed: nbformat.NotebookNode) -> None:
    (cell,) = [c for c in committed.cells if c.source.startswith("## When more devices pay")]
    rows = [line for line in cell.source.splitlines() if line.startswith("|")]
    assert len(rows) > 5
    assert "\n".join(rows) in PAPER.read_text(encoding="utf-8")
