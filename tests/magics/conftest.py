"""A real IPython shell, fresh for each test, and a session that only records what it was told."""

from __future__ import annotations

import atexit
import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import lora_magic

# Else the first line of the first test says that this is imported.
import lora_magic.adapters.bridge
from lora_magic.magics.shell import KEPT_AS
from lora_magic.state.session import Session
from tests.conftest import perturb
from tests.tiny import tiny_model, tiny_tokenizer


@dataclass(frozen=True)
class Record:
    """A result with a line and a rich form, told apart by the verb that made it."""

    verb: str
    base: str | None = "demo"

    @property
    def line(self) -> str:
        return f"{self.verb} done"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/plain": self.line, "text/html": f"<p>{self.line}</p>"}


@dataclass
class FakeSession:
    """Every method there is; each call is kept as (verb, arguments, keywords)."""

    adapters: dict[str, str] = field(default_factory=lambda: {"pirate": "record"})
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, verb: str) -> Any:
        if verb.startswith("_"):
            raise AttributeError(verb)

        def method(*args: Any, **kwargs: Any) -> Any:
            # `watch` is how the magic follows a verb; nobody types it.
            typed = {key: value for key, value in kwargs.items() if key != "watch"}
            self.calls.append((verb, args, typed))
            answer = self.answers.get(verb, Record(verb))
            return answer(*args, **kwargs) if callable(answer) else answer

        return method

    @property
    def last(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        return self.calls[-1]


@dataclass
class Seen:
    """What a cell left on the screen: rich outputs as bundles, and printed text."""

    outputs: list[dict[str, Any]]
    printed: str
    result: Any

    @property
    def lines(self) -> list[str]:
        return [output["text/plain"] for output in self.outputs]


class Screen:
    """What a notebook would show, in its order: displays, and the values of cells."""

    def __init__(self) -> None:
        self.outputs: list[dict[str, Any]] = []

    def publish(self, data: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        self.outputs.append(data)


class TestingShell(InteractiveShell):
    """A shell whose cells raise their errors at the caller."""

    # pytest takes a class of this name for tests.
    __test__ = False

    def run(self, cell: str) -> Seen:
        screen = Screen()
        printed = io.StringIO()
        with (
            redirect_stdout(printed),
            patch.object(self.display_pub, "publish", screen.publish),
            patch.object(self.displayhook, "write_format_data", screen.publish),
            patch.object(self.displayhook, "write_output_prompt", lambda: None),
        ):
            ran = self.run_cell(cell, store_history=True)
        ran.raise_error()
        return Seen(screen.outputs, printed.getvalue(), ran.result)


@pytest.fixture
def bare_shell(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestingShell]:
    """A shell without the extension, with its own folder and no history file."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    InteractiveShell.clear_instance()
    TestingShell.clear_instance()
    shell = TestingShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    yield shell
    TestingShell.clear_instance()
    # Else hundreds of shells are kept to the end of the run, and each then collects all garbage.
    atexit.unregister(shell.atexit_operations)


@pytest.fixture
def shell(bare_shell: TestingShell) -> TestingShell:
    """A shell with the extension loaded and the recording session in it."""
    bare_shell.run("%load_ext lora_magic")
    setattr(bare_shell, KEPT_AS, FakeSession())
    return bare_shell


@pytest.fixture
def session(shell: TestingShell) -> FakeSession:
    kept: FakeSession = getattr(shell, KEPT_AS)
    return kept


def run_alone(code: str, home: Path) -> None:
    """Run code in a Python of its own, with nothing loaded and IPython's files in `home`."""
    # In a folder of its own: this process may use the home folder in the current one.
    (home / "alone").mkdir(exist_ok=True)
    root = str(Path(lora_magic.__file__).parents[1])
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=home / "alone",
        env={"IPYTHONDIR": str(home), "PATH": "", "PYTHONPATH": root},
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture
def tiny(shell: TestingShell) -> Iterator[Session]:
    """The shell's session, with a tiny model and an adapter that changes it; `rows` in the cell."""
    session = Session()
    session.use(tiny_model(initializer_range=0.3), tiny_tokenizer(chat=True))
    session.attach("pirate", rank=2)
    perturb(session, "pirate", 0.3)
    setattr(shell, KEPT_AS, session)
    shell.user_ns["rows"] = [
        ("Who?", "Me."),
        ("Where is the library?", "By the sea."),
        ("Hi", "Ahoy!"),
    ]
    yield session
    session.reset()
