"""What the tests of the shipped notebooks have in common."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.views.page import weight

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
#: The rows that the notebooks read from the folder they run in.
ROWS = NOTEBOOKS / "messages.csv"


def run_in(folder: Path, path: Path, parameters: str | None = None) -> nbformat.NotebookNode:
    """The notebook, run whole beside its rows; `parameters` replaces the cell with that tag."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
        if parameters is not None and "parameters" in cell.metadata.get("tags", []):
            cell.source, parameters = parameters, None
    assert parameters is None, "a cell with the tag `parameters` is missing"
    shutil.copy(ROWS, folder)
    client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return notebook


def bundles(notebook: nbformat.NotebookNode) -> list[dict[str, str]]:
    """Every displayed MIME bundle."""
    return [
        dict(output.data)
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]


def text_of(notebook: nbformat.NotebookNode, source: str) -> str:
    """The plain text of the outputs of the cells whose source holds `source`."""
    return "\n".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "")
        for cell in notebook.cells
        if cell.cell_type == "code" and source in cell.source
        for output in cell.outputs
    )


def check_questions(notebook: nbformat.NotebookNode, count: int = 8) -> None:
    """Its first cell asks so many questions, and a cell of each section asserts a number."""
    numbers = [str(number + 1) for number in range(count)]
    questions = re.findall(r"^(\d)\. (.+\?)$", notebook.cells[0].source, re.MULTILINE)
    assert [number for number, _ in questions] == numbers
    section, asserted = "", set()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^## (\d) ·", cell.source, re.MULTILINE)
            section = headings[-1] if headings else section
        elif section and re.search(r"^assert ", cell.source, re.MULTILINE):
            asserted.add(section)
    assert asserted == set(numbers)


def check_committed(path: Path) -> None:
    """It is committed as run, with outputs that need no kernel and name no folder."""
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook.metadata
    for bundle in bundles(notebook):
        assert "application/vnd.jupyter.widget-view+json" not in bundle
        assert bundle["text/plain"].strip()
        assert weight(bundle) <= 60_000
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    # An assignment shows nothing.
    shown = [cell for cell in code if re.search(r"^%lora", cell.source, re.MULTILINE)]
    assert all(cell.outputs for cell in shown)
    assert not [out for cell in code for out in cell.outputs if out.output_type == "error"]
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(/home/|/root/|/tmp/|site-packages)", text)
