"""A mistake on a command line ends in one line."""

from __future__ import annotations

import logging
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_magic.demo.factory import adapters, command, show, study
from lora_magic.errors import AdapterError, DataError


def test_our_own_errors_end_a_command_in_one_line() -> None:
    def main() -> None:
        raise DataError("no rows; expected some.")

    with pytest.raises(SystemExit) as ended:
        command.run(main)
    assert str(ended.value) == "no rows; expected some."


def test_other_errors_are_not_hidden() -> None:
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command.run(main)


def test_only_a_commands_own_words_are_seen(
    capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    def main() -> None:
        logging.getLogger("some.library").warning("look at me")
        warnings.warn("soon", FutureWarning, stacklevel=1)
        print("figures")

    command.run(main)
    assert capsys.readouterr() == ("figures\n", "")
    assert not recwarn
    assert logging.getLogger("some.library").isEnabledFor(logging.WARNING)


def test_a_command_is_stopped_without_a_traceback() -> None:
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="stopped"):
        command.run(main)


@pytest.mark.parametrize(
    ("main", "typed", "message"),
    [
        (study.main, ["--minutes", "0"], "expected a number above 0"),
        (study.main, ["--minutes", "nan"], "expected a number above 0"),
        (show.main, ["--json", "."], "is a folder"),
        (show.main, ["--width", "2"], "expected 20 or more"),
        (adapters.main, ["--seeds", "0"], "expected 1 or more"),
        (adapters.main, ["--step", "5"], "unrecognized arguments"),
    ],
)
def test_a_mistake_is_reported_before_the_work(
    main: Callable[[list[str]], None],
    typed: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(typed)
    assert message in capsys.readouterr().err


def test_target_modules_that_are_not_there_are_reported() -> None:
    with pytest.raises(AdapterError, match=r"'q_prj'; expected all-linear, or some of .*q_proj"):
        adapters.main(["--targets", "q_prj", "--seeds", "1"])


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    script = tmp_path / "long.py"
    script.write_text(
        "from lora_magic.demo.factory import command\n"
        "command.run(lambda: [print('line', n) for n in range(100_000)])\n"
    )
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "line 0\n"
        process.stdout.close()
        assert process.stderr.read() == ""


WRONG = {"pretrain": ["--steps", "none"], "study": ["--shapes", "round"]}


@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
@pytest.mark.parametrize("script", ["adapters", "pretrain", "probe", "show", "study"])
def test_a_wrong_folder_ends_a_script_in_its_own_words(
    script: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed = WRONG.get(script, ["--weights", str(tmp_path)])
    monkeypatch.setattr(sys, "argv", [script, *typed])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"lora_magic.demo.factory.{script}", run_name="__main__")
    # A text is printed to the errors, and the status is 1; argparse prints its own and says 2.
    assert isinstance(ended.value.code, str) or ended.value.code == 2
    assert (str(ended.value.code) if ended.value.code != 2 else capsys.readouterr().err).strip()


def test_a_wrong_folder_is_reported_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lora_magic.demo.factory.show", "--weights", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
