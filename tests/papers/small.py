"""Adapters on small models, one at a time, and a text to take a loss on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.adapters import attach
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.slots import Slots
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.load import use
from lora_magic.base.model import BaseModel
from tests.tiny import tiny_model, tiny_tokenizer

IDS = torch.arange(10, 42).reshape(2, 16)


class Bench:
    """A small base, its slots, and one adapter on it."""

    def __init__(self, architecture: str = "llama", *, model: Any = None, **changes: Any) -> None:
        self.base: BaseModel = use(model or tiny_model(architecture, **changes), tiny_tokenizer())
        self.model: Any = self.base.model
        self.slots = Slots(self.model)

    def attach(self, **fields: Any) -> LiveAdapter:
        """LoRA of rank 4, α 8 on q_proj unless told otherwise."""
        usual = {"rank": 4, "alpha": 8.0, "targets": "q_proj"} if "method" not in fields else {}
        spec = AdapterSpec(**{**usual, "seed": 5, **fields})
        return attach.create(self.base, self.slots, "one", spec)

    def loss(self, attached: LiveAdapter | None = None) -> Tensor:
        """The mean loss on a fixed text, with an adapter in force or without."""
        with self.slots.using(attached.replacements if attached else {}):
            return self._loss()

    def _loss(self) -> Tensor:
        # In the model's own format: transformers takes it in float32.
        logits = self.model(input_ids=IDS).logits
        return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())

    def logits(self, attached: LiveAdapter | None = None) -> Tensor:
        """The logits on the same text."""
        with torch.no_grad(), self.slots.using(attached.replacements if attached else {}):
            found: Tensor = self.model(input_ids=IDS).logits
        return found

    def gradients(self, attached: LiveAdapter) -> dict[str, Tensor]:
        """∂L/∂θ of every tensor of the adapter, by name; a tensor that got none is missing."""
        with attached.trainable(), self.slots.using(attached.replacements):
            self._loss().backward()
            found = {n: t.grad.clone() for n, t in attached.tensors() if t.grad is not None}
            reached = [n for n, p in _own(self.model, attached) if p.grad is not None]
            assert reached == [], "a gradient reached the base"
        return found

    def dense_gradient(self, path: str) -> Tensor:
        """∂L/∂W0 of the base itself, [d, k] for a linear layer."""
        weight: nn.Parameter = self.model.get_submodule(path).weight
        weight.requires_grad_(True)
        (found,) = torch.autograd.grad(self.loss(), [weight])
        weight.requires_grad_(False)
        return found


def _own(model: nn.Module, attached: LiveAdapter) -> list[tuple[str, nn.Parameter]]:
    theirs = {id(tensor) for _, tensor in attached.tensors()}
    return [(name, p) for name, p in model.named_parameters() if id(p) not in theirs]


def fill(attached: LiveAdapter, size: float = 0.1, seed: int = 1) -> None:
    """Draw every tensor of an adapter anew, B and the like too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, tensor in attached.tensors():
            tensor.copy_(size * torch.randn(tensor.shape, generator=generator))


def factors(layer: Any) -> tuple[Tensor, Tensor, float]:
    """A, B and s of PEFT's layer, float64."""
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    return a.detach().double(), b.detach().double(), float(layer.scaling["default"])
