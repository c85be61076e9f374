"""Models of the papers' own sizes, on the meta device: shapes and no numbers."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    DebertaV2Config,
    GPT2Config,
    LlamaConfig,
    OPTConfig,
    RobertaConfig,
)

from lora_magic.adapters.build import build
from lora_magic.adapters.slots import Slots
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.task import CAUSAL, Task


def _roberta(width: int, layers: int, heads: int) -> RobertaConfig:
    return RobertaConfig(
        vocab_size=50265,
        max_position_embeddings=514,
        type_vocab_size=1,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )


def _gpt2(width: int, layers: int, heads: int, positions: int = 1024) -> GPT2Config:
    return GPT2Config(n_embd=width, n_layer=layers, n_head=heads, n_positions=positions)


#: GPT-2's code has q, k and v in one matrix; OPT's, of the same shape otherwise, has them apart.
CONFIGS: dict[str, Any] = {
    "RoBERTa-base": lambda: _roberta(768, 12, 12),
    "RoBERTa-large": lambda: _roberta(1024, 24, 16),
    "DeBERTa-XXL": lambda: DebertaV2Config(
        vocab_size=128100,
        hidden_size=1536,
        num_hidden_layers=48,
        num_attention_heads=24,
        intermediate_size=6144,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=256,
        share_att_key=True,
        pos_att_type=["p2c", "c2p"],
        conv_kernel_size=3,
    ),
    "GPT-2 medium": lambda: _gpt2(1024, 24, 16),
    "GPT-2 large": lambda: _gpt2(1280, 36, 20),
    "GPT-3 175B": lambda: _gpt2(12288, 96, 96, positions=2048),
    "GPT-3 175B, q k v apart": lambda: OPTConfig(
        vocab_size=50257,
        hidden_size=12288,
        word_embed_proj_dim=12288,
        num_hidden_layers=96,
        num_attention_heads=96,
        ffn_dim=4 * 12288,
        max_position_embeddings=2048,
    ),
    "one layer of 4096": lambda: OPTConfig(
        vocab_size=50257,
        hidden_size=4096,
        word_embed_proj_dim=4096,
        num_hidden_layers=1,
        num_attention_heads=32,
        ffn_dim=4 * 4096,
    ),
    "Llama-3-70B": lambda: LlamaConfig(
        vocab_size=128256,
        hidden_size=8192,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        intermediate_size=28672,
        tie_word_embeddings=False,
    ),
}


@cache
def published(name: str) -> nn.Module:
    """The model of that name; made once, and never written to."""
    config = CONFIGS[name]()
    masked = isinstance(config, RobertaConfig | DebertaV2Config)
    kind = AutoModelForMaskedLM if masked else AutoModelForCausalLM
    with torch.device("meta"):
        model = kind.from_config(config)
    assert isinstance(model, nn.Module)
    return model.requires_grad_(False).eval()


def base_parameters(model: nn.Module) -> int:
    """By torch's own list, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def built_parameters(model: nn.Module, spec: AdapterSpec) -> int:
    """The sizes of the tensors that attaching makes on the meta device, each counted once."""
    task = Task("classification") if "MaskedLM" in type(model).__name__ else CAUSAL
    base: Any = SimpleNamespace(model=model, task=task, context=2048)
    slots = Slots(model)
    with torch.device("meta"):
        made = build(base, slots, spec)
    known = {id(parameter) for parameter in model.parameters()}
    own = {
        id(parameter): parameter.numel()
        for module in made.replacements.values()
        for name, parameter in module.named_parameters()
        # PEFT's AdaLoRA keeps a count of ranks as a parameter that is never trained.
        if id(parameter) not in known and not name.startswith("ranknum")
    }
    assert slots.foreign_paths() == []
    return sum(own.values())
