"""An evaluation's display: the verdict first, what is best and what is noise without colour."""

from __future__ import annotations

import random

from lora_magic.evaluation.evaluation import Evaluation
from lora_magic.views.evaluation import LABELS, ROWS
from tests.views.page import Page
from tests.views.samples import evaluated, labels_given, shown

DRAW = random.Random(0)
BASE = [3 + DRAW.random() for _ in range(30)]
#: Far better than the base, as good as that, and no better than the base.
FOUR = {
    "base": BASE,
    "pirate": [loss - 2 - DRAW.random() / 10 for loss in BASE],
    "grumpy": [loss - 2 - DRAW.random() / 10 for loss in BASE],
    "calm": [loss + DRAW.choice((-0.2, 0.2)) for loss in BASE],
}


def page(found: Evaluation) -> Page:
    return Page(shown(found)["text/html"])


def plain(found: Evaluation) -> str:
    return str(shown(found)["text/plain"])


def test_the_first_sentence_is_the_verdict() -> None:
    found = evaluated(FOUR)
    for text in (page(found).text, plain(found)):
        assert text.startswith(found.verdict("loss"))
    assert found.best in ("pirate", "grumpy")
    other = "grumpy" if found.best == "pirate" else "pirate"
    assert found.line.startswith(f"{found.best} has the lowest loss on 30 rows, ")
    before, _, after = found.line.partition(f"{other}: ")
    assert "noise" not in before
    assert after.split(".  ")[0].count("perhaps only noise") == 1
    assert "base: " in after
    assert after.endswith(f"More than noise behind {found.best}: calm.")


def test_the_best_and_what_is_more_than_noise_are_marked_by_characters() -> None:
    found = evaluated(FOUR)
    lines = {line.split()[0]: line for line in plain(found).splitlines()[3:7]}
    assert list(lines) == list(FOUR)
    assert [name for name, line in lines.items() if "✓" in line.split("  ")[1:][0] or "✓" in line]
    assert "*" in lines["pirate"]
    assert "*" not in lines["calm"]
    assert "*" not in lines["base"]
    assert "✓" in lines[found.best or ""]
    assert "✓ the best; * differs from base by more than noise" in page(found).text


def test_every_two_are_compared_in_a_table_that_can_be_opened() -> None:
    found = evaluated(FOUR)
    text = page(found).text
    assert len(found.pairs) == 6 * 2
    assert text.count("perhaps only noise") >= sum(not pair.real for pair in found.pairs)
    assert "10,000 resamples" in text
    assert "Holm" in text


def test_the_worst_rows_come_first_beside_their_references() -> None:
    found = evaluated(FOUR)
    worst = found.worst()
    sums = [sum(row.values["loss"][1:]) for row in worst]
    assert sums == sorted(sums, reverse=True)
    text = page(found).text
    places = [text.index(f"{row.prompt}{row.number}reference") for row in worst[:ROWS]]
    assert places == sorted(places)
    for row in worst[:ROWS]:
        assert all(answer in text for answer in row.answers if answer)
    assert f"{30 - ROWS} more rows in .to_frame()" in text
    assert f"{worst[ROWS].prompt}{worst[ROWS].number}reference" not in text


def test_an_evaluation_that_was_stopped_says_so() -> None:
    found = evaluated(FOUR, stopped=True)
    assert page(found).text.startswith("stopped by you")
    assert plain(found).startswith("stopped by you")


def test_left_out_adapters_and_notes_are_told() -> None:
    found = evaluated(FOUR, left_out=("new",), notes=("1 row cut to 128 tokens",))
    for text in (page(found).text, plain(found)):
        assert "1 row cut to 128 tokens" in text
        assert "Untrained adapters left out: new" in text


def test_texts_without_prompts_are_shown_with_their_losses() -> None:
    found = evaluated({"base": [3.0, 1.0]})
    rows = [
        row.__class__(row.number, row.key, "", row.reference, (None,), row.values, row.tokens)
        for row in found.rows
    ]
    text = page(Evaluation.of(["base"], rows, data_hash="", seconds=1.0)).text
    assert "textHere 0" in text
    assert "None" not in text


def test_confusions_are_counted_by_label() -> None:
    true = ["day", "day", "night", "night"]
    found = labels_given({"base": ["day"] * 4, "sky": ["day", "night", "night", "night"]}, true)
    assert found.counts("sky") == {
        "day": {"day": 1, "night": 1},
        "night": {"day": 0, "night": 2},
    }
    tables = page(found).text
    assert "sky: true labels by given ones" in tables
    # A row is: label, given day, given night, rows, accuracy.
    sky = tables[tables.index("sky: true labels") :]
    assert "day11250.0%" in sky
    assert "night022100%" in sky


def test_of_many_labels_those_with_most_errors_are_shown() -> None:
    names = [f"label {at:02}" for at in range(30)]
    wrong = [*names[:20], *reversed(names[20:])]
    found = labels_given({"base": wrong, "a": names}, names)
    text = page(found).text
    table = text[text.index("base: true labels") : text.index("a: true labels")]
    assert f"the {LABELS} of 30 labels with most errors" in table
    assert all(name in table for name in names[20:])
    assert names[19] not in table


def test_the_base_alone_is_not_counted_beside_no_adapters() -> None:
    found = evaluated({"base": [3.0, 1.0]})
    for text in (page(found).text, plain(found)):
        assert "2 rows under base · 2.0 s" in text
        assert "adapter" not in text.replace("Adapter", "")


def test_the_way_to_the_adapters_left_out_is_one_that_evaluate_has() -> None:
    found = evaluated(FOUR, left_out=("new",))
    assert "--adapters" not in plain(found)
    assert "left out: new; to measure them too, name them." in plain(found)
