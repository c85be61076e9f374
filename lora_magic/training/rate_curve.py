"""The loss while the learning rate rises step by step, and the rate that it suggests.

Knows numbers; knows no model, no run and no adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lora_magic.frames import frame
from lora_magic.printable import one_line

#: Neighbours on each side in the mean that smooths the losses: dropout makes them noisy.
_NEIGHBOURS = 3
#: The smoothed loss must fall by this share; less is noise.
_LEAST_FALL = 0.02
#: A loss this many times the lowest one so far ends the search.
DIVERGED = 4.0


@dataclass(frozen=True)
class RateCurve:
    """The losses of the steps of a learning-rate search; it changed nothing.

    `rates[i]` is the rate of step i and `losses[i]` the loss before that step, in nats per trained
    token. `rate` is where the smoothed loss falls fastest before it diverges (Smith 2015,
    arXiv 1506.01186, as fastai suggests it), with two digits; None if it never falls.
    """

    adapter: str
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    rate: float | None

    @classmethod
    def of(cls, adapter: str, rates: Sequence[float], losses: Sequence[float]) -> RateCurve:
        """The curve of these losses; `rates` may be longer."""
        found = steepest(rates, losses)
        return cls(adapter, tuple(rates[: len(losses)]), tuple(losses), found)

    @property
    def line(self) -> str:
        """The rate, and what to type.

        >>> curve.line  # doctest: +SKIP
        'pirate: over 60 steps from lr 4e-05 to 0.4 the loss falls fastest at 3.2e-3; nothing was
        changed. Run the cell again with --lr 3.2e-3'
        """
        steps = f"{len(self.losses)} step{'s' * (len(self.losses) != 1)}"
        head = f"{self.adapter}: over {steps}"
        if self.rates:
            head += f" from lr {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        if self.rate is None:
            return f"{head} the loss never falls by {_LEAST_FALL:.0%}; nothing was changed."
        return (
            f"{head} the loss falls fastest at {self.rate:g}; nothing was changed. "
            f"Run the cell again with --lr {self.rate:g}"
        )

    def __repr__(self) -> str:
        return one_line(self.line)

    def to_frame(self) -> Any:
        """A pandas DataFrame with columns rate and loss, one row per step."""
        return frame(zip(self.rates, self.losses, strict=True), ("rate", "loss"))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views.training import rate_bundle

        return rate_bundle(self)


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate at which the smoothed loss falls fastest before its lowest value, or None."""
    mean = smoothed(losses)
    if not mean:
        return None
    lowest = mean.index(min(mean))
    if mean[lowest] > (1 - _LEAST_FALL) * mean[0]:
        return None
    falls = {at: mean[at + 1] - mean[max(at - 1, 0)] for at in range(lowest)}
    return float(f"{rates[min(falls, key=lambda at: falls[at])]:.2g}")


def smoothed(losses: Sequence[float]) -> list[float]:
    """Each loss's mean with its neighbours, three on each side, fewer at both ends."""
    means = []
    for at in range(len(losses)):
        some = losses[max(0, at - _NEIGHBOURS) : at + _NEIGHBOURS + 1]
        means.append(sum(some) / len(some))
    return means
