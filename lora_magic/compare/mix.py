"""One answer of several adapters: their next-token probabilities, averaged with weights.

    p(v) = Σₘ wₘ·softmax(zₘ)(v),  Σ wₘ = 1

An ensemble of outputs. It is not the model with the averaged weights, which `swap a=0.5,b=0.5`
activates: there one forward pass gives one distribution, here each member gives its own. All
members continue with the same token, so they are rows of one batch. Knows variants and logits;
knows no session and no tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .stack import Variant


@dataclass(frozen=True, eq=False)
class Mix:
    """Variants with weights above 0 whose sum is 1; `name` is that of the pane or answer."""

    name: str
    members: tuple[tuple[Variant, float], ...]

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The members without their weights."""
        return tuple(variant for variant, _ in self.members)

    @property
    def weights(self) -> tuple[float, ...]:
        """The members' weights."""
        return tuple(weight for _, weight in self.members)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """What ends an answer: the end tokens of all members."""
        return tuple(dict.fromkeys(i for one in self.variants for i in one.form.stop_ids))


class Mixed(NamedTuple):
    """The rows of a batch that are a mix: all from `start`, in one block for each weight."""

    start: int
    weights: tuple[float, ...]

    def applied(self, scores: Tensor) -> Tensor:
        """Scores [N, V] in which each member's row has the logarithm of the mixture.

        A single member keeps its logits, which differ from those only by a constant.
        """
        if len(self.weights) == 1:
            return scores
        own = scores[self.start :].reshape(len(self.weights), -1, scores.shape[-1])
        # In float64, where there is one: rounded logarithms could be equal, and argmax then wrong.
        wide = own if own.device.type == "mps" else own.double()
        mixture = log_probabilities(wide, self.weights).to(scores.dtype)
        return torch.cat([scores[: self.start], *[mixture] * len(self.weights)])


def log_probabilities(logits: Tensor, weights: Sequence[float]) -> Tensor:
    """ln Σₘ wₘ·softmax(zₘ) [..., V], in nats, for logits z [m, ..., V] and weights of sum 1.

    Computed in the logits' number format, at least float32, as a sum of exponentials that cannot
    overflow. A NaN of one member is one of the mixture.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return _averaged(wide.log_softmax(-1), weights)


def average(values: Sequence[Sequence[float]], weights: Sequence[float]) -> tuple[float, ...]:
    """ln Σₘ wₘ·exp(values[m][t]) for each t: of tokens' log-probabilities, those of the mixture."""
    return tuple(_averaged(torch.tensor(values, dtype=torch.float64), weights).tolist())


def _averaged(logarithms: Tensor, weights: Sequence[float]) -> Tensor:
    shares = torch.tensor(weights, dtype=logarithms.dtype, device=logarithms.device).log()
    return (logarithms + shares.view(-1, *[1] * (logarithms.dim() - 1))).logsumexp(0)
