"""The script for a GPU: every row at a small size on the CPU; all of it where there is a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu import benchmarks, memory, speed, table, workers
from tests.gpu.__main__ import main

TOP = Path(__file__).parents[2]
MODULES = (memory, speed, workers, benchmarks)


def printed(*flags: str) -> list[list[str]]:
    """The table's lines as cells: name, value, then the rest; its head and versions first."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("OUT", None)
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu", *flags],
        cwd=TOP,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    lines = done.stdout.rstrip("\n").splitlines()
    return [[cell for cell in line.split("  ") if cell] for line in lines]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    out = tmp_path_factory.mktemp("out") / "table.txt"
    lines = printed("--size", "small", "--device", "cpu", "--out", str(out))
    whole = "\n".join(out.read_text(encoding="utf-8").split())
    assert "\n".join(word for line in lines for cell in line for word in cell.split()) == whole
    return lines


def test_every_row_runs_on_a_cpu_and_keeps_its_laws(small: list[list[str]]) -> None:
    marks = {line[0]: line[-1].strip() for line in small[3:]}
    assert set(marks.values()) == {"ok", "—"}
    for name in table.ROWS:
        assert f"{name}: the whole row" in marks
        assert [line for line in marks if line.startswith(f"{name}: ")][1:], name


def test_the_laws_are_checked_on_a_cpu_too(small: list[list[str]]) -> None:
    kept = {line[0] for line in small if line[-1].strip() == "ok"}
    assert kept >= {
        "memory: full on plain, left after reset",
        "memory: loftq on NF4, left after reset",
        "formats: chosen here",
        "pressure: out of memory says",
        "pressure: after out of memory",
        "1b-bf16: a merged weight",
        "7b-nf4: unmerged logits and base",
        "compare: stacked layer",
        "compare: same answers",
        "methods: LoRA, reopened identical",
    }


def test_what_needs_cuda_says_so(small: list[list[str]]) -> None:
    waiting = {line[0] for line in small if "needs a GPU" in [cell.strip() for cell in line]}
    assert waiting >= {
        "formats: on capability 7.5",
        "pressure: losses on a full GPU",
        "7b-nf4: train, peak",
        "7b-bf16: left after reset",
    }


def test_a_row_that_fails_says_why_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(settings: table.Settings) -> list[table.Figure]:
        raise ValueError("first line\nsecond line")

    def sound(settings: table.Settings) -> list[table.Figure]:
        return [table.Figure("sound", 1.0, ok=True)]

    monkeypatch.setattr(table, "ROWS", {"broken": broken, "sound": sound})
    settings = table.Settings(table.torch.device("cpu"), True, tmp_path)
    figures = {figure.name: figure for figure in table.run(["broken", "sound"], settings, 60)}
    assert figures["broken"].cells[1:] == ("ValueError: first line", "", "", "FAULT")
    assert figures["sound"].ok
    late = list(table.run(["sound"], settings, -1))
    assert [figure.value for figure in late] == ["not run: the time is spent"]


def test_a_wrong_name_is_told_with_the_right_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # as the script sets it
    monkeypatch.setattr(sys, "argv", ["tests.gpu", "--only", "memry"])
    with pytest.raises(SystemExit, match=r"--only memry: expected names among .*memory"):
        main()


def test_a_machine_without_ipython_and_pytest_can_train() -> None:
    """datasets needs pandas, and transformers imports it where it is installed."""
    code = (
        "import sys, runpy\n"
        "without = ['IPython', 'pytest', 'ipywidgets', 'pandas', 'datasets']\n"
        "sys.modules.update(dict.fromkeys(without))\n"
        "sys.argv = ['', '--size', 'small', '--device', 'cpu', '--only', 'formats']\n"
        "runpy.run_module('tests.gpu', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.gpu
def test_the_whole_script_finds_no_fault_on_a_gpu() -> None:
    marks = {line[0]: line[-1].strip() for line in printed("--device", "cuda")[3:]}
    assert "FAULT" not in marks.values()
