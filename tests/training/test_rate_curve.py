"""A search for a learning rate: the rate where the loss falls fastest, and what it says."""

from __future__ import annotations

import math

import pytest

from lora_magic.training.rate_curve import RateCurve, smoothed, steepest

RATES = [10 ** (-5 + 4 * step / 59) for step in range(60)]


def falling(middle: float, width: float = 0.15, diverges: float = 0.5) -> list[float]:
    """A loss that falls from 3 to 1 around a rate, steepest there, and then explodes."""
    losses = []
    for rate in RATES:
        far = (math.log10(rate) - math.log10(middle)) / width
        losses.append(1 + 2 / (1 + math.exp(far)) + (rate / diverges) ** 3)
    return losses


@pytest.mark.parametrize("middle", [1e-4, 1e-3, 5e-3])
def test_it_is_where_the_loss_falls_fastest(middle: float) -> None:
    found = steepest(RATES, falling(middle))
    assert found is not None
    # Between two steps the rate rises by a sixth.
    assert abs(math.log10(found / middle)) < 0.08


def test_a_steeper_fall_after_the_divergence_does_not_count() -> None:
    losses = [*falling(1e-4)[:40], *[9.0] * 10, *[1.2] * 10]
    found = steepest(RATES, losses)
    assert found is not None
    assert abs(math.log10(found / 1e-4)) < 0.08


@pytest.mark.parametrize(
    "losses", [[], [3.0], [3.0] * 60, [3.0 + step for step in range(60)], [3.0, 2.99] * 30]
)
def test_where_the_loss_never_falls_no_rate_is_named(losses: list[float]) -> None:
    curve = RateCurve.of("pirate", RATES, losses)
    assert curve.rate is None
    assert "--lr" not in curve.line


def test_smoothing_keeps_a_constant_and_the_middle_of_a_line() -> None:
    assert smoothed([2.0] * 9) == [2.0] * 9
    assert smoothed([float(x) for x in range(20)])[3:-3] == list(range(3, 17))


def test_the_line_names_the_rate_and_what_to_type() -> None:
    curve = RateCurve.of("pirate", RATES, falling(1e-3))
    assert f"{curve.rate:g}; nothing was changed. Run the cell again with --lr" in curve.line
    assert repr(curve) == curve.line
    assert str(curve._repr_mimebundle_()["text/plain"]) == curve.line
    assert len(str(curve._repr_mimebundle_()["text/html"])) < 20_000
    frame = curve.to_frame()
    assert list(frame.columns) == ["rate", "loss"]
    assert frame["rate"].tolist() == RATES
