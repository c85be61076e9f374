"""The picture of parameters: bars by the logarithm, matrices to scale, counts as given."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lora_magic.adapters.count import ModuleCount
from lora_magic.adapters.spec import AdapterSpec
from tests.views.page import Page, outside
from tests.views.samples import count, shown


def page(**given: Any) -> Page:
    return Page(shown(count(**given))["text/html"])


def of(d: int, k: int, r: int) -> tuple[ModuleCount, ...]:
    return (ModuleCount("layers.0.q_proj", d, k, r, r * (d + k), r * (d + k)),)


@pytest.mark.parametrize("trained", [16384, 163840, 1071616])
def test_the_bars_are_as_long_as_the_logarithms(trained: int) -> None:
    picture = page(modules=(ModuleCount("q", 128, 128, 8, trained, trained),)).pictures()[0]
    base, adapter = [
        float(rect.get("width", "")) for rect in picture.iter() if rect.tag.endswith("rect")
    ]
    low = 10 ** (math.floor(math.log10(trained)) - 1)
    wanted = math.log10(trained / low) / math.log10(1071616 / low)
    assert adapter / base == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize(("d", "k", "r"), [(128, 128, 8), (11008, 4096, 64), (512, 2048, 16)])
def test_the_three_matrices_are_drawn_to_one_scale(d: int, k: int, r: int) -> None:
    picture = page(modules=of(d, k, r)).pictures()[1]
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
    assert "16,384 = counted" in page().text
    assert "16,000 ≠ counted" in page(modules=(ModuleCount("q", 1, 1, 8, 16000, 16384),)).text


def test_a_method_without_a_rank_has_none_in_the_table_and_no_matrix_drawn() -> None:
    spec = AdapterSpec(0, 0.0, 0.0, "", 0, method="prompt", virtual_tokens=10)
    soft = page(adapter="soft", spec=spec, modules=(ModuleCount("virtual", 192, 10, 0, 1, 16384),))
    assert "soft–116,384" in soft.text.replace(" ", "").replace("\n", "")
    assert "By formula" in soft.text
    assert len(soft.pictures()) == 1


@pytest.mark.parametrize("shape", [(128, 128, 8), (11008, 4096, 64), (512, 32768, 256)])
def test_no_label_leaves_its_picture(shape: tuple[int, int, int]) -> None:
    for picture in page(adapter="w" * 40, modules=of(*shape)).pictures():
        assert outside(picture) == []


def test_every_title_names_the_adapter() -> None:
    shown = page(adapter="moody")
    for part in ("moody: 16,384 trainable", "Parameters of moody, log", "Parameters of moody b"):
        assert part in shown.text


def test_what_is_adapted_and_left_out_is_given_as_shares_of_the_weights() -> None:
    # 512·2048 of 4,194,304 weights are a quarter.
    given: dict[str, Any] = {"modules": of(512, 2048, 16), "base_parameters": 4_194_304}
    assert "adapted matrices: 25.0% of the weights" in shown(count(**given))["text/plain"]
    given["left_out"] = (("experts", 2_097_152), ("embeddings", 1_048_576))
    text = shown(count(**given))["text/plain"]
    assert (
        "adapted matrices: 25.0% of the weights; left out: experts 50.0%, embeddings 25.0%" in text
    )
