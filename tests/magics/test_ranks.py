"""`compress` with rows in a cell: one call, and ■ keeps what was measured; `ratio --matrix`."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any
from unittest.mock import patch

import pytest

from lora_magic.errors import CommandError, Interrupted
from lora_magic.state.session import Session
from tests.magics.conftest import Screen, TestingShell
from tests.state.shared import snapshot


def test_rows_are_named_or_typed_below(shell: Any, session: Any) -> None:
    shell.run("rows = [('a', 'b')]")
    shell.run("%lora compress pirate --data rows --rows 3")
    assert session.last == ("compress", (), {"name": "pirate", "data": [("a", "b")], "rows": 3})
    shell.run("%%lora compress pirate --skip-bad\nWho? => Me.")
    flags = {"name": "pirate", "text": "Who? => Me.\n", "skip_bad": True}
    assert session.last == ("compress", (), flags)
    shell.run("%lora compress pirate --budget 4")
    assert session.last == ("compress", (), {"name": "pirate", "budget": 4})


def test_rows_below_and_data_are_one_too_many(shell: Any, session: Any) -> None:
    with pytest.raises(CommandError, match="rows below and --data; keep one"):
        shell.run("rows = []\n")
        shell.run("%%lora compress pirate --data rows\nWho? => Me.")
    assert session.calls == []


def test_the_evidence_is_displayed_and_can_be_assigned(shell: TestingShell, tiny: Session) -> None:
    seen = shell.run("%lora compress pirate --data rows")
    assert any("of pirate" in line or "pirate gains" in line for line in seen.lines)
    shell.run("found = %lora compress pirate --data rows")
    found = shell.user_ns["found"]
    assert [one.rank for one in found.losses] == [1, 2]
    assert list(tiny.adapters) == ["pirate"]


def test_an_interrupt_shows_the_losses_and_leaves_nothing(
    shell: TestingShell, tiny: Session
) -> None:
    before, passes = snapshot(tiny), []

    def press(*_: Any) -> None:
        passes.append(1)
        # The trial of the model takes two passes and the losses one; then answers begin.
        if len(passes) == 4:
            signal.raise_signal(signal.SIGINT)

    handle, screen = tiny.model.register_forward_hook(press), Screen()
    with (
        patch.object(shell.display_pub, "publish", screen.publish),
        pytest.raises(Interrupted, match="what it has so far is shown above"),
    ):
        shell.run_cell("x = %lora compress pirate --data rows").raise_error()
    handle.remove()
    (shown,) = screen.outputs
    assert "ended early" in shown["text/plain"]
    assert shell.user_ns["_"].rows == 3
    assert "x" not in shell.user_ns
    assert snapshot(tiny) == before
    assert tiny.verify()


@pytest.mark.parametrize("rows", ["", " --data rows"])
@pytest.mark.parametrize("passes", [1, 4])
def test_an_interrupt_of_a_removal_leaves_nothing(
    shell: TestingShell, tiny: Session, rows: str, passes: int
) -> None:
    before, left = snapshot(tiny), [passes]

    def press(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)

    handle = tiny.model.register_forward_hook(press)
    with pytest.raises(Interrupted, match="was stopped; to see the session's state"):
        shell.run(f"%lora compress pirate --remove-intruders{rows}")
    handle.remove()
    assert left == [0], "at once, not after the next pass"
    assert snapshot(tiny) == before
    assert tiny.verify()


@pytest.mark.parametrize("typed", ["net", "held.net"])
def test_a_model_in_a_variable_is_passed_itself(shell: Any, session: Any, typed: str) -> None:
    shell.run("class held: net = object()\nnet = held.net")
    shell.run(f"%lora ratio --model {typed} --rank 4")
    assert session.last == ("ratio", (), {"model": shell.user_ns["net"], "rank": 4})
    with pytest.raises(CommandError, match="has no 'nett'"):
        shell.run("%lora ratio --model held.nett")


def test_one_matrix_is_one_call_and_imports_no_torch(shell: Any, session: Any) -> None:
    shell.run("%lora ratio --matrix 4096x4096 --rank 8")
    assert session.last == ("ratio", (), {"matrix": "4096x4096", "rank": 8})
    script = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell as Shell; "
        "shell = Shell.instance(); shell.run_line_magic('load_ext', 'lora_magic'); "
        "found = shell.run_line_magic('lora', 'ratio --matrix 4096x4096 --rank 8'); "
        "shell.user_ns['_r'] = found; print(found.line if found else 'shown'); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "importing torch" not in done.stdout
    assert "1 in 256" in done.stdout
