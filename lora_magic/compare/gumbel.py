"""Sampling that can be compared: one draw of noise a position, shared by all rows.

Knows logits; knows no model and no text.
"""

from __future__ import annotations

import torch
from torch import Tensor


class SharedGumbel:
    """Adds temperature · g to logits [N, V], with one Gumbel vector g [V] for all N rows.

    argmax(z/T + g) is an exact draw from softmax(z/T) when g = −ln(−ln u), u uniform (the Gumbel
    trick; Maddison et al. 2014, "A* sampling", section 2). With the same g in every row, and the
    same sequence of g for a seed, rows with equal logits draw equal tokens: what differs between
    two answers comes from the models, not from luck. The global random state is never read.

    Called by transformers as a logits processor, once a position.
    """

    def __init__(self, temperature: float, seed: int) -> None:
        self.temperature = temperature
        # On the CPU, so that a seed means the same on every device.
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [N, V] whose argmax is the draw."""
        # In float64: among 2^24 values of fp32 a zero would come up once in a few hundred
        # positions of a large vocabulary, and with it a token that nobody would have drawn.
        uniform = torch.rand(scores.shape[-1], generator=self._generator, dtype=torch.float64)
        noise = -uniform.clamp_min(torch.finfo(torch.float64).tiny).log().neg().log()
        # Logits + T·g, not logits/T + g: the same argmax, and a tiny T cannot overflow.
        return scores + (self.temperature * noise).to(scores)
