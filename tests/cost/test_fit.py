"""The largest number that fits, against trying every one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lora_magic.cost.fit import largest, resized
from lora_magic.cost.setting import Setting

MOST = 300

PEAKS: dict[str, Callable[[int], int]] = {
    "linear": lambda n: 1000 + 7 * n,
    "steep": lambda n: 10**12 * n,
    "flat": lambda n: 1000,
    "bent": lambda n: 500 + 3 * n + n * n // 4,
    "sudden": lambda n: 1000 if n < 170 else 10**9,
    "steps": lambda n: 1000 + 900 * (n // 40),
    "the larger of two": lambda n: max(2000 + n, 40 * n),
}


@pytest.mark.parametrize("peak", PEAKS.values(), ids=PEAKS)
@pytest.mark.parametrize("known", [1, 8, MOST])
def test_it_is_the_largest_that_fits(peak: Callable[[int], int], known: int) -> None:
    for room in sorted({peak(n) + d for n in (1, 2, 7, 169, 170, MOST) for d in (-1, 0, 1)}):
        wanted = max((n for n in range(1, MOST + 1) if peak(n) <= room), default=0)
        assert largest(peak, room, MOST, {known: peak(known)}) == wanted


def test_few_numbers_are_tried() -> None:
    tried = []

    def peak(number: int) -> int:
        tried.append(number)
        return 10**9 + 12_345 * number

    assert largest(peak, 10**9 + 12_345 * 1_000_003, 10**8, {5: peak(5)}) == 1_000_003
    assert len(tried) < 12


def test_another_pass_has_as_large_a_share_of_labelled_tokens() -> None:
    before = Setting(rows=4, length=100, trained=100)
    assert resized(before, rows=1).trained == 25
    assert resized(before, length=200).trained == 200
    assert resized(Setting(rows=4, length=100), rows=2).trained is None


def test_fewer_rows_than_a_pass_has_are_a_step_of_one_pass() -> None:
    setting = Setting(rows=4, passes=8)
    assert resized(setting, rows=3).passes == 1
    assert resized(setting, rows=5).passes == resized(setting, length=64).passes == 8
