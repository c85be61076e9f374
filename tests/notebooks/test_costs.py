"""The notebook on what a model and an adapter cost, as it is committed and as it runs."""

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

NOTEBOOK = NOTEBOOKS / "what_it_costs.ipynb"
#: The counts of the paper's tables, written as in the notebook's source.
COUNTS = (
    *("294_912", "786_432", "835_968", "4_718_592", "393_216", "368_784", "774_030_080"),
    *("37_748_736", "40_109_568", "18_874_368", "207_093_760", "174_604_259_328"),
)
#: What popular explanations say and is not so, as the notebook quotes it.
SAID = (
    *("9.4M", "10,000 times fewer", "1,536 times", "0.8M", "0.35M", "175,255.8M", "14.2M", "20.2M"),
    *("more parameters", "about 35 GB", "1/100", "10 MB", "1.2 TB", "14 A100", "2 bytes per"),
    *("524K a head", "A is d×r and B is r×k", ".05, .00, .14, .00", "9.29, 6.69, 8.52, 8.60"),
)


@pytest.fixture(scope="module")
def committed() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """Run whole with few rounds of its times: its cells assert what its text says."""
    return run_in(tmp_path_factory.mktemp("run"), NOTEBOOK, "rounds = 1")


def sources(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_committed_with_static_outputs_and_names_no_folder() -> None:
    check_committed(NOTEBOOK)


def test_each_of_its_eight_questions_is_answered_by_an_asserted_number(
    committed: nbformat.NotebookNode,
) -> None:
    check_questions(committed)


@pytest.mark.parametrize("count", COUNTS)
def test_it_asserts_the_counts_of_the_papers_tables(
    committed: nbformat.NotebookNode, count: str
) -> None:
    asserting = [
        source for source in sources(committed) if re.search(r"^assert ", source, re.MULTILINE)
    ]
    assert any(count in source for source in asserting)


@pytest.mark.parametrize("figure", SAID)
def test_beside_each_wrong_figure_is_what_comes_out_and_the_reason(
    committed: nbformat.NotebookNode, figure: str
) -> None:
    tables = [text for text in map(html_of, committed.cells) if "<th>they say</th>" in text]
    rows = [row for text in tables for row in re.findall(r"<tr>.*?</tr>", text, re.DOTALL)]
    cells = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in rows]
    found = [row for row in cells if row and figure in row[0]]
    assert len(found) == 1
    they_say, comes_out, because = found[0]
    assert comes_out not in ("", they_say)
    assert because


def html_of(cell: nbformat.NotebookNode) -> str:
    outputs = cell.get("outputs", [])
    return "\n".join(output.get("data", {}).get("text/html", "") for output in outputs)


def test_no_time_is_asserted(committed: nbformat.NotebookNode) -> None:
    lines = [line for source in sources(committed) for line in source.splitlines()]
    asserts = [line for line in lines if line.startswith("assert")]
    assert asserts
    assert not [line for line in asserts if re.search(r"times|quartiles|switches|told", line)]


def test_what_it_prints_are_the_numbers_that_were_committed(
    committed: nbformat.NotebookNode, executed: nbformat.NotebookNode
) -> None:
    # Its cards are named, so no number depends on the machine but the times of section 5.
    timed = ("milliseconds", "%lora load")
    for source in sources(executed):
        if not any(word in source for word in timed):
            # A kernel may send one print in two parts.
            one, two = (text_of(book, source).split() for book in (committed, executed))
            assert one == two


def test_no_bit_of_the_base_changes(
    committed: nbformat.NotebookNode, executed: nbformat.NotebookNode
) -> None:
    for notebook in (committed, executed):
        assert "0 bits changed" in text_of(notebook, "%lora verify")
