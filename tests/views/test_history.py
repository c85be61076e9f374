"""The ledger's display: the newest entries, and what was left out."""

from __future__ import annotations

import re
from dataclasses import replace

from lora_magic.state.history import Difference, History
from lora_magic.state.ledger import Entry
from lora_magic.views.history import ROWS
from tests.views.page import Page
from tests.views.samples import entry, shown


def test_each_entry_is_a_row_in_both_forms() -> None:
    record = History((entry("pirate"), replace(entry("calm"), number=2, data={})), "3f2a9c1b")
    made = shown(record)
    lines = str(made["text/plain"]).splitlines()
    assert lines[0] == "2 entries in this session"
    assert lines[1].split() == ["Entry", "UTC", "Took", "Verb", "Adapter", "Data", "Result"]
    first = (
        "1      2026-11-29 06:44:58  7.9 s  train  pirate   10 rows · 8aa72e64  pirate: 60 steps"
    )
    assert lines[2] == first
    assert "calm" in lines[3]
    assert len(lines) == 4
    text = Page(made["text/html"]).text
    assert "10 rows · 8aa72e64" in text
    assert "2026-11-29 06:44:58" in text


def test_the_workers_of_a_run_are_beside_its_verb() -> None:
    several = {"workers": 4, "engine": "ray"}
    record = History((replace(entry("pirate"), settings=several), entry("calm")), "3f2a9c1b")
    made = shown(record)
    lines = str(made["text/plain"]).splitlines()[2:]
    assert [re.split("  +", line)[3] for line in lines] == ["train · 4 workers (ray)", "train"]
    assert Page(made["text/html"]).text.count("train · 4 workers (ray)") == 1


def test_entries_of_several_sessions_name_their_session() -> None:
    record = History((entry("pirate"), replace(entry("calm"), session="0badcafe")), "0badcafe")
    text = str(shown(record)["text/plain"])
    assert "2 entries of 2 sessions" in text
    assert "3f2a9c1b/1" in text
    assert "0badcafe/1" in text


def test_a_long_history_shows_the_newest_and_counts_the_rest() -> None:
    many = tuple(Entry("a", number, "2026-11-29", "swap") for number in range(1, ROWS + 4))
    made = shown(History(many, "a"))
    lines = str(made["text/plain"]).splitlines()
    assert lines[2].split()[0] == "4"
    assert lines[-1] == "and 3 earlier: .to_frame() has every row"
    assert len(Page(made["text/html"]).named("tr")) == ROWS + 1


def test_a_stopped_and_a_failed_run_say_so() -> None:
    record = History((replace(entry("pirate"), state="failed", result="too steep"),), "3f2a9c1b")
    assert "failed: too steep" in str(shown(record)["text/plain"])


def test_an_empty_history_says_where_there_is_more() -> None:
    made = shown(History((), "a", earlier=3, unreadable=(7,)))
    assert made["text/plain"] == (
        "0 entries in this session; 3 of other sessions: %lora history --all; "
        "ledger.jsonl: line 7 cannot be read, left out"
    )
    assert not Page(made["text/html"]).named("table")


def test_two_runs_are_compared_field_by_field() -> None:
    one, two = entry("pirate"), replace(entry("calm"), number=5)
    rows = (
        ("spec", "rank", 8, 4),
        ("run", "learning_rate", 0.004, 0.0005),
        ("result", "last_loss", 0.61234, 0.61249),
        ("result", "held_out_after", None, 1.5),
        ("data", "sha256", "a" * 64, "b" * 64),
    )
    made = shown(Difference(("pirate", "calm"), (one, two), rows))
    assert str(made["text/plain"]).splitlines() == [
        "pirate (entry 1) and calm (entry 5): same data; they differ in 5 fields",
        "Part    Field           pirate    calm",
        "spec    rank            8         4",
        "run     learning rate   0.004     0.0005",
        "result  last loss       0.6123    0.6125",
        "result  held out after  –         1.5",
        "data    sha256          aaaaaaaa  bbbbbbbb",
    ]
    assert "0.6125" in Page(made["text/html"]).text


def test_runs_without_a_difference_have_no_table() -> None:
    made = shown(Difference(("a", "b"), (entry("a"), replace(entry("b"), number=2)), ()))
    assert made["text/plain"] == "a (entry 1) and b (entry 2): same data; all else equal"
    assert not Page(made["text/html"]).named("table")


def test_other_rows_are_said() -> None:
    other = replace(entry("b"), data={"sha256": "c" * 64})
    assert "other data" in Difference(("a", "b"), (entry("a"), other), ()).line
    none = replace(entry("a"), data={})
    assert not Difference(("a", "b"), (none, none), ()).same_data
