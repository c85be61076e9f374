"""The notebook on exports, the script and the endpoint, as it is committed and as it runs."""

from __future__ import annotations

import re

import nbformat
import pytest

from tests.notebooks.shared import NOTEBOOKS, check_committed, check_questions, run_in, text_of

NOTEBOOK = NOTEBOOKS / "from_notebook_to_server.ipynb"
#: The cell tagged "parameters": a run until the held-out loss stops falling.
FEW = "%lora train pirate --data rows --plain-step --steps 20 --eval 8"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """Run whole, with few steps: its cells assert what its text says."""
    return run_in(tmp_path_factory.mktemp("run"), NOTEBOOK, FEW)


def test_it_is_committed_with_static_outputs_and_names_no_folder() -> None:
    check_committed(NOTEBOOK)


def test_each_of_its_six_questions_is_answered_by_an_asserted_number() -> None:
    check_questions(nbformat.read(NOTEBOOK, as_version=4), 6)


def test_another_process_answers_as_the_notebook_did(executed: nbformat.NotebookNode) -> None:
    for line, reader in (
        ("merged = %lora", "read back by transformers"),
        ("--to vllm", "read back by peft"),
        ("whole = %lora", "read back by llama.cpp"),
    ):
        shown = text_of(executed, line)
        assert reader in shown, line
        assert "10 of 10 prompts" in shown, line


def test_the_script_gives_the_same_bits_and_the_endpoint_the_same_text(
    executed: nbformat.NotebookNode,
) -> None:
    assert "56 tensors, all bits equal" in text_of(executed, "pirate.py")
    assert "['base', 'pirate']" in text_of(executed, "client.models.list")


def test_it_keeps_no_token(executed: nbformat.NotebookNode) -> None:
    found = re.findall(r"api_key=(\S+?)[)&,]", nbformat.writes(executed))
    assert set(found) <= {"server.token"}
