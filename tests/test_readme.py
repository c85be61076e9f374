"""The README says what the code says: the table of methods is the one that the verbs read."""

from __future__ import annotations

from pathlib import Path

from lora_magic.adapters.methods import METHODS
from lora_magic.magics.verbs import VERBS

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_table_of_methods_is_that_of_the_code() -> None:
    columns = ["method", *next(iter(METHODS.values())).abilities]
    rows = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for method in METHODS.values():
        cells = [f"`{method.name}` {method.title}, {method.source}", *method.abilities.values()]
        rows.append(f"| {' | '.join(cells)} |")
    assert "\n".join(rows) in README


def test_every_verb_is_in_the_table_of_verbs() -> None:
    table = README.partition("## The verbs")[2].partition("\n## ")[0]
    missing = [name for name in VERBS if f"`{name}" not in table and f"%%lora_{name}" not in table]
    assert missing == []
