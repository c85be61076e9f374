"""The plan of a run: shape, schedule, optimizers.

Knows transformers' Llama and torch's Muon; knows no data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from lora_magic.demo.factory import vocabulary


@dataclass(frozen=True)
class Plan:
    """Everything that decides the weights. Rates are per step, lengths in tokens.

    The learning rate rises over `warmup` steps, stays at `rate` until the share `steady` of all
    steps, then falls linearly to `rate`/50. Muon's rate is `muon` times as large. `judged` is the
    number of validation prompts.
    """

    steps: int = 18_500
    seed: int = 0
    hidden: int = 192
    layers: int = 4
    heads: int = 6
    inner: int = 512
    rows: int = 8
    length: int = 256
    rate: float = 3e-3
    muon: float = 4.0
    warmup: int = 60
    steady: float = 0.4
    shard_steps: int = 250
    judged: int = 400

    def factor(self, step: int) -> float:
        """The learning rate at a step (from 0), as a share of `rate`."""
        done = step / self.steps
        falling = 1.0 if done < self.steady else (1 - done) / (1 - self.steady)
        return min(1.0, (step + 1) / self.warmup) * max(0.02, falling)


@dataclass(frozen=True)
class Point:
    """One measurement of a run: its step, tokens, loss, validation score and seconds."""

    step: int
    tokens: int
    loss: float
    right: float
    ended: float
    seconds: float = 0.0


SIZES = {
    "shipped": Plan(),
    # For a GPU: 30 million parameters, 13 times the tokens.
    "larger": Plan(steps=40_000, hidden=512, layers=9, heads=8, inner=1408, rows=48, rate=2e-3),
}


def build(plan: Plan) -> LlamaForCausalLM:
    """A new model of the plan's shape, with tied embeddings."""
    torch.manual_seed(plan.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary.SIZE,
            hidden_size=plan.hidden,
            num_hidden_layers=plan.layers,
            num_attention_heads=plan.heads,
            num_key_value_heads=plan.heads,
            intermediate_size=plan.inner,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=vocabulary.END_ID,
            pad_token_id=vocabulary.PAD_ID,
            attn_implementation="sdpa",
        )
    )


def optimizers(model: nn.Module, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon over the layers' matrices, AdamW over embeddings and norms."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in named if not (p.ndim == 2 and "embed" not in name)]
    return [
        torch.optim.Muon(
            matrices,
            lr=plan.rate * plan.muon,
            weight_decay=0.05,
            momentum=0.95,
            adjust_lr_fn="original",
        ),
        torch.optim.AdamW(others, lr=plan.rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]
