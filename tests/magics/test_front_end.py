"""`%lora doctor` in a shell: the front end's lines, and the same result as in Python."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from lora_magic.magics import front_end
from lora_magic.magics.shell import KEPT_AS
from lora_magic.state import doctor_methods
from lora_magic.state.doctor import Finding
from lora_magic.state.session import Session


class Kernel:
    """What doctor asks of a kernel; `subshells` are the front end's, None if it supports none."""

    def __init__(self, person: bool = True, subshells: int | None = 1) -> None:
        self._allow_stdin = person
        self._supports_kernel_subshells = subshells is not None
        manager = SimpleNamespace(list_subshell=lambda: list(range(subshells or 0)))
        self.shell_channel_thread = SimpleNamespace(_manager=manager)


def lines(monkeypatch: pytest.MonkeyPatch, kernel: Any, **shell: Any) -> dict[str, Finding]:
    made = SimpleNamespace(kernel=kernel, **{"user_ns": {}, **shell})
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: made)
    return {finding.check: finding for finding in front_end.findings()}


def parent() -> dict[str, Any]:
    return {"metadata": {"cellId": "5"}}


@pytest.mark.parametrize(
    ("shell", "module", "name"),
    [
        ({"get_parent": parent}, "", "JupyterLab or Notebook 7"),
        ({"get_parent": parent, "user_ns": {"__vsc_ipynb_file__": "x"}}, "", "VS Code"),
        ({"get_parent": parent}, "google.colab", "Colab"),
        ({}, "", "a notebook of another kind"),
    ],
)
def test_the_front_end_is_named(
    shell: dict[str, Any], module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("VSCODE_PID", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(variable, raising=False)
    if module:
        monkeypatch.setitem(sys.modules, module, SimpleNamespace())
    found = lines(monkeypatch, Kernel(), **shell)
    assert found["shell"].found.startswith(f"{name}, IPython ")
    assert found["controls"].state == "ok"
    assert found["controls"].found.startswith("ipywidgets ")


@pytest.mark.parametrize(
    ("subshells", "state", "advice"),
    [(1, "ok", ""), (0, "note", "JupyterLab 4.4"), (None, "note", "ipykernel>=7.1")],
)
def test_the_stop_button_is_there_or_named_with_what_it_needs(
    subshells: int | None, state: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = lines(monkeypatch, Kernel(subshells=subshells))["stop"]
    assert found.state == state
    assert advice in found.advice
    assert found.found.startswith("■ ")


def test_without_ipywidgets_controls_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.delitem(sys.modules, "lora_magic.views.controls.widgets", raising=False)
    monkeypatch.delattr("lora_magic.views.controls.widgets", raising=False)
    found = lines(monkeypatch, Kernel())["controls"]
    assert found.state == "problem"
    assert "%pip install ipywidgets" in found.advice


def test_a_program_that_runs_a_notebook_gets_no_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    found = lines(monkeypatch, Kernel(person=False))
    assert found["shell"].found.startswith("a notebook of another kind, run by a program")
    assert found["controls"].state == "note"


@pytest.fixture
def examined(bare_shell: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(doctor_methods, "names", lambda: ["lora"])
    bare_shell.run("%load_ext lora_magic")
    setattr(bare_shell, KEPT_AS, Session())
    return bare_shell


@pytest.mark.parametrize("word", ["doctor", "check"])
def test_a_cell_shows_the_examination(word: str, examined: Any) -> None:
    seen = examined.run(f"%lora {word}")
    assert seen.result
    assert "plain IPython" in seen.lines[0]
    assert "<table" in seen.outputs[0]["text/html"]
    again = examined.run("import lora_magic; lora_magic.session().doctor()")
    assert [f.check for f in again.result.findings] == [f.check for f in seen.result.findings]


def test_a_report_is_plain_text(examined: Any) -> None:
    seen = examined.run("%lora doctor --report")
    assert list(seen.outputs[0]) == ["text/plain"]
    assert "methods | lora | ok" in seen.lines[0]


LINES = ["checking versions and the machine …", "checking lora, 1 of 1 …"]


def test_a_line_says_what_is_checked_and_is_removed_at_the_end(examined: Any) -> None:
    examined.kernel = Kernel()
    first, second, removed, result = examined.run("%lora doctor").outputs
    assert [first["text/plain"], second["text/plain"]] == LINES
    assert set(removed.values()) == {""}
    assert "<table" in result["text/html"]


def test_a_notebook_that_a_program_runs_keeps_no_line_about_the_checks(examined: Any) -> None:
    examined.kernel = Kernel(person=False)
    seen = examined.run("%lora doctor")
    assert len(seen.outputs) == 1
    assert "checking" not in seen.printed


class Terminal(io.StringIO):
    """A page that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_replaces_the_line_and_a_pipe_gets_the_first(
    examined: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert examined.run("%lora doctor").printed == LINES[0] + "\n"
    assert examined.run("%lora doctor;").printed == ""
    monkeypatch.setattr(io, "StringIO", Terminal)
    *_, shown, erased = examined.run("%lora doctor").printed.split("\r")[:-1]
    assert shown.rstrip() == LINES[1]
    assert erased.strip() == ""
    assert len(shown) == len(LINES[0])
