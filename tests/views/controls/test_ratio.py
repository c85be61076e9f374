"""Method, rank and targets: one count for each choice, and each control says the same."""

from __future__ import annotations

from typing import Any

import pytest

from lora_magic.errors import AdapterError
from lora_magic.views.controls.ratio import (
    BOXES,
    OWN,
    SLIDES_TO,
    TYPED,
    Choices,
    Plan,
    RatioControls,
)

READS = {"lora": frozenset({"rank", "targets"}), "bitfit": frozenset()}


class Counter:
    """Keeps what it was asked to count."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, str, str | None]] = []

    def __call__(self, method: str, rank: int, targets: str, matrix: str | None) -> Plan:
        self.asked.append((method, rank, targets, matrix))
        if not targets:
            raise AdapterError("--targets (empty) matches no module")
        kinds = ["q", "v"] if method == "lora" else []
        shape = {"q": (64, 32), "v": (16, 32)}.get(matrix or "q")
        return Plan(f"<p>{method} {rank} {targets} {matrix}</p>", kinds, READS[method], shape)


def choices(**changes: Any) -> Choices:
    return Choices(
        **{
            "methods": ["lora", "bitfit"],
            "largest_rank": 100,
            "kinds": ["q", "k", "v", "up"],
            "sets": {"q,v": ["q", "v"], "attention": ["q", "k", "v"]},
            "method": "lora",
            "rank": 8,
            "targets": "q,v",
            **changes,
        }
    )


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def controls(counter: Counter) -> RatioControls:
    made = RatioControls(choices(), counter)
    counter.asked.clear()
    return made


def ticked(controls: RatioControls) -> list[str]:
    return [box.description for box in controls.boxes if box.value]


def test_they_begin_with_what_they_are_given_and_show_nothing_yet(controls: RatioControls) -> None:
    assert (controls.method.value, controls.rank.value, controls.typed.value) == ("lora", 8, 8)
    assert (controls.targets.value, ticked(controls)) == ("q,v", ["q", "v"])
    assert list(controls.matrix.options) == ["q", "v", TYPED]
    assert (controls.outputs.value, controls.inputs.value) == (64, 32)
    assert controls.page.html == ""


def test_each_choice_counts_once(controls: RatioControls, counter: Counter) -> None:
    controls.rank.value = 64
    assert counter.asked == [("lora", 64, "q,v", "q")]
    assert controls.page.html == "<p>lora 64 q,v q</p>"
    controls.matrix.value = "v"
    controls.targets.value = "attention"
    controls.method.value = "bitfit"
    assert counter.asked[1:] == [
        ("lora", 64, "q,v", "v"),
        ("lora", 64, "attention", "v"),
        ("bitfit", 64, "attention", "v"),
    ]


def test_a_rank_is_the_same_in_both_of_its_controls(
    controls: RatioControls, counter: Counter
) -> None:
    controls.typed.value = 37
    assert (controls.rank.value, controls.typed.value) == (37, 37)
    controls.rank.value = 16
    assert controls.typed.value == 16
    assert [rank for _, rank, _, _ in counter.asked] == [37, 16]


def test_the_fields_show_the_matrix_that_is_drawn_and_draw_the_one_that_is_typed(
    controls: RatioControls, counter: Counter
) -> None:
    controls.matrix.value = "v"
    assert (controls.outputs.value, controls.inputs.value) == (16, 32)
    controls.inputs.value = 4096
    assert controls.matrix.value == TYPED
    controls.outputs.value = 12288
    assert [asked[3] for asked in counter.asked] == ["v", "16x4096", "12288x4096"]
    assert (controls.outputs.value, controls.inputs.value) == (12288, 4096)
    controls.matrix.value = "q"
    assert counter.asked[-1][3] == "q"
    assert (controls.outputs.value, controls.inputs.value) == (64, 32)


def test_ticks_and_the_sets_of_them_are_one_choice(
    controls: RatioControls, counter: Counter
) -> None:
    controls.targets.value = "attention"
    assert ticked(controls) == ["q", "k", "v"]
    controls.boxes[3].value = True
    assert controls.targets.value == OWN
    assert counter.asked[-1][2] == "q,k,v,up"
    controls.boxes[3].value = False
    assert controls.targets.value == "attention"
    assert len(counter.asked) == 3


def test_what_a_method_does_not_read_cannot_be_chosen(controls: RatioControls) -> None:
    controls.method.value = "bitfit"
    unread = (
        *(controls.rank, controls.typed, controls.targets, controls.matrix, *controls.boxes),
        *(controls.outputs, controls.inputs),
    )
    assert all(control.disabled for control in unread)
    controls.method.value = "lora"
    assert not any(control.disabled for control in unread)


def test_a_choice_that_cannot_be_is_a_line_and_the_page_stays(controls: RatioControls) -> None:
    controls.rank.value = 16
    before = controls.page.html
    for box in controls.boxes:
        box.value = False
    assert "matches no module" in controls.page.message
    assert before.partition(" ")[0] in controls.page.html
    controls.boxes[0].value = True
    assert controls.page.message == ""


def test_a_fault_of_ours_is_shown_and_raised(counter: Counter) -> None:
    def breaks(*asked: Any) -> Plan:
        if counter.asked:
            raise ZeroDivisionError("by <b>zero</b>")
        return counter(*asked)

    controls = RatioControls(choices(), breaks)
    with pytest.raises(ZeroDivisionError):
        controls.refresh()
    assert "ZeroDivisionError: by &lt;b&gt;zero" in controls.page.message
    assert "bug in lora_magic" in controls.page.message


def test_targets_of_no_set_begin_as_ticks(counter: Counter) -> None:
    controls = RatioControls(choices(targets="k,up"), counter)
    assert (controls.targets.value, ticked(controls)) == (OWN, ["k", "up"])
    assert counter.asked[-1][2] == "k,up"


def test_of_very_many_kinds_of_modules_the_sets_can_still_be_chosen(counter: Counter) -> None:
    kinds = [f"expert{number}" for number in range(100)]
    controls = RatioControls(choices(kinds=kinds, sets={"q,v": kinds[:2]}), counter)
    assert len(controls.boxes) == BOXES
    assert controls.targets.value == "q,v"


def test_a_rank_beyond_the_slider_is_typed_and_the_slider_then_reaches_it(
    counter: Counter,
) -> None:
    controls = RatioControls(choices(largest_rank=4096), counter)
    assert (controls.rank.max, controls.typed.max) == (SLIDES_TO, 4096)
    controls.typed.value = 1024
    assert (controls.rank.value, controls.rank.max) == (1024, 1024)
    assert counter.asked[-1][1] == 1024
    small = RatioControls(choices(largest_rank=12), counter)
    assert (small.rank.min, small.rank.max) == (1, 12)
