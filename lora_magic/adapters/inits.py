"""Initialisations of A and B that read W0: PiSSA, OLoRA and LoftQ.

PiSSA and OLoRA train on top of the residual of W0: y = W_res·x + s·B·A·x with W_res = W0 − s·B₀·A₀.
The base is never changed here: s·B₀·A₀·x is subtracted from its output instead. LoftQ corrects the
quantisation error of W0, so nothing is subtracted.

Knows linear layers and PEFT's factors; knows no adapter and no session.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.base.model import BaseModel
from lora_magic.base.quantise import quantised_bits
from lora_magic.errors import AdapterError
from lora_magic.lowrank.approximation import residual_factors
from lora_magic.lowrank.factors import LowRank

from .delta import PEFT_NAME, factors_of, outputs_first, scaling_of, start
from .slots import AdapterLayer, Slots


def init_from_weights(base: BaseModel, slots: Slots, init: str, path: str, layer: Any) -> None:
    """Initialise A and B from W0; PiSSA's and OLoRA's product is subtracted from the base.

    Raises `AdapterError` for LoftQ on a module that is not quantised.
    """
    original = slots.original(path)
    first = _first_factors(base, original, init, path, int(layer.r[PEFT_NAME]), scaling_of(layer))
    down, up = factors_of(layer)
    with torch.no_grad():
        down.copy_(first.down)
        up.copy_(first.up)
    if init != "loftq":
        subtract_init(layer, original, LowRank(down, up, first.scale))


def _first_factors(
    base: BaseModel, original: nn.Module, init: str, path: str, rank: int, scaling: float
) -> LowRank:
    if init == "loftq":
        if quantised_bits(original) is None:
            raise AdapterError(
                f"--init loftq starts from the quantisation error of the weights, and {path} is "
                "not quantised; type: %lora load MODEL --bits 4, or omit --init."
            )
        return LowRank(
            *residual_factors(base.stored_weight(path), start(original), rank, scaling), scaling
        )
    weight = outputs_first(original, start(original))
    init_of = principal if init == "pissa" else orthonormal
    return init_of(weight, rank, scaling)


class Residual(AdapterLayer):
    """y = W0·x − s·B₀·A₀·x: the base's layer minus the initialisation of an adapter.

    `init` is s·B₀·A₀, frozen: A₀ [r, k], B₀ [d, r]. The output is in the factors' number format:
    the adapter adds s·B·A·x to it, and the sum is rounded only once (`subtract_init`).
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
