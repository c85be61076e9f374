"""The optimizer of a run: AdamW or its paged kinds, and LoRA+'s two rates.

Knows parameters by their names; knows no model, no rows and no Trainer.

AdamW, arXiv 1711.05101, here without weight decay: betas 0.9 and 0.999, ε 1e-8. The paged kinds
(QLoRA, arXiv 2305.14314, section 3) let the moments move to the host's memory when a GPU's runs
out; the one in 8 bits keeps them in a quarter of the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lora_magic.base import quantise
from lora_magic.errors import CommandError, listed

from .spec import OPTIMIZERS, TrainSpec

#: What begins at zero in LoRA: B of a linear layer; of an embedding it is A (the roles swap).
_FROM_ZERO = ("lora_B", "lora_embedding_A")
_DRAWN = ("lora_A", "lora_embedding_B")

Named = Sequence[tuple[str, nn.Parameter]]


def groups(named: Named, spec: TrainSpec) -> list[dict[str, Any]]:
    """Parameters and their learning rates, in torch's form of groups.

    With LoRA+ (arXiv 2402.12354, section 4) what begins at zero, B, learns at λ·lr and all else at
    lr: in wide models A and B do not learn equally well at one rate. `named` are the trainable
    parameters with their names in the model, which hold lora_A and lora_B.

    Raises `CommandError` when there is no pair of A and B to part.
    """
    rate, ratio = spec.learning_rate, spec.lora_plus
    if ratio is None:
        return [{"params": [parameter for _, parameter in named], "lr": rate}]
    fast = [p for name, p in named if _is_one_of(_FROM_ZERO, name)]
    slow = [p for name, p in named if not _is_one_of(_FROM_ZERO, name)]
    if not fast or not any(_is_one_of(_DRAWN, name) for name, _ in named):
        # PEFT calls every adapter so; nobody typed it.
        plain = [name.removesuffix(".default") for name, _ in named]
        kinds = dict.fromkeys(".".join(name.split(".")[-2:]) for name in plain)
        raise CommandError(
            f"--lora-plus {ratio:g}: it gives LoRA's B another rate than its A, and here is no "
            f"such pair to train (only {listed(kinds, 4)}); leave it away, or attach with "
            "--method lora."
        )
    return [{"params": slow, "lr": rate}, {"params": fast, "lr": rate * ratio}]


def make(parted: list[dict[str, Any]], spec: TrainSpec) -> torch.optim.Optimizer:
    """The spec's optimizer over groups of parameters, without weight decay."""
    if spec.optimizer == OPTIMIZERS[0]:
        return torch.optim.AdamW(parted, lr=spec.learning_rate, weight_decay=0.0)
    bits = 8 if spec.optimizer.endswith("8bit") else 32
    return quantise.paged_adamw(parted, spec.learning_rate, bits)


def _is_one_of(kinds: Sequence[str], name: str) -> bool:
    return any(kind in name.split(".") for kind in kinds)
