"""PiSSA's and OLoRA's initialisation, on a base that is never changed.

Both initialise A and B from W0 and train beside the rest: y = W_res·x + s·B·A·x with
W_res = W0 − s·B₀·A₀. Here W0 is unchanged: s·B₀·A₀·x is subtracted from its output instead.

Knows linear layers; knows no PEFT, no adapter and no session.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.lowrank.factors import LowRank

from .adapter_layer import AdapterLayer


class Residual(AdapterLayer):
    """y = W0·x − s·B₀·A₀·x: the base's layer minus the initialisation of an adapter.

    `init` is s·B₀·A₀, frozen: A₀ [r, k], B₀ [d, r]. The output is in the factors' number format:
    the adapter adds s·B·A·x to it, and only then is the sum rounded, once (`subtract_init`).
    """

    down: Tensor
    up: Tensor

    def __init__(self, original: nn.Module, init: LowRank) -> None:
        super().__init__(original)
        self.scale = init.scale
        self.narrow = init.down.dtype
        self.register_buffer("down", init.down.detach().clone(), persistent=False)
        self.register_buffer("up", init.up.detach().clone(), persistent=False)

    @property
    def negated(self) -> LowRank:
        """−s·B₀·A₀, what this layer adds to W0."""
        return LowRank(self.down, self.up, -self.scale)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Outputs [..., d] for inputs [..., k]."""
        y: Tensor = self.base_layer(x, *args, **kwargs)
        self.narrow = y.dtype
        init = self.scale * ((x.to(self.down.dtype) @ self.down.mT) @ self.up.mT)
        return y.to(self.down.dtype) - init


def subtract_init(layer: Any, original: nn.Module, init: LowRank) -> None:
    """Subtract an initialisation from the base under a LoRA layer.

    The layer's sum is cast to the number format of the base's output at the very end: if the parts
    were rounded too, every layer in bfloat16 would start one rounding away from the base.
    """
    below = Residual(original, init)
    layer.base_layer = below
    layer.register_forward_hook(lambda _, inputs, y: y.to(below.narrow))


def principal(weight: Tensor, rank: int, scaling: float) -> LowRank:
    """PiSSA (Meng et al. 2024, arXiv 2404.02948): the r largest directions of W0 [d, k].

    B₀ = U√(Σ/s), A₀ = √(Σ/s)·Vᵀ, hence s·B₀·A₀ is W0's best approximation of rank r. float32.
    """
    u, sigma, vh = torch.linalg.svd(weight.double(), full_matrices=False)
    root = (sigma[:rank] / scaling).sqrt()
    return LowRank((root[:, None] * vh[:rank]).float(), (u[:, :rank] * root).float(), scaling)


def orthonormal(weight: Tensor, rank: int, scaling: float) -> LowRank:
    """OLoRA (Büyükakyüz 2024, arXiv 2406.01775): B₀ the first r columns of Q, A₀ the first r rows
    of R, for W0 = Q·R [d, k]. float32."""
    q, r = torch.linalg.qr(weight.double())
    return LowRank(r[:rank].float(), q[:, :rank].float(), scaling)
