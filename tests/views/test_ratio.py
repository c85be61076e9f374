"""The picture of parameters: bars by the logarithm, matrices to scale, counts as given."""

from __future__ import annotations

import math
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from lora_magic import numbers
from lora_magic.adapters.formula import ModuleCount
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.cost.matrix import matrix_count
from lora_magic.errors import AdapterError
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


def drawn(picture: ElementTree.Element) -> list[tuple[float, float]]:
    """Width and colour order of the bars: whole, part, and again if they are enlarged."""
    boxes = [rect for rect in picture.iter() if rect.tag.endswith("rect")]
    widths = [float(rect.get("width", "")) for rect in boxes]
    return list(zip(widths[::2], widths[1::2], strict=True))


@pytest.mark.parametrize("trained", [1, 107, 1071, 10716, 107161, 500000])
def test_any_share_is_seen_on_a_linear_scale_that_says_how_far_it_is_enlarged(trained: int) -> None:
    shown = page(modules=(ModuleCount("q", 1035, 1035, 0, trained, trained),))
    picture = shown.pictures()[1]
    share = trained / 1071616
    *first, (whole, part) = drawn(picture)
    said = re.search(r"enlarged ([\d,]+) times", "".join(picture.itertext()))
    factor = int(said[1].replace(",", "")) if said else 1
    assert part / whole == pytest.approx(share * factor, rel=0.01)
    assert part / whole >= 0.05
    assert len(first) == (factor > 1)
    assert ("one pixel wide" in shown.text) == (share * whole < 1)


def test_a_reduction_is_never_rounded_up_to_everything() -> None:
    assert numbers.reduction(0.0123) == "98.8% fewer"
    assert numbers.reduction(1.23e-4) == "99.988% fewer"
    assert numbers.reduction(7e-8) == "99.9999930% fewer"
    for power in range(1, 10):
        assert not numbers.reduction(10.0**-power).startswith("100")


@pytest.mark.parametrize(("side", "rank", "times"), [(12288, 8, 768), (12288, 4, 1536)])
def test_one_matrix_is_counted_as_in_the_paper(side: int, rank: int, times: int) -> None:
    found = matrix_count(f"{side}x{side}", rank)
    assert f"1 in {times:,})" in found.line
    assert found.factors * times == found.whole
    assert "drawn one pixel thick; to scale" in Page(shown(found)["text/html"]).text


@pytest.mark.parametrize(
    ("shape", "rank"), [("1x1", 1), ("3x1000000000", 1), ("12288x12288", 8), ("64x64", 64)]
)
def test_the_page_of_one_matrix_holds_any_shape(shape: str, rank: int) -> None:
    found = matrix_count(shape, rank)
    made = Page(shown(found)["text/html"])
    assert [outside(picture) for picture in made.pictures()] == [[]] * len(made.pictures())
    assert f"{found.whole:,}" in made.text
    assert str(shown(found)["text/plain"]).startswith(found.line)


@pytest.mark.parametrize("shape", ["4096x11008", "4096X11008", "4096,11008", "4096×11008"])
def test_a_shape_is_read_as_people_type_it(shape: str) -> None:
    assert matrix_count(shape, 8) == matrix_count((4096, 11008), 8)
    assert matrix_count(shape, 8).factors == 8 * (4096 + 11008)


@pytest.mark.parametrize(
    "shape", ["", "4096", "4096x", "axb", "0x4", "4x-4", "1.5x2", "9" * 80, (1, 2, 3), (4, 0.5), 7]
)
def test_what_is_no_shape_is_one_line(shape: Any) -> None:
    with pytest.raises(AdapterError, match="type: %lora ratio --matrix 4096x11008") as seen:
        matrix_count(shape, 8)
    assert "\n" not in str(seen.value)


def test_modules_and_layers_are_a_heat_map_of_what_is_trained_of_each() -> None:
    modules = [
        ModuleCount(f"layers.{layer}.{kind}", 100, 100, rank, 200 * rank, 200 * rank)
        for layer in range(3)
        for kind, rank in (("q_proj", 1 + layer), ("v_proj", 1))
    ]
    texts = "".join(page(modules=tuple(modules)).pictures()[-1].itertext())
    for seen in ("q_proj", "v_proj", "2.0", "4.0", "6.0"):
        assert seen in texts


def test_counts_that_agree_and_counts_that_do_not_are_told_apart() -> None:
    assert "16,384 = counted" in page().text
    assert "16,000 ≠ counted" in page(modules=(ModuleCount("q", 1, 1, 8, 16000, 16384),)).text


def test_a_method_without_a_rank_has_none_in_the_table_and_no_matrix_drawn() -> None:
    spec = AdapterSpec(0, 0.0, 0.0, "", 0, method="prompt", virtual_tokens=10)
    soft = page(adapter="soft", spec=spec, modules=(ModuleCount("virtual", 192, 10, 0, 1, 16384),))
    assert "soft–116,384" in soft.text.replace(" ", "").replace("\n", "")
    assert "By formula" in soft.text
    # Nothing of it is a matrix with two factors.
    assert len(soft.pictures()) == 2


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
