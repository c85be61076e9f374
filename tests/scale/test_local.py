"""Workers of this machine: what each is told, how they stop, and what happens when one ends."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_magic.errors import LoraMagicError, TrainingStopped, WorkerError
from lora_magic.scale.engines import started
from lora_magic.scale.local import _environments, _gpus
from lora_magic.scale.work import Work, Workers

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _workers_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def work(target: str, request: object = None) -> Work:
    return Work(f"tests.scale.targets:{target}", request)


def children() -> set[str]:
    """The processes that this one has started and that run."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_all_workers_stop_when_one_person_asks() -> None:
    said: list[object] = []
    with started(Workers(2)) as engine:
        assert engine.line == "2 workers (this machine)"
        assert engine.group(work("until_stopped"), said.append, lambda: bool(said)) == 2.0
    # Worker 0's events alone.
    assert said == ["ready"]


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("ours", TrainingStopped, "worker 1: stopped at step 3"),
        ("killed", WorkerError, "worker 1 was ended by signal 9, which is how .* memory runs out"),
    ],
)
def test_a_worker_that_ends_ends_the_others_and_says_why(
    how: str, kind: type[LoraMagicError], words: str
) -> None:
    before = children()
    with (
        pytest.raises(kind, match=f"^{words}$"),
        started(Workers(2)) as engine,
    ):
        engine.group(work("one_ends", how), print, lambda: False)
    assert children() == before


@pytest.mark.parametrize("target", ["no_such_module:f", "tests.scale.targets:no_such_function"])
def test_one_worker_is_enough_and_its_error_is_named(target: str) -> None:
    with started(Workers(1)) as engine:
        assert engine.line == "1 worker (this machine)"
        with pytest.raises(WorkerError, match=r"^worker 0: \w+Error: .*no_such"):
            engine.group(Work(target, None), print, lambda: False)


def test_an_interrupt_ends_the_workers_while_they_start() -> None:
    before, asked = children(), []

    def interrupted() -> bool:
        asked.append(children() - before)
        if len(asked) < 3:
            return False
        raise KeyboardInterrupt

    with started(Workers(2)) as engine, pytest.raises(KeyboardInterrupt):
        engine.group(work("laws"), print, interrupted)
    assert len(asked[-1]) == 2
    assert children() == before


def test_what_killed_workers_leave_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said: list[str] = []

    def interrupted() -> bool:
        if said:
            raise KeyboardInterrupt
        return False

    with started(Workers(1)) as engine, pytest.raises(KeyboardInterrupt):
        engine.group(work("littering"), said.append, interrupted)
    assert Path(said[0]).is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_workers_remove_it_themselves_when_the_kernel_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from lora_magic.scale.local import Local\n"
        "from lora_magic.scale.work import Work, Workers\n"
        "Local(Workers(1), []).group(Work('tests.scale.targets:littering', None), "
        "lambda said: print(said, flush=True), lambda: False)"
    )
    kernel = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with kernel:
        assert kernel.stdout is not None
        assert Path(kernel.stdout.readline().strip()).is_relative_to(tmp_path)
        kernel.kill()
    for _ in range(200):
        if not list(tmp_path.iterdir()):
            break
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("count", "threads"), [(1, 6), (2, 3), (4, 1), (9, 1)])
def test_workers_share_the_cores(count: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    told = list(_environments(count, []))
    assert {one["OMP_NUM_THREADS"] for one in told} == {str(threads)}
    assert [one["RANK"] for one in told] == [one["LOCAL_RANK"] for one in told]
    assert [int(one["RANK"]) for one in told] == list(range(count))
    assert {one["WORLD_SIZE"] for one in told} == {str(count)}
    assert len({one["MASTER_PORT"] for one in told}) == 1
    assert not any("CUDA_VISIBLE_DEVICES" in one for one in told)


@pytest.mark.parametrize(
    ("seen", "full", "expected"),
    [
        (None, [0, 0, 0], ["0", "1"]),
        # The session's base is on the first GPU that it sees.
        (None, [9, 0, 0], ["1", "2"]),
        ("GPU-a,GPU-b,GPU-c", [9, 0, 0], ["GPU-b", "GPU-c"]),
        ("5,3", [9, 0, 0], ["3", "5"]),
    ],
)
def test_each_worker_sees_a_gpu_of_its_own_and_the_sessions_last(
    seen: str | None, full: list[int], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen or "")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(full))
    monkeypatch.setattr(torch.cuda, "memory_reserved", full.__getitem__)
    told = list(_environments(2, _gpus(2)))
    assert [one["CUDA_VISIBLE_DEVICES"] for one in told] == expected


@pytest.mark.parametrize(("found", "words"), [(2, "2 GPUs"), (1, "1 GPU")])
def test_more_workers_than_gpus_are_refused(
    found: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    message = rf"^--workers 3: this machine has {words}, .*type --workers {found}$"
    with pytest.raises(WorkerError, match=message), started(Workers(3, cuda=True)):
        pass


@pytest.mark.parametrize(
    ("engine", "install"), [("accelerate", "accelerate"), ("ray", r'"lora_magic\[ray\]"')]
)
def test_a_missing_engine_is_one_line_with_what_to_type(
    engine: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", missing)
    monkeypatch.setattr("lora_magic.scale.engines.find_spec", missing)
    message = f"^--engine {engine} needs the package {engine}, .*; type: %pip install {install}$"
    with pytest.raises(WorkerError, match=message), started(Workers(2, engine)):
        pass


def test_these_workers_take_no_works_one_by_one() -> None:
    with started(Workers(2)) as engine, pytest.raises(WorkerError, match="--engine ray"):
        engine.each([work("laws")], print, lambda: False)
