"""The benchmark of weights runs at a tiny size, and says of each row what is to be reached."""

from __future__ import annotations

import pytest

from tests.benchmarks import weights


@pytest.mark.parametrize("name", weights.ROWS)
def test_each_row_compares_both_sides_and_says_what_is_to_be_reached(name: str) -> None:
    found = weights.measured(name, 2, tiny=True)
    assert found.startswith(f"{name}: ours ")
    assert "to reach: " in found
    assert ("times as fast" in found) == (name in weights.SPEED)
    assert ("ours changed no bit of the base" in found) == (name in weights.SHARE)


def test_a_share_of_the_peers_time_is_reached_from_below_and_a_speed_from_above() -> None:
    found = {"ours": [1.0, 2.0, 3.0], "peer": [200.0, 400.0, 600.0], "sums": [1.0, 1.0, 1.0]}
    assert "≥ 120 (200, reached)" in weights.told("blend-640", found)
    assert "≥ 5,000 (200, MISSED)" in weights.told("spectrum-4096", found)
    assert "≤ 0.7 (0.01, reached)" in weights.told("merge-fp32", found)
    swapped = {**found, "ours": found["peer"], "peer": found["ours"]}
    assert "≤ 0.5 (200.00, MISSED)" in weights.told("merge-bf16", swapped)
