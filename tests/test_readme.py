"""What the READMEs say is what the code says and what the benchmarks printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lora_magic.adapters.methods import METHODS
from lora_magic.magics.verbs import VERBS

TOP = Path(__file__).parent.parent
BENCHMARKS = TOP / "tests" / "benchmarks"
RESULTS = BENCHMARKS / "results"
README = (TOP / "README.md").read_text(encoding="utf-8")
METHODS_README = (TOP / "lora_magic" / "adapters" / "README.md").read_text(encoding="utf-8")
MEASURED = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
MOST_LINES = 160


def results_by_command() -> dict[str, str]:
    """The first command that a file of results names → all that the file holds."""
    found = {}
    for path in sorted(RESULTS.glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        command = re.search(r"^\$ (python (?:-m (?:pytest -s )?)?\S+)", text, re.MULTILINE)
        assert command, path.name
        found[command[1]] = text
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MOST_LINES


def test_the_table_of_methods_is_that_of_the_code() -> None:
    columns = ["method", *next(iter(METHODS.values())).abilities]
    rows = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for method in METHODS.values():
        cells = [f"`{method.name}` {method.title}, {method.source}", *method.abilities.values()]
        rows.append(f"| {' | '.join(cells)} |")
    assert "\n".join(rows) in METHODS_README


def test_every_verb_is_in_the_table_of_verbs() -> None:
    table = README.partition("## The verbs")[2].partition("\n## ")[0]
    missing = [name for name in VERBS if f"`{name}" not in table and f"%%lora_{name}" not in table]
    assert missing == []


def measured_rows() -> list[list[str]]:
    """What, figure and command of each row under "Measured"."""
    table = README.partition("## Measured")[2].partition("\n## ")[0]
    return [cells(line) for line in table.splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize("row", measured_rows(), ids=lambda row: row[0])
def test_every_measured_figure_is_in_the_results_of_its_command(row: list[str]) -> None:
    _, figure, command = row
    numbers = re.findall(r"\d+(?:\.\d+)?", figure)
    assert numbers
    printed = results_by_command()[command.strip("`")]
    exact = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", printed)}
    for number in numbers:
        decimals = len(number.partition(".")[2])
        assert float(number) in {round(value, decimals) for value in exact}, number


def test_the_tables_of_the_benchmarks_are_what_their_commands_printed() -> None:
    copies = re.findall(r"<!-- from results/(\S+) -->\n(.*?)\n(?=\n#|\Z)", MEASURED, re.DOTALL)
    assert len(copies) == MEASURED.count("<!-- from")
    for name, copy in copies:
        table = copy.removeprefix("```\n").removesuffix("\n```").strip()
        assert table in (RESULTS / name).read_text(encoding="utf-8"), name


def test_every_command_of_the_benchmarks_has_its_results() -> None:
    listed = dict(re.findall(r"^\| `(python [^`]+)` \|.*\| \[(\S+)\]", MEASURED, re.MULTILINE))
    assert set(listed.values()) == {path.name for path in RESULTS.glob("*.txt")}
    printed = results_by_command()
    assert set(listed) == set(printed)
    for command, name in listed.items():
        assert (RESULTS / name).read_text(encoding="utf-8") == printed[command], name


def test_every_link_to_a_file_leads_there() -> None:
    ours = (TOP / "README.md", BENCHMARKS / "README.md", *(TOP / "lora_magic").rglob("README.md"))
    for path in ours:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", text):
            assert (path.parent / target).exists(), f"{path}: {target}"
