"""Loading, unloading, and what an import costs."""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import lora_magic
from lora_magic.errors import LoraMagicError, StateError
from lora_magic.magics.shell import KEPT_AS
from tests.magics.conftest import run_alone

HEAVY = ["torch", "transformers", "peft", "bitsandbytes", "plotly", "ipywidgets", "pandas", "numpy"]


@pytest.mark.parametrize(
    "code",
    [
        "import lora_magic; lora_magic.LoraMagicError; dir(lora_magic)",
        "from lora_magic.state.session import Session; Session(); Session().home",
        "from IPython.core.interactiveshell import InteractiveShell as S\n"
        "shell = S.instance()\n"
        "shell.run_cell('%load_ext lora_magic').raise_error()\n"
        "shell.run_cell('%lora --help').raise_error()\n"
        "shell.run_cell('%lora attach --help').raise_error()\n"
        "assert not shell.run_cell('%lora atach').success",
    ],
)
def test_loading_the_extension_loads_nothing_heavy(code: str, tmp_path: Path) -> None:
    code += (
        f"\nimport sys\nfound = [m for m in {HEAVY} if m in sys.modules]\nassert not found, found"
    )
    run_alone(code, tmp_path)


def _hooks(shell: Any) -> list[Any]:
    manager = shell.magics_manager
    return [
        list(shell.input_transformers_cleanup),
        list(shell.input_transformer_manager.token_transformers),
        list(shell.ast_transformers),
        sorted(manager.magics["line"]),
        sorted(manager.magics["cell"]),
        # IPython makes this one itself when it first loads an extension.
        sorted(set(manager.registry) - {"ExtensionMagics"}),
    ]


def test_unloading_leaves_the_shell_as_it_was(bare_shell: Any) -> None:
    before = _hooks(bare_shell)
    bare_shell.run("%load_ext lora_magic")
    assert _hooks(bare_shell) != before
    bare_shell.run("%unload_ext lora_magic")
    assert _hooks(bare_shell) == before
    lora_magic.unload_ipython_extension(bare_shell)
    assert _hooks(bare_shell) == before


def test_loading_twice_does_nothing_twice(shell: Any) -> None:
    once = _hooks(shell)
    lora_magic.load_ipython_extension(shell)
    shell.run("%load_ext lora_magic")
    assert _hooks(shell) == once


def test_the_session_outlives_a_reload(shell: Any, session: Any) -> None:
    once = [len(held) for held in _hooks(shell)]
    shell.run("%reload_ext lora_magic")
    assert [len(held) for held in _hooks(shell)] == once
    shell.run("%lora ask What's up?")
    assert session.last[1] == ("What's up?",)
    assert lora_magic.session() is session


def test_other_extensions_hooks_are_left_alone(bare_shell: Any) -> None:
    def theirs(lines: list[str]) -> list[str]:
        return lines

    bare_shell.run("%load_ext lora_magic")
    bare_shell.input_transformers_cleanup.append(theirs)
    bare_shell.run("%unload_ext lora_magic")
    assert bare_shell.input_transformers_cleanup[-1] is theirs


def test_the_notebooks_session_is_the_one_of_the_magics(shell: Any, session: Any) -> None:
    assert shell.run("import lora_magic\nlora_magic.session()").result is session


def test_no_module_takes_the_place_of_the_session_function(shell: Any, session: Any) -> None:
    importlib.import_module("lora_magic.state.session")
    assert lora_magic.session() is session


def test_a_session_is_made_once_when_a_verb_first_needs_it(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Session:
        def __init__(self) -> None:
            made.append(self)

        active = "base"
        kept: dict[str, Any] = {}  # noqa: RUF012 - a stand-in

        def ask(self, prompt: str, watch: object = None) -> str:
            return prompt

    module = type(sys)("lora_magic.state.session")
    module.Session = Session  # type: ignore[attr-defined]  # a stand-in for the module
    monkeypatch.setitem(sys.modules, "lora_magic.state.session", module)
    delattr(shell, KEPT_AS)
    shell.run("%lora --help")
    assert made == []
    assert shell.run("%lora ask hi").result == "hi"
    shell.run("%lora ask hi")
    assert len(made) == 1


def test_outside_a_notebook_there_is_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: None)
    with pytest.raises(StateError, match=r"lora_magic\.Session\(\)"):
        lora_magic.session()


def test_every_public_name_is_there() -> None:
    for name in lora_magic.__all__:
        assert getattr(lora_magic, name) is not None
        assert name in dir(lora_magic)
    assert lora_magic.LoraMagicError is LoraMagicError
    with pytest.raises(AttributeError, match="bogus"):
        lora_magic.bogus  # noqa: B018  # the look-up is the test


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((Path(lora_magic.__file__).parents[1] / "pyproject.toml").read_text())
    assert lora_magic.__version__ == project["project"]["version"]
