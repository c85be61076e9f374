"""Tools that run notebooks see a mistake as a failed cell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("nbmake")


def exit_code(folder: Path, *cells: str) -> int:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, folder / "book.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbmake", "-p", "no:cacheprovider", "book.ipynb"]
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode


def test_nbmake_passes_a_right_notebook_and_fails_a_wrong_one(tmp_path: Path) -> None:
    assert exit_code(tmp_path, "%load_ext lora_magic", "%lora --help") == 0
    assert exit_code(tmp_path, "%load_ext lora_magic", "%lora wombat") == 1
