"""The picture of memory: bars to one scale, what is free as a line, and what to change first."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from lora_magic.cost.memory import PARTS
from lora_magic.cost.plan import CostPlan, Row, TypeCount, Way
from tests.views.page import Page, letters, outside
from tests.views.samples import plan, shown, way, ways_of_7b

GIGA = 10**9


def page(found: CostPlan) -> Page:
    return Page(shown(found)["text/html"])


def picture(found: CostPlan) -> ElementTree.Element:
    return page(found).pictures()[0]


def boxes(drawn: ElementTree.Element) -> list[tuple[float, float, float]]:
    """(y, x, width) of the bars' parts, without the legend's."""
    found = [
        tuple(float(rect.get(key, "")) for key in ("y", "x", "width", "height"))
        for rect in drawn.iter()
        if rect.tag.endswith("rect")
    ]
    return [
        (y, x, wide) for y, x, wide, high in [(f[0], f[1], f[2], f[3]) for f in found] if high > 12
    ]


def bars(drawn: ElementTree.Element) -> list[tuple[float, float]]:
    """Where each bar begins and ends, from the top."""
    found: dict[int, list[tuple[float, float]]] = {}
    for y, x, wide in boxes(drawn):
        found.setdefault(round(y / 5), []).append((x, x + wide))
    return [
        (min(x for x, _ in parts), max(end for _, end in parts))
        for _, parts in sorted(found.items())
    ]


def line(drawn: ElementTree.Element) -> list[float]:
    """The x of the line of what is free, once for each bar."""
    white = [part for part in drawn.iter() if part.get("stroke") == "#FFFFFF"]
    return [float(part.get("d", "")[1:].split(",")[0]) for part in white]


def texts(drawn: ElementTree.Element) -> list[str]:
    return ["".join(part.itertext()) for part in drawn.iter() if part.tag.endswith("text")]


@pytest.mark.parametrize("room", [None, 16 * GIGA, 10**15])
def test_a_bar_is_as_long_as_its_peak_and_all_have_one_scale(room: int | None) -> None:
    found = plan(*ways_of_7b(True), room=room)
    drawn = bars(picture(found))
    peaks = [way.memory.peak for way in found.ways]
    lengths = [end - start for start, end in drawn]
    for length, peak in zip(lengths, peaks, strict=True):
        # The gap after a part is one unit.
        assert length / lengths[-1] == pytest.approx(peak / peaks[-1], rel=0.02)


def test_the_parts_of_a_bar_are_as_wide_as_their_bytes() -> None:
    parts = {"weights": 4 * GIGA, "gradients": 2 * GIGA, "activations": 2 * GIGA}
    wide = [width for _, _, width in boxes(picture(plan(way("LoRA", parts))))]
    assert [round(w + 1) for w in wide] == [212, 106, 106]


@pytest.mark.parametrize("room", [2 * GIGA, 16 * GIGA, 40 * GIGA, 100 * GIGA])
def test_the_line_is_at_what_is_free_on_the_bars_scale(room: int) -> None:
    found = plan(*ways_of_7b(True), room=room)
    drawn = picture(found)
    longest = max(way.memory.peak for way in found.ways)
    start, end = max(bars(drawn), key=lambda bar: bar[1])
    wanted = start + (end - start) * room / longest
    assert line(drawn) == [pytest.approx(wanted, abs=1.5)] * 4
    assert f"free: {room // GIGA} GB" in texts(drawn)
    # A way that fits ends before the line.
    assert [bar[1] <= wanted for bar in bars(drawn)] == [w.memory.peak <= room for w in found.ways]


def test_memory_far_beyond_the_bars_is_told_and_not_drawn() -> None:
    found = plan(way("LoRA", {"weights": 9 * 10**6}), room=16 * GIGA, where="this machine")
    assert line(picture(found)) == []
    assert "free on this machine: 16 GB, beyond the right end" in page(found).text
    (bar,) = bars(picture(found))
    assert bar[1] - bar[0] > 400


def test_without_a_known_memory_nothing_is_said_to_fit_or_not() -> None:
    found = plan(*ways_of_7b())
    assert line(picture(found)) == []
    assert "how much is free is not known" in page(found).text
    assert "fit" not in page(found).text + " ".join(texts(picture(found)))


def test_every_part_looks_different_and_is_in_the_legend() -> None:
    everything = way("all", dict.fromkeys(PARTS, GIGA))
    drawn = picture(plan(everything))
    looks = [
        (rect.get("fill"), rect.get("fill-opacity"))
        for rect in drawn.iter()
        if rect.tag.endswith("rect")
    ]
    bar, legend = looks[: len(PARTS)], looks[len(PARTS) :]
    assert len(set(bar)) == len(PARTS)
    assert bar == legend
    assert [text for text in texts(drawn) if text in PARTS] == list(PARTS)


def test_a_part_that_no_way_has_is_left_out() -> None:
    shown = page(plan(way("inference", {"weights": GIGA, "cache": GIGA})))
    told = shown.text + " ".join(texts(shown.pictures()[0]))
    for part in PARTS:
        assert (part in told) == (part in ("weights", "cache"))


def test_what_to_type_stands_above_the_picture() -> None:
    found = plan(*ways_of_7b(True), advice="LoRA fits with", command="%lora load x --bits 4")
    for text in (page(found).text, str(shown(found)["text/plain"])):
        assert "LoRA fits with: %lora load x --bits 4" in text
    markup = page(found).markup
    assert markup.index("--bits 4") < markup.index("<img")
    assert "LoRA fits with: %lora" not in page(plan(*ways_of_7b(True))).text


def test_a_way_that_is_refused_has_no_bar_and_its_reason_below() -> None:
    refused = way("QLoRA", {}, refused="4-bit weights need a GPU")
    found = plan(way(), refused)
    assert len(bars(picture(found))) == 1
    assert "not possible" in texts(picture(found))
    assert "QLoRA: 4-bit weights need a GPU" in page(found).text
    assert "QLoRA: 4-bit weights need a GPU" in str(shown(found)["text/plain"])


def test_a_way_whose_memory_is_not_known_has_no_bar_and_no_peak() -> None:
    found = plan(way(), way("full", {}))
    assert len(bars(picture(found))) == 1
    assert "not known" in texts(picture(found))
    assert rows_of(str(shown(found)["text/plain"]))["peak"][1:] == ["2", "GB", "–"]


def rows_of(text: str) -> dict[str, list[str]]:
    """The rows of the plain text's first table, by their names."""
    return {line.split("  ")[0]: line.split() for line in text.splitlines()}


def test_the_table_has_every_byte_of_the_picture_and_their_sums() -> None:
    found = plan(*ways_of_7b(True), room=16 * GIGA)
    rows = rows_of(str(shown(found)["text/plain"]))
    assert rows["weights"][1:] == ["13.5", "GB", "13.5", "GB", "4", "GB", "13.5", "GB"]
    assert rows["peak"][1:] == ["14.5", "GB", "20.4", "GB", "11", "GB", "60.8", "GB"]
    assert rows["fits"][1:] == ["yes", "no", "yes", "no"]
    assert rows["dtype"][1:] == ["bf16", "bf16", "4", "bits", "bf16"]
    assert rows["most rows"][2:] == ["4", "none", "2", "none"]
    assert rows["most tokens"][2:] == ["4,096", "256", "none", "none"]
    assert rows["time"][1:] == ["9", "min"] * 4


@pytest.mark.parametrize(
    ("more", "row", "told"),
    [
        ({"hours": 1e6}, "time", "1,000,000 h"),
        ({"hours": 2.5}, "time", "2.5 h"),
        ({"hours": 12.4}, "time", "12 h"),
        ({"hours": 0.77}, "time", "46 min"),
        ({"hours": 0.005}, "time", "18 s"),
        ({"price": 0.0}, "price", "0.00"),
        ({"price": 0.0004}, "price", "under 0.01"),
        ({"price": 12345.678}, "price", "12,345.68"),
        ({"flops": 3.14e23}, "operations", "3.14×10²³"),
        ({"trained": 175_255_000_000}, "trained", "175.3B"),
    ],
)
def test_numbers_of_any_size_are_told_as_people_read_them(
    more: dict[str, Any], row: str, told: str
) -> None:
    text = str(shown(plan(way(**more)))["text/plain"])
    assert f"{row}  " in text
    assert told in text


def test_what_nobody_asked_for_has_no_row() -> None:
    text = str(shown(plan(way()))["text/plain"])
    for row in ("time", "price", "cards", "operations", "checkpointing"):
        assert row not in text


@pytest.mark.parametrize(
    "size", [1, 10**3, 999 * 10**6, 10**12, 2_184 * GIGA, 350 * 10**12, 10**15, 2 * 10**16]
)
def test_no_label_leaves_the_picture_at_any_size(size: int) -> None:
    for room in (None, 1, size // 2, size, 2 * size, 10**6 * size):
        drawn = picture(plan(way("w" * 60, {"weights": size}, fits=False), room=room))
        assert outside(drawn) == []
        assert "e+" not in "".join(texts(drawn))


def test_a_plan_without_memory_has_no_picture_and_says_what_it_knows() -> None:
    found = page(plan(notes=("the memory of this architecture is not known",)))
    assert found.pictures() == []
    assert "6,738,415,616 parameters" in found.text
    assert "is not known" in found.text


def test_storage_is_told_for_one_adapter_and_for_all() -> None:
    found = plan(checkpoint=35 * 10**6, tasks=100, stored=353_500_000_000, copies=35 * 10**12)
    text = str(shown(found)["text/plain"])
    assert "one saved adapter: 35 MB" in text
    assert "100 adapters, one base: 354 GB" in text
    assert "100 whole models: 35 TB" in text
    assert "whole models" not in str(shown(plan())["text/plain"])


def test_active_parameters_are_told_where_they_are_fewer() -> None:
    sparse = plan(base_parameters=46_702_792_704, active_parameters=12_879_925_248)
    assert "active for each token12,879,925,248" in page(sparse).text
    assert "active for each token" not in page(plan()).text


def test_types_and_questions_are_told_with_the_line_to_type() -> None:
    found = plan(
        types=(TypeCount("q_proj", 32, 4096, 4096, 536_870_912, 2_097_152),),
        rows=(
            Row("a longer context", "12 GB", "--max-length 2048"),
            Row("nothing to type?", "No."),
        ),
    )
    text = letters(page(found).text)
    assert "q_proj324,096×4,096536,870,9122,097,152" in text
    assert "alongercontext:12GB--max-length2048" in text
    assert "nothingtotype?No." in text
    lines = str(shown(found)["text/plain"]).splitlines()
    assert {"a longer context: 12 GB → --max-length 2048", "nothing to type? No."} <= {*lines}


def test_two_ways_of_one_name_are_two_bars() -> None:
    ways: tuple[Way, ...] = (way(), way())
    assert len(bars(picture(plan(*ways)))) == 2
