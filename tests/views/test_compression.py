"""The evidence for a rank, and what a compression lost: each number where it belongs."""

from __future__ import annotations

from lora_magic.adapters.combine.changes import ModuleLoss
from lora_magic.adapters.combine.compress import Compression
from tests.views.page import Page
from tests.views.samples import shown


def loss(number: int, norm: float) -> ModuleLoss:
    return ModuleLoss(f"layers.{number}.q", 2, 2, norm, 0.0, (norm * 0.8, norm * 0.6))


def test_the_evidence_is_a_row_a_rank_in_both_forms() -> None:
    made = shown(Compression("pirate", None, (loss(0, 0.5),)))
    assert str(made["text/plain"]).splitlines()[1:] == [
        "Rank  Worst module  Lost there  Lost overall",
        "1     layers.0.q         60.0%         60.0%",
        "2     layers.0.q            0%            0%",
    ]
    text = Page(made["text/html"]).text
    assert "%lora compress pirate --energy" in text
    assert "60.0%" in text


def test_of_an_adapter_that_changes_nothing_there_is_no_table() -> None:
    made = shown(Compression("pirate", None, (ModuleLoss("layers.0.q", 1, 1, 0.0, 0.0),)))
    assert "not trained yet" in str(made["text/plain"])
    assert not Page(made["text/html"]).named("table")


def test_a_receipt_is_one_line_with_the_modules_on_demand() -> None:
    rows = (
        ModuleLoss("layers.0.q", 8, 4, 0.5, 0.12),
        ModuleLoss("positions.weight", 0, 0, 0.25, 1.0),
    )
    record = Compression("pirate", "pirate_r4", rows)
    made = shown(record)
    assert made["text/plain"] == record.line
    page = Page(made["text/html"])
    assert "12.0%" in page.text
    assert "dropped" in page.text
    assert len(page.named("details")) == 1


def test_of_many_modules_the_largest_are_shown_and_the_others_counted() -> None:
    made = shown(Compression("x", None, tuple(loss(i, float(i)) for i in range(30))))
    text = Page(made["text/html"]).text
    table = text[text.index("The largest") :]
    assert "layers.29.q" in table
    assert "layers.5.q" not in table
    assert "and 6 more" in table
