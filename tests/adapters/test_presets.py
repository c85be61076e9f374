"""The advice that ends `attach --help`: what it says was measured is what was measured."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lora_magic.adapters.presets import ADVICE, ADVICE_COMMAND, advice_lines
from lora_magic.magics.parser import help_for
from lora_magic.magics.verbs import VERBS
from tests.benchmarks import paper_tables

RESULTS = Path(paper_tables.__file__).parent / "results" / "paper_tables.txt"


def measured() -> dict[str, str]:
    """The mean loss of each row of the benchmark's table of advice, by its rows and flags."""
    printed = RESULTS.read_text(encoding="utf-8").partition("Advice: ")[2]
    found = {}
    for line in printed.splitlines():
        if line.startswith("| ") and not line.startswith("| choice"):
            _, rows, flags, _, loss = (cell.strip() for cell in line.strip("|").split(" | "))
            found[f"{rows} {flags}"] = f"{float(loss.split()[0]):.2f}"
    return found


def told(row: tuple[str, str, str]) -> list[tuple[str, str]]:
    """The rows and flags that a line of advice names, and the loss that it gives them.

    `pirate: rank 4 0.31, rank 8 0.31` is two of them.
    """
    rows, _, rest = row[2].partition(": ")
    return [(rows, part) for part in rest.split(", ")]


def test_the_table_ends_the_help_of_attach_in_its_width() -> None:
    shown = help_for(VERBS["attach"])
    assert shown.endswith("\n".join(f"  {line}" for line in advice_lines()))
    assert max(map(len, shown.splitlines())) <= 100


def test_every_word_of_the_advice_is_in_the_table() -> None:
    shown = set(" ".join(advice_lines()).split())
    assert {word for row in ADVICE for cell in row for word in cell.split()} <= shown


@pytest.mark.parametrize("row", ADVICE, ids=lambda row: row[0])
def test_every_loss_is_one_that_the_benchmark_printed_for_these_flags(
    row: tuple[str, str, str],
) -> None:
    losses = measured()
    for rows, part in told(row):
        flags, _, loss = part.rpartition(" ")
        typed = re.sub(r"(^| )([a-z]+) ", r"\1--\2 ", flags)
        assert losses[f"{rows} {typed}"] == loss


def test_every_measured_choice_is_in_the_advice() -> None:
    parts = sum(len(told(row)) for row in ADVICE)
    assert parts == len(paper_tables.ADVICE) == len(set(measured()))


def test_the_command_is_that_of_the_results() -> None:
    printed = RESULTS.read_text(encoding="utf-8")
    command = shlex.split(ADVICE_COMMAND)
    assert any(
        shlex.split(line.removeprefix("$ ")) == command
        for line in printed.splitlines()
        if line.startswith("$ ")
    )
