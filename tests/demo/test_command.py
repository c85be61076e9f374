"""A mistake on a command line ends in one line."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from lora_magic.demo import command
from lora_magic.errors import DataError


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


@pytest.mark.parametrize("script", ["adapters", "pretrain", "probe", "show", "study"])
def test_a_wrong_folder_is_told_without_a_traceback(script: str, tmp_path: Path) -> None:
    wrong = {"pretrain": ["--steps", "none"], "study": ["--shapes", "round"]}
    typed = wrong.get(script, ["--weights", str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-m", f"lora_magic.demo.{script}", *typed],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
