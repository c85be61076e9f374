"""What the tests of adapters share: bases in memory, adapters of every method, numbers in them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.adapters import attach
from lora_magic.adapters.live_adapter import LiveAdapter
from lora_magic.adapters.slots import Slots
from lora_magic.base.load import use
from lora_magic.base.model import BaseModel
from lora_magic.state.resolve import resolve_spec
from tests.tiny import tiny_model, tiny_tokenizer

#: Every method and variant that a base in 32 bits can carry, as the flags of `attach`.
VARIANTS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 2},
    "rslora": {"rank": 4, "rslora": True},
    "dora": {"rank": 2, "dora": True},
    "gaussian": {"rank": 2, "init": "gaussian"},
    "pissa": {"rank": 3, "init": "pissa"},
    "olora": {"rank": 3, "init": "olora", "rslora": True},
    "eva": {"rank": 2, "init": "eva"},
    "bias": {"rank": 2, "bias": "all"},
    "lora_only": {"rank": 2, "bias": "lora_only"},
    "dora and bias": {"rank": 2, "dora": True, "bias": "all"},
    "norms": {"rank": 2, "norms": True},
    "bias and norms": {"rank": 2, "bias": "all", "norms": True},
    "adalora": {"method": "adalora", "rank": 2},
    "ia3": {"method": "ia3"},
    "prefix": {"method": "prefix", "virtual_tokens": 3},
    "prompt": {"method": "prompt", "virtual_tokens": 3},
    "houlsby": {"method": "houlsby", "rank": 3},
    "adapter-l": {"method": "adapter-l", "rank": 3},
    "bitfit": {"method": "bitfit"},
    "full": {"method": "full"},
}

#: Variants that need biases in the base.
BIASED = ("bias", "lora_only", "dora and bias", "bias and norms", "bitfit")


def based(architecture: str = "llama", **changes: Any) -> tuple[BaseModel, Slots]:
    """A tiny model as a base; what is a bias or a norm in it is neither 0 nor 1."""
    model = tiny_model(architecture, **changes)
    uneven(model)
    base = use(model, tiny_tokenizer())
    return base, Slots(base.model)


def uneven(model: nn.Module) -> None:
    """Vectors drawn from a seed in the place of the zeros and ones that a new model has."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def made(base: BaseModel, slots: Slots, name: str = "one", **flags: Any) -> LiveAdapter:
    """An adapter by the flags of `attach`."""
    return attach.create(base, slots, name, resolve_spec(name, base.recipe, flags))


def moved(attached: LiveAdapter, size: float = 0.05, seed: int = 0) -> LiveAdapter:
    """The same adapter with noise on all of its tensors: trained, as far as numbers go."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, tensor in attached.tensors():
            tensor.add_((torch.randn(tensor.shape, generator=generator) * size).to(tensor.dtype))
    return attached


def answer(base: BaseModel, slots: Slots, attached: LiveAdapter | None = None) -> Tensor:
    """Logits on a fixed text, under an adapter or bare."""
    with slots.using({} if attached is None else attached.replacements), torch.no_grad():
        found: Tensor = base.model(input_ids=torch.arange(10, 26)[None]).logits
    return found
