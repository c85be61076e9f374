"""What adapters change, computed by their methods' formulas in float64 from the tensors alone.

Knows the tensors' names and the specs; uses nothing of the code that combines adapters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lora_magic.state.session import Session
from tests.tiny import tiny_model

Deltas = dict[str, Tensor]


def randomise(session: Session, name: str, size: float, seed: int) -> None:
    """Move every tensor of an adapter, so that nothing of it is at its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, tensor in session._state.attached[name].tensors():
            tensor.add_(torch.randn(tensor.shape, generator=generator) * size)


def tensors(session: Session, name: str) -> Deltas:
    """An adapter's tensors by `path.part`, in float64."""
    return {k: t.detach().double() for k, t in session._state.attached[name].tensors()}


def lora(session: Session, name: str) -> Deltas:
    """s·B·A of each module [d, k]: s = α/r, or α/√r with rsLoRA, by module where patterns say so.

    By hand: the pattern of a module is the one whose name its path ends with.
    """
    spec, held = session.adapters[name].spec, tensors(session, name)
    found = {}
    for key, down in held.items():
        path, part, _ = key.partition(".lora_")
        if not key.split(".lora_")[-1].split(".")[0].endswith("A"):
            continue
        up = held[key.replace("lora_A", "lora_B").replace("embedding_A", "embedding_B")]
        assert part
        alpha = dict(spec.alpha_pattern).get(_ending(path, spec.alpha_pattern), spec.alpha)
        rank = dict(spec.rank_pattern).get(_ending(path, spec.rank_pattern), spec.rank)
        assert down.shape[0] == rank
        found[path] = alpha / (math.sqrt(rank) if spec.rslora else rank) * (up @ down)
    return found


def _ending(path: str, pattern: Any) -> str:
    return next((name for name, _ in pattern if path == name or path.endswith("." + name)), "")


def weighted(parts: list[tuple[float, Deltas]]) -> Deltas:
    """Σ w·Δ over the adapters that change a module or parameter."""
    total: Deltas = {}
    for weight, deltas in parts:
        for path, delta in deltas.items():
            total[path] = total.get(path, torch.zeros_like(delta)) + weight * delta
    return total


def is_transposed(module: nn.Module) -> bool:
    return isinstance(module, nn.Embedding) or type(module).__name__ == "Conv1D"


def changed(model: Any, deltas: Mapping[str, Tensor], others: Mapping[str, Tensor] = {}) -> Tensor:
    """Logits on the fixed text of a model with W = W0 + ΔW written into it, and other parameters.

    What is tied in the base is parted: ΔW belongs to one module.
    """
    with torch.no_grad():
        for path, delta in deltas.items():
            module: Any = model.get_submodule(path)
            delta = delta.mT if is_transposed(module) else delta
            value = (module.weight.double() + delta).to(module.weight.dtype)
            module.weight = nn.Parameter(value, requires_grad=False)
        for name, delta in others.items():
            parameter = model.get_parameter(name)
            parameter.copy_((parameter.double() + delta).to(parameter.dtype))
        found: Tensor = model(input_ids=torch.arange(10, 26)[None]).logits
    return found


def base(architecture: str) -> Any:
    """A tiny model whose biases are not 0, as fresh ones are: what scales them must show."""
    model, generator = tiny_model(architecture), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model
