"""The picture of parameters: bars by the logarithm, matrices to scale, counts as given."""

from __future__ import annotations

import math

import pytest

from lora_magic.views import ratio
from tests.views.page import Page, outside

ROW: dict[str, object] = {
    "adapter": "pirate",
    "rank": 8,
    "modules": 8,
    "trainable": 16384,
    "formula": 16384,
    "share": 16384 / 1071616,
    "checkpoint_bytes": 66000,
}


def bundle(*rows: dict[str, object], example: tuple[int, int, int] | None = None) -> Page:
    made = ratio.bundle(
        title="Ratio", base_parameters=1071616, rows=rows, facts=[], example=example
    )
    return Page(made["text/html"])


def test_the_bars_are_as_long_as_the_logarithms() -> None:
    (picture,) = bundle(ROW, {**ROW, "adapter": "big", "trainable": 163840}).pictures()
    base, small, big = [
        float(rect.get("width", "")) for rect in picture.iter() if rect.tag.endswith("rect")
    ]
    assert big > small
    assert (base - small) / (big - small) == pytest.approx(math.log10(1071616 / 16384), rel=0.01)


@pytest.mark.parametrize(("d", "k", "r"), [(128, 128, 8), (11008, 4096, 64), (512, 2048, 16)])
def test_the_three_matrices_are_drawn_to_one_scale(d: int, k: int, r: int) -> None:
    picture = bundle(ROW, example=(d, k, r)).pictures()[1]
    sizes = [
        (float(rect.get("height", "")), float(rect.get("width", "")))
        for rect in picture.iter()
        if rect.tag.endswith("rect")
    ]
    unit = max(sizes[0]) / max(d, k)
    for (high, wide), (rows, columns) in zip(sizes, [(d, k), (d, r), (r, k)], strict=True):
        assert high == pytest.approx(max(1, rows * unit), abs=0.06)
        assert wide == pytest.approx(max(1, columns * unit), abs=0.06)


def test_counts_that_agree_and_counts_that_do_not_are_told_apart() -> None:
    assert "16,384 = counted" in bundle(ROW).text
    assert "16,000 ≠ counted" in bundle({**ROW, "formula": 16000}).text


def test_a_method_without_a_rank_has_none_in_the_table_and_no_matrix_drawn() -> None:
    page = bundle({**ROW, "adapter": "soft", "rank": None, "modules": 1})
    assert "soft–116,384" in page.text.replace(" ", "").replace("\n", "")
    assert "By formula" in page.text
    assert len(page.pictures()) == 1


@pytest.mark.parametrize("example", [(128, 128, 8), (11008, 4096, 64), (512, 32768, 256)])
def test_no_label_leaves_its_picture(example: tuple[int, int, int]) -> None:
    for picture in bundle({**ROW, "adapter": "w" * 40}, example=example).pictures():
        assert outside(picture) == []


def test_many_adapters_are_counted_and_all_stand_in_the_table() -> None:
    page = bundle(*({**ROW, "adapter": f"a{n}"} for n in range(20)))
    assert "first 12 of 20" in page.text
    assert "a19" in page.text


def test_an_adapter_without_parameters_does_not_break_the_scale() -> None:
    assert bundle({**ROW, "trainable": 0, "formula": 0, "share": 0.0}).pictures()
