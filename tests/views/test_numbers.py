"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from lora_magic import numbers
from lora_magic.views import axis


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (1.0, "1.00"), (0.01234, "0.0123"), (1234.5, "1234"), (1e-5, "1.00×10⁻⁵")],
)
def test_a_real_number_has_three_figures(value: float, shown: str) -> None:
    assert numbers.figures(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(950, "950"), (16384, "16.4k"), (999_950, "1M"), (6.738e9, "6.7B")]
)
def test_a_large_count_has_a_unit(value: float, shown: str) -> None:
    assert numbers.short(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(999, "999 bytes"), (16e9, "16 GB"), (999.7e9, "1 TB"), (2.184e12, "2.18 TB"), (3e15, "3 PB")],
)
def test_bytes_have_a_unit(value: float, shown: str) -> None:
    assert numbers.size(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.4, "0.40 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (7500, "2 h 05 min")],
)
def test_a_time_has_the_unit_of_its_size(value: float, shown: str) -> None:
    assert numbers.duration(value) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0%"), (0.0123, "1.23%"), (2.7e-5, "0.00270%"), (1.87e-7, "under 0.001%"), (1, "100%")],
)
def test_a_share_is_a_percentage_and_a_tiny_one_is_said_to_be(share: float, shown: str) -> None:
    assert numbers.percent(share) == shown


@pytest.mark.parametrize("odd", [math.nan, math.inf, None, "?"])
def test_what_is_no_number_is_a_dash_and_no_error(odd: object) -> None:
    tellers = (numbers.count, numbers.short, numbers.figures, numbers.percent, numbers.size)
    assert {teller(odd) for teller in tellers} == {numbers.MISSING}
    assert numbers.spread([odd]) == numbers.MISSING


def test_a_spread_is_the_median_and_the_ends() -> None:
    assert numbers.spread([3, 1, 8]) == "3 (1 to 8)"
    assert numbers.spread([2.5, 2.5]) == "2.50"


@pytest.mark.parametrize(("low", "high"), [(1e-6, 3.0), (0.2, 0.5), (0.9, 1.1), (1e-12, 1e5)])
def test_log_ticks_lie_inside_and_label_their_value(low: float, high: float) -> None:
    ticks = axis.log_ticks(low, high)
    assert 1 <= len(ticks) <= 6
    for value, text in ticks:
        assert low <= value <= high
        if "10" not in text:
            assert float(text) == pytest.approx(value)


def test_a_log_scale_maps_equal_ratios_to_equal_lengths() -> None:
    scale = axis.Scale(0.01, 100, 0, 400, log=True)
    assert [scale(value) for value in (0.01, 0.1, 1, 10, 100)] == pytest.approx(
        [0, 100, 200, 300, 400]
    )
    assert math.isnan(scale(0.0))


@pytest.mark.parametrize("total", [1, 2, 7, 48, 49, 4096])
def test_thinning_keeps_the_ends_and_the_order(total: int) -> None:
    kept = axis.thinned(total, 48)
    assert len(kept) <= 48
    assert kept[0] == 0
    assert kept[-1] == total - 1
    assert kept == sorted(set(kept))
