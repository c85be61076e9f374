"""The advice that ends `attach --help`: what it says was measured is what was measured."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from lora_magic.adapters.presets import ADVICE, ADVICE_COMMAND, Advice, advice_lines
from lora_magic.magics.parser import help_for
from lora_magic.magics.verbs import VERBS
from tests.benchmarks import paper_tables

RESULTS = Path(paper_tables.__file__).parent / "results" / "paper_tables.txt"


def printed() -> str:
    return RESULTS.read_text(encoding="utf-8")


def measured() -> dict[str, tuple[int, float]]:
    """Parameters and mean loss of each row of the benchmark's table, by its rows and flags."""
    found = {}
    for line in printed().partition("Advice: ")[2].splitlines():
        if line.startswith("| ") and not line.startswith("| rows"):
            rows, flags, size, loss = (cell.strip() for cell in line.strip("|").split(" | "))
            found[f"{rows} {flags}"] = int(size.replace(",", "")), float(loss.split()[0])
    return found


def of(advice: Advice) -> list[tuple[int, float]]:
    """What the benchmark printed for the flags of an advice."""
    rows, found = advice.rows.partition(",")[0], measured()
    return [found[f"{rows} {paper_tables.typed(flags)}"] for _, flags, _ in advice.measured]


def test_the_table_ends_the_help_of_attach_in_its_width() -> None:
    shown = help_for(VERBS["attach"])
    assert shown.endswith("\n".join(f"  {line}" for line in advice_lines()))
    assert max(map(len, shown.splitlines())) <= 100


def test_every_word_of_the_advice_is_in_the_table() -> None:
    shown = set(" ".join(advice_lines()).split())
    assert {word for advice in ADVICE for cell in advice.cells for word in cell.split()} <= shown


@pytest.mark.parametrize("advice", ADVICE, ids=lambda advice: advice.choice)
def test_every_loss_is_the_one_that_the_benchmark_printed_for_these_flags(advice: Advice) -> None:
    for (_, _, loss), (_, mean) in zip(advice.measured, of(advice), strict=True):
        assert loss == mean
        assert f"{loss:.2f}" in advice.cells[2]


def test_the_sizes_that_are_said_to_be_equal_are_equal_within_one_per_cent() -> None:
    (advice,) = [one for one in ADVICE if one.rows.endswith("equal size")]
    sizes = [size for size, _ in of(advice)]
    assert len(sizes) == 2
    assert max(sizes) <= 1.01 * min(sizes)


def test_the_command_is_that_of_the_results() -> None:
    command = shlex.split(ADVICE_COMMAND)
    assert any(
        shlex.split(line.removeprefix("$ ")) == command
        for line in printed().splitlines()
        if line.startswith("$ ")
    )
