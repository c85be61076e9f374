"""The notebook about ranks, layers and rates as it is committed, and as it runs with few steps."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from lora_magic.adapters.presets import advice_lines
from tests.notebooks.shared import NOTEBOOKS, check_committed, run_in, text_of

NOTEBOOK = NOTEBOOKS / "which_rank.ipynb"
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "paper_tables.txt"
#: The cell tagged "parameters", with 6 arms in place of 18 and a seventh of their steps.
FEW = 'steps, ranks, rates = 9, "2,8", "4e-3"'


@pytest.fixture(scope="module")
def committed() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    return run_in(tmp_path_factory.mktemp("run"), NOTEBOOK, FEW)


def test_it_is_committed_with_static_outputs_and_names_no_folder() -> None:
    check_committed(NOTEBOOK)


def test_its_tables_of_the_paper_are_what_the_benchmark_printed(
    committed: nbformat.NotebookNode,
) -> None:
    printed = RESULTS.read_text(encoding="utf-8")
    tables = [
        "\n".join(line for line in cell.source.splitlines() if line.startswith("|"))
        for cell in committed.cells
        if cell.cell_type == "markdown" and "\n|---|" in cell.source
    ]
    assert [table.count("\n") - 1 for table in tables] == [7, 15]
    assert all(table in printed for table in tables)


def test_the_budgets_of_table_5_are_equal_within_one_per_cent(
    committed: nbformat.NotebookNode,
) -> None:
    (cell,) = [c for c in committed.cells if c.source.startswith("## 4")]
    sizes = [int(n.replace(",", "")) for n in re.findall(r"\| (\d+,\d{3}) \|", cell.source)]
    assert len(sizes) == 7
    assert max(sizes) <= 1.01 * min(sizes)


def sweep_of(notebook: nbformat.NotebookNode) -> str:
    return text_of(notebook, "print(found.line)")


def test_the_chosen_arm_is_reported_on_the_rows_that_did_not_choose_it(
    executed: nbformat.NotebookNode,
) -> None:
    told = re.search(
        r"held out base (\d\.\d\d) → (\d\.\d\d) on \d+ rows that did not decide", sweep_of(executed)
    )
    assert told is not None
    assert float(told[2]) < float(told[1])
    lines = text_of(executed, "print(other.train)")
    assert re.search(r"^%lora attach .*--rank \d+", lines, re.MULTILINE)
    assert re.search(r"^%lora train .*--lr \S+", lines, re.MULTILINE)


def test_the_small_form_of_table_5_has_its_seven_rows(executed: nbformat.NotebookNode) -> None:
    shown = text_of(executed, "budget = {")
    assert re.findall(r"(?<!\d)12288(?!\d)", shown) == ["12288"] * 7
    assert "70.4" in shown
    assert "73.7" in shown


def test_it_ends_with_the_advice_of_attach_and_changes_no_bit(
    committed: nbformat.NotebookNode, executed: nbformat.NotebookNode
) -> None:
    for notebook in (committed, executed):
        assert text_of(notebook, "advice_lines()").strip() == "\n".join(advice_lines())
        assert "0 bits changed" in text_of(notebook, "%lora verify")
