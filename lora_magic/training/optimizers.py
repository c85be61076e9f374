"""The optimizer of a run: AdamW or its paged kinds, and LoRA+'s two rates.

Knows parameters by their names; knows no model, no rows and no Trainer.

AdamW, arXiv 1711.05101, here without weight decay: betas 0.9 and 0.999, ε 1e-8. The paged kinds
(QLoRA, arXiv 2305.14314, section 3) let the moments move to the host's memory when the GPU's runs
out; the 8-bit kind stores them in a quarter of the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lora_magic.base import quantise
from lora_magic.errors import CommandError, listed

from .spec import OPTIMIZERS, TrainSpec

#: LoRA's factor that starts at zero: B of a linear layer, A of an embedding (the roles swap).
_ZERO = ("lora_B", "lora_embedding_A")
_RANDOM = ("lora_A", "lora_embedding_B")

Named = Sequence[tuple[str, nn.Parameter]]


def groups(named: Named, spec: TrainSpec) -> list[dict[str, Any]]:
    """Parameters and their learning rates, as torch's parameter groups.

    With LoRA+ (arXiv 2402.12354, section 4) B, which starts at zero, learns at λ·lr and all else at
    lr: in wide models A and B do not learn equally well at one rate. `named` are the trainable
    parameters with their names in the model.

    Raises `CommandError` for LoRA+ without a pair of A and B.
    """
    rate, ratio = spec.learning_rate, spec.lora_plus
    if ratio is None:
        return [{"params": [parameter for _, parameter in named], "lr": rate}]
    fast = [p for name, p in named if _has_part(name, _ZERO)]
    slow = [p for name, p in named if not _has_part(name, _ZERO)]
    if not fast or not any(_has_part(name, _RANDOM) for name, _ in named):
        # PEFT calls every adapter "default"; the user did not type that.
        plain = [name.removesuffix(".default") for name, _ in named]
        kinds = dict.fromkeys(".".join(name.split(".")[-2:]) for name in plain)
        raise CommandError(
            f"--lora-plus {ratio:g} needs LoRA's A and B, but the adapter trains only "
            f"{listed(kinds, 4)}; omit the flag, or attach with --method lora."
        )
    return [{"params": slow, "lr": rate}, {"params": fast, "lr": rate * ratio}]


def make(groups: list[dict[str, Any]], spec: TrainSpec) -> torch.optim.Optimizer:
    """The spec's optimizer over groups of parameters, without weight decay."""
    if spec.optimizer == OPTIMIZERS[0]:
        on_cpu = all(p.device.type == "cpu" for group in groups for p in group["params"])
        # On a CPU torch takes AdamW's step tensor by tensor and operation by operation otherwise.
        fused = True if on_cpu and not spec.plain_step else None
        return torch.optim.AdamW(groups, lr=spec.learning_rate, weight_decay=0.0, fused=fused)
    bits = 8 if spec.optimizer.endswith("8bit") else 32
    return quantise.paged_adamw(groups, spec.learning_rate, bits)


def _has_part(name: str, parts: Sequence[str]) -> bool:
    return any(part in name.split(".") for part in parts)
