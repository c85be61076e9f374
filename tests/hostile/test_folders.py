"""Hostile folders are opened or refused in one line, and the judge sees each fault that is planted.

Folder n is always the same; `python -m tests.hostile n` judges it alone.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_magic.adapters import files
from lora_magic.errors import AdapterError

from . import runner
from .generate import PLACES, SOURCES, first_kind, generate, prepare, valid
from .judge import Judge
from .scene import EVIL, KINDS

LONG = 500


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("hostile")
    prepare(place)
    return place


@pytest.fixture(scope="module")
def judge(work: Path) -> Iterator[Judge]:
    made = Judge(work)
    yield made
    made.demo.reset()
    made.other.reset()


@pytest.fixture(scope="module")
def worker(work: Path) -> Iterator[runner.Worker]:
    """A worker that has started, which takes long; the last test of this file ends it."""
    made = runner.Worker(work)
    yield made
    made.close()


def faults(numbers: range, work: Path, worker: runner.Worker) -> list[str]:
    found = list(runner.run(numbers, work, first=worker))
    assert [each["number"] for each in found] == list(numbers)
    return [
        f"{each['number']} {each['kinds']}: {each['faults']}" for each in found if each["faults"]
    ]


def test_50_hostile_folders_are_opened_or_refused_without_a_fault(
    work: Path, worker: runner.Worker
) -> None:
    assert faults(range(50), work, worker) == []


@pytest.mark.long
def test_500_hostile_folders_are_opened_or_refused_without_a_fault(
    work: Path, worker: runner.Worker
) -> None:
    assert faults(range(LONG), work, worker) == []


def contents(folder: Path) -> dict[str, Any]:
    """Everything in a folder: kinds, sizes, links, and the first bytes."""
    found: dict[str, Any] = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        regular = stat.S_ISREG(status.st_mode) and status.st_mode & 0o400
        body: Any = path.open("rb").read(2_000_000) if regular else b""
        body = os.readlink(path) if path.is_symlink() else body
        size = status.st_size if regular else 0
        found[str(path.relative_to(folder))] = (status.st_mode, size, body)
    return found


def numbers_of(place: str, kind: str) -> list[int]:
    return [n for n in range(LONG) if PLACES[n % 10] == place and first_kind(n) == kind]


@pytest.mark.parametrize(("place", "kind"), [(p, k) for p, pool in KINDS.items() for k in pool])
def test_a_kind_occurs_and_changes_its_folder(place: str, kind: str, work: Path) -> None:
    made = generate(numbers_of(place, kind)[0], work)
    assert made.kinds[0] == kind
    source = work / "good" / SOURCES[place] / made.source
    assert contents(made.folder) != contents(source)


@pytest.mark.parametrize("number", [1, 6, 9])
def test_a_number_makes_the_same_folder_each_time(number: int, work: Path) -> None:
    first, before = generate(number, work), contents(generate(number, work).folder)
    assert generate(number, work) == first
    assert contents(first.folder) == before


def test_valid_folders_are_opened(judge: Judge, work: Path) -> None:
    found = [judge.judge(made) for made in valid(work)]
    assert [(each["outcome"], each["faults"]) for each in found] == [("opened", [])] * len(found)


def raw(_: Path) -> None:
    raise TypeError("unhashable type")


def reads_outside(folder: Path) -> None:
    (folder.parents[2] / "outside" / "secret.safetensors").read_bytes()
    raise AdapterError("refused")


def escapes(_: Path) -> None:
    error = AdapterError("refused")
    error._render_traceback_ = lambda: [EVIL]  # type: ignore[method-assign]
    raise error


def runs_a_payload(folder: Path) -> None:
    (folder.parents[2] / "canary").mkdir()
    raise AdapterError("refused")


@pytest.mark.parametrize(
    ("planted", "seen"),
    [
        (raw, "raw at open"),
        (reads_outside, "outside: "),
        (escapes, "shown at open: U+000A"),
        (runs_a_payload, "payload: "),
    ],
)
def test_a_planted_fault_is_reported(
    planted: Callable[[Path], None],
    seen: str,
    judge: Judge,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "read", planted)
    found = judge.judge(valid(work)[0])
    assert found["outcome"] == "FAULT"
    assert [fault for fault in found["faults"] if fault.startswith(seen)] != []


def test_a_worker_that_hangs_is_ended_and_reported(
    worker: runner.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.kill(worker.process.pid, signal.SIGSTOP)
    monkeypatch.setattr(runner, "MAKING", 0.2)
    found = worker.ask(0, cpu=1, wall=0.2)
    assert found["faults"] == ["hang: blocked for more than 0.2 s"]
    assert worker.process.poll() is not None
