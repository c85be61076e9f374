"""The evidence for a rank, and what a compression lost: each number where it belongs."""

from __future__ import annotations

from lora_magic.views import compression
from tests.views.page import Page

RANKS = [(1, 0.5, 0.75, "layers.0.q"), (2, 0.0, 0.0, "layers.0.q")]


def test_the_evidence_is_a_row_a_rank_in_both_forms() -> None:
    made = compression.bundle(
        line="pirate: rank 1", command="%lora compress pirate --rank 1", ranks=RANKS, modules=[]
    )
    assert str(made["text/plain"]).splitlines() == [
        "pirate: rank 1",
        "Rank  Loses most in   there  overall",
        "1     layers.0.q     75.0 %   50.0 %",
        "2     layers.0.q        0 %      0 %",
    ]
    text = Page(made["text/html"]).text
    assert "%lora compress pirate --rank 1" in text
    assert "75.0 %" in text


def test_of_an_adapter_that_changes_nothing_there_is_no_table() -> None:
    made = compression.bundle(
        line="pirate: not trained yet",
        command="%%lora_train pirate",
        ranks=[(1, 0.0, 0.0, "layers.0.q")],
        modules=[("layers.0.q", 1, 1, 0.0, 0.0)],
    )
    assert made["text/plain"] == "pirate: not trained yet"
    assert not Page(made["text/html"]).named("table")


def test_a_receipt_is_one_line_with_the_modules_on_demand() -> None:
    made = compression.bundle(
        line="pirate_r4: pirate at rank 4",
        command="%lora swap pirate_r4",
        ranks=[],
        modules=[("layers.0.q", 8, 4, 0.5, 0.12), ("positions.weight", 0, 0, 0.25, 1.0)],
    )
    assert made["text/plain"] == "pirate_r4: pirate at rank 4"
    page = Page(made["text/html"])
    assert "12.0 %" in page.text
    assert "not carried" in page.text
    assert len(page.named("details")) == 1


def test_of_many_modules_the_largest_are_shown_and_the_others_counted() -> None:
    modules = [(f"layers.{i}.q", 2, 2, float(i), 0.0) for i in range(30)]
    text = Page(
        compression.bundle(line="x", command="y", ranks=RANKS, modules=modules)["text/html"]
    ).text
    assert "layers.29.q" in text
    assert "layers.5.q" not in text
    assert "and 6 more" in text
