"""One line, more on demand: receipts, merges, verifications, and the state of the session."""

from __future__ import annotations

from lora_magic.adapters.merge import ModuleMerge
from lora_magic.base.fingerprint import Verification
from lora_magic.views import receipt
from tests.views.page import Page
from tests.views.samples import merged, shown, state


def test_a_receipt_without_facts_is_one_line() -> None:
    bundle = receipt.bundle(line="base answers now")
    assert bundle["text/plain"] == "base answers now"
    assert Page(bundle["text/html"]).named("details") == []


def test_a_receipts_facts_are_folded_away() -> None:
    bundle = receipt.bundle(line="attached", facts=[("seed", "7"), ("checkpoint", "66 kB")])
    (fold,) = Page(bundle["text/html"]).named("details")
    assert "open" not in fold
    assert "66 kB" in Page(bundle["text/html"]).text


def test_a_terminal_gets_one_line_a_verb() -> None:
    facts = [("seed", "7"), ("checkpoint", "66 kB")]
    table = receipt.Rows("All", ("a",), (("1",),))
    assert receipt.bundle(line="done", facts=facts, table=table)["text/plain"] == "done"
    for record in (merged("pirate"), Verification(3, 24, (), False, 0.01)):
        assert shown(record)["text/plain"] == record.line


def test_a_long_table_is_cut_and_counted() -> None:
    rows = tuple((f"module {n}", "1") for n in range(30))
    page = Page(receipt.bundle(line="x", table=receipt.Rows("All", ("a", "b"), rows))["text/html"])
    assert "and 6 more" in page.text
    assert "module 23" in page.text
    assert "module 24" not in page.text


def test_a_merge_tells_of_each_module_what_rounding_took() -> None:
    rows = (ModuleMerge("q_proj", 0.042, 0.14, 8),)
    page = Page(shown(merged("pirate", modules=rows))["text/html"])
    assert "0.0420" in page.text
    assert "14.0%" in page.text


def test_an_unchanged_base_is_one_quiet_line() -> None:
    bundle = shown(Verification(3, 24, (), False, 0.01))
    assert "open" not in Page(bundle["text/html"]).named("details")[0]


def test_a_changed_base_names_its_tensors_unfolded() -> None:
    names = tuple(f"layer.{n}" for n in range(40))
    bundle = shown(Verification(80, 24, names, False, 0.01))
    page = Page(bundle["text/html"])
    assert "open" in page.named("details")[0]
    assert "40 changed tensors" in page.text
    assert "and 16 more" in page.text
    plain = str(bundle["text/plain"]).split("\n")
    assert "CHANGED" in plain[0]
    assert plain[1:] == [*(f"  layer.{n}" for n in range(8)), "  and 32 more"]


def test_the_state_reads_as_drawn_in_the_design() -> None:
    bundle = state(
        "demo · 1.1M · bf16 · cpu · unchanged ✓",
        rows=[
            ("cheerful", "lora r8 q,v", "60 steps, loss 3.1 → 0.6", True),
            ("grumpy", "lora r8 q,v", "not trained", False),
        ],
        next_commands=["%lora compare What does a fox eat?"],
    )
    assert str(bundle["text/plain"]).split("\n") == [
        "base      demo · 1.1M · bf16 · cpu · unchanged ✓",
        "adapters  ● cheerful  lora r8 q,v  60 steps, loss 3.1 → 0.6",
        "            grumpy    lora r8 q,v  not trained",
        "merged    none",
        "next      %lora compare What does a fox eat?",
    ]


def test_before_a_base_the_state_is_what_to_type() -> None:
    bundle = state(
        None,
        "CPU, 1 core, 2 GB",
        next_commands=["%lora load demo  built in, offline"],
        found=["model tokenizer"],
    )
    assert str(bundle["text/plain"]).split("\n") == [
        "No base yet · CPU, 1 core, 2 GB",
        "  %lora load demo            built in, offline",
        "  %lora use model tokenizer  found in this notebook",
    ]
    page = Page(bundle["text/html"])
    assert len(page.named("code")) == 2


def test_the_active_adapter_is_told_by_a_sign_and_not_by_weight_alone() -> None:
    page = Page(state(rows=[("a", "r8", "new", True)])["text/html"])
    assert "● a" in page.text
    assert "● is the active adapter" in page.text


def test_without_adapters_the_state_says_none() -> None:
    plain = str(state(merged="pirate")["text/plain"])
    assert "adapters  none" in plain
    assert "merged    pirate" in plain
