"""φ beside its random value, angles, table 7 and intruders: each number where it belongs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lora_magic.lowrank.similarity import Overlap, Similarity
from tests.views.page import Page
from tests.views.samples import amplified, overlap, removal, shown, similarity


def page(record: Similarity) -> Page:
    return Page(shown(record)["text/html"])


def alts(record: Similarity) -> list[str]:
    return [str(image["alt"]) for image in page(record).named("img")]


def test_each_kind_is_drawn_beside_random_directions_at_the_same_places() -> None:
    record = similarity("a", "b", modules=("0.q", "1.q", "0.v", "1.v"))
    drawn = alts(record)
    grids, layers = drawn[:-1], drawn[-1]
    assert [alt.partition(":")[0] for alt in grids] == [
        "φ(i, j) of q; right",
        "φ(i, j) of v; right",
    ]
    # φ is (i + j)/20 and chance max(i, j)/100, for i to 2 and j to 3.
    assert "heat map of 2 by 7, from .010 (1, 1) to .25 (2, 3)" in grids[0]
    digits = [
        part.text for part in page(record).pictures()[0].iter() if part.get("font-size") is None
    ]
    shown_digits = [text for text in digits if text and text.startswith(".")]
    expected = [(i + j) / 20 for i in (1, 2) for j in (1, 2, 3)]
    expected += [max(i, j) / 100 for i in (1, 2) for j in (1, 2, 3)]
    assert sorted(map(float, shown_digits)) == pytest.approx(sorted(expected))
    assert "heat map of 3 by 2, from .010 (random, q) to .10" in layers


def test_the_mean_over_layers_is_what_is_drawn() -> None:
    low, high = overlap("a", "b", "0.q"), overlap("a", "b", "1.q")
    high = replace(high, phi=tuple(tuple(2 * v for v in row) for row in high.phi))
    record = similarity("a", "b", overlaps=(low, high))
    assert "to .38 (2, 3)" in alts(record)[0]


def test_a_row_of_the_table_has_phi_and_chance_at_both_ends() -> None:
    plain = str(shown(similarity("a", "b"))["text/plain"]).splitlines()
    assert plain[1].split() == [
        "Module",
        "φ(1,",
        "1)",
        "random",
        "(i,",
        "j)",
        "φ(i,",
        "j)",
        "random",
    ]
    assert plain[2].split() == ["0.q", "0.100", "0.0100", "(2,", "3)", "0.250", "0.0300"]
    text = page(similarity("a", "b")).text
    assert "the angle between their ΔW is 60.0° over all modules" in text
    # 1/√(50·100), in degrees.
    assert "90 ± 0.81°" in text


def test_the_papers_rows_are_there_as_printed() -> None:
    text = page(similarity("a")).text
    for printed in ("0.32", "21.67", "0.02", "6.91", "61.95", "1.90", "37.71", "0.33", "3.57"):
        assert printed in text
    assert "the paper" in text.lower()
    assert "6.91/0.32 is 21.6" in text


def test_what_an_update_of_zero_lacks_is_na_and_hatched() -> None:
    some = (overlap("a", "b", "0.q"), overlap("a", "b", "1.q", (2, 0)))
    rows = (
        amplified("a", "0.q"),
        amplified("a", "1.q"),
        amplified("b", "0.q"),
        amplified("b", "1.q", 0),
    )
    record = Similarity(("a", "b"), "inputs", some, rows)
    made = shown(record)
    row = next(line for line in str(made["text/plain"]).splitlines() if line.startswith("1.q"))
    assert row.split() == ["1.q", "n/a", "n/a", "n/a", "n/a", "n/a"]
    assert "nan" not in page(record).text.lower()
    zero: tuple[Overlap, ...] = (overlap("a", "b", "0.q", (0, 0)),)
    none = replace(record, overlaps=zero, amplified=())
    assert "φ is n/a" in page(none).text
    assert not alts(none)


def test_of_many_modules_the_tables_have_medians_and_the_picture_every_layer() -> None:
    modules = tuple(f"{layer}.{kind}" for layer in range(30) for kind in ("q", "v"))
    record = similarity("a", "b", modules=modules)
    text = page(record).text
    assert "q (30)" in text
    assert "29.q" not in text
    assert ".summary() has every module" in text
    assert "heat map of 31 by 2" in alts(record)[-1]
    assert len(page(record).markup) < 60_000


def test_large_ranks_are_drawn_at_places_that_are_named() -> None:
    record = similarity("a", "b", overlaps=(overlap("a", "b", "0.q", (64, 16)),))
    picture = page(record).pictures()[0]
    texts = [part.text for part in picture.iter() if part.tag.endswith("text")]
    assert "64" in texts
    assert "16" in texts
    assert "heat map of 8 by 17" in alts(record)[0]


def test_of_many_adapters_each_pair_is_a_row_and_a_cell() -> None:
    record = similarity("a", "b", "c")
    assert len(alts(record)) == 1
    assert "heat map of 4 by 3, from .010 (random, a) to 1.0 (c, c)" in alts(record)[0]
    plain = str(shown(record)["text/plain"]).splitlines()
    assert [line.split()[:3] for line in plain[2:]] == [
        ["a", "b", "2"],
        ["a", "c", "2"],
        ["b", "c", "2"],
    ]


def test_one_adapter_shows_where_its_intruders_are() -> None:
    text = page(similarity("a")).text
    assert "Intruder dimensions: 2 in 2 modules" in text
    assert "equal loss" in text
    assert "%lora compress a --remove-intruders" in text


def test_a_warning_is_above_all_pictures() -> None:
    found = page(similarity("a", "b", notes=("the same A",))).markup
    assert found.index("the same A") < found.index("<img")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "held-out loss 1.125 → 1.250 (+0.125, 95 % from +0.062 to +0.188), base 3.250"),
        ({}, "12 → 18 of 24 questions answered correctly (base 22)"),
        ({}, "3 intruder dimensions (in 1 of 2 modules), 1 of them remain; 12.5% of ΔW changed"),
        ({"loss": None}, "equal loss"),
    ],
)
def test_the_receipt_of_a_removal_says_what_it_cost(more: dict[str, None], said: str) -> None:
    record = removal(**more)
    made = shown(record)
    assert said in record.line
    assert made["text/plain"] == record.line
    page = Page(made["text/html"])
    assert "n/a" in page.text
    assert ("held-out" in page.text) == (record.loss is not None)
