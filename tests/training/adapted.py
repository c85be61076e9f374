"""A tiny model with a hand-made LoRA in it, and what a run does to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from lora_magic.base.prompt import PromptForm
from lora_magic.data.row import Row
from lora_magic.training.encode import Encoded, encode
from tests.tiny import tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer(chat=True)
FORM = PromptForm.of(TOKENIZER)

#: Of very different lengths, so that a mean over tokens is no mean over rows or passes.
ROWS = tuple(
    Row(f"What is {number}?", "It is " + "arr, " * (1 + 3 * number) + "matey!")
    for number in range(7)
)

TARGETS = {
    "gpt2": ["c_attn"],
    "gpt_neox": ["query_key_value"],
}


def adapted(architecture: str = "llama", dropout: float = 0.0, **changes: Any) -> nn.Module:
    """In eval mode, its base frozen, its adapter drawn from a seed and wanting a gradient."""
    model = tiny_model(architecture, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        config = LoraConfig(
            r=2,
            target_modules=TARGETS.get(architecture, ["q_proj", "v_proj"]),
            lora_dropout=dropout,
            fan_in_fan_out=architecture == "gpt2",
        )
        inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    return model.eval()


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def encoded(rows: Sequence[Row] = ROWS, max_length: int = 128) -> Encoded:
    return encode(rows, TOKENIZER, FORM, max_length)
