"""Trackers get what the run measured, and nothing is left running."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lora_magic.errors import TrainingError
from lora_magic.state.session import Session
from lora_magic.training.reporter import SilentReporter
from tests.state.shared import ROWS

trackio: Any = pytest.importorskip("trackio")

#: A run on the embedded model, in a process that can reach no network.
REPORTED = """
import json, socket, threading
tried = []
def refuse(*given, **named):
    tried.append(str(given))
    raise OSError("no network in this test")
socket.socket.connect = socket.getaddrinfo = refuse
from lora_magic.state.session import Session
from lora_magic.training.reporter import SilentReporter
session = Session()
session.load("demo")
session.attach("pirate", rank=2)
before = set(threading.enumerate())
rows = [(f"Where is {n}?", f"Arr, {n}!") for n in range(8)]
flags = {"steps": 5, "eval": 2, "batch_size": 3}
silent = session.train("pirate", rows, **flags)
weights = session._state.attached["pirate"].state()
for _ in range(2):
    run = session.train("pirate", rows, **flags, report_to="trackio")
found = session._state.attached["pirate"].state()
assert all(found[name].equal(value) for name, value in weights.items())
assert run.losses == silent.losses
left = [thread.name for thread in threading.enumerate() if thread not in before]
session.reset()
print(json.dumps([run.losses, run.held_out_losses, left, tried]))
"""


def test_losses_rates_and_held_out_losses_reach_trackio(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", REPORTED],
        env={**kept, "PYTHONPATH": str(root), "TRACKIO_DIR": str(tmp_path / "kept")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    losses, held_out, left, tried = json.loads(done.stdout.splitlines()[-1])
    assert left == [], "no thread and no server outlives the run"
    assert tried == []
    [database] = (tmp_path / "kept").glob("*.db")
    with sqlite3.connect(database) as opened:
        found = opened.execute("SELECT DISTINCT run_name FROM metrics")
        names = sorted(name for (name,) in found)
        assert len(names) == 2, "a cell that runs again is another curve"
        assert all(name.startswith("pirate-") for name in names)
        query = "SELECT metrics FROM metrics WHERE run_name = ? ORDER BY step"
        logged = [json.loads(row) for (row,) in opened.execute(query, names[-1:])]
    assert [one["train/loss"] for one in logged if "train/loss" in one] == losses
    rates = [one["train/learning_rate"] for one in logged if "train/loss" in one]
    assert rates == pytest.approx([3e-3 * left / 5 for left in (5, 4, 3, 2, 1)])
    measured = [
        (one["train/global_step"], one["eval/loss"]) for one in logged if "eval/loss" in one
    ]
    assert measured == [tuple(pair) for pair in held_out]


def test_a_tracker_that_cannot_begin_is_one_line_and_nothing_is_trained(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("no such project. See the manual.")

    monkeypatch.setattr(trackio, "init", refuse)
    session.attach("one", rank=2)
    before = session._state.attached["one"].state()
    with pytest.raises(TrainingError) as seen:
        session.train("one", text=ROWS, steps=2, report_to="trackio")
    assert str(seen.value).startswith("trackio: no such project; nothing was trained.")
    assert "\n" not in str(seen.value)
    after = session._state.attached["one"].state()
    assert all(after[name].equal(value) for name, value in before.items())


def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """trackio without a run behind it; the list gets a name when it is ended."""
    ended: list[str] = []
    monkeypatch.setattr(trackio, "init", lambda *_, **__: None)
    monkeypatch.setattr(trackio, "config", {}, raising=False)
    monkeypatch.setattr(trackio, "log", lambda *_, **__: None)
    monkeypatch.setattr(trackio, "finish", lambda: ended.append("finish"))
    return ended


class Failing(SilentReporter):
    def step(self, point: Any) -> None:
        raise RuntimeError("in the middle of the run")


def test_a_tracker_is_ended_also_when_the_run_fails(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = begun(monkeypatch)
    session.attach("one", rank=2)
    with pytest.raises(RuntimeError, match="in the middle"):
        session.train("one", text=ROWS, steps=3, report_to="trackio", reporter=Failing())
    assert ended == ["finish"]


def test_a_tracker_that_fails_later_costs_a_warning_and_not_the_run(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("the server is gone")

    begun(monkeypatch)
    monkeypatch.setattr(trackio, "log", broken)
    session.attach("one", rank=2)
    expected = session.train("one", text=ROWS, steps=3)
    with pytest.warns(RuntimeWarning, match="the server is gone"):
        found = session.train("one", text=ROWS, steps=3, report_to="trackio")
    assert found.losses == expected.losses
