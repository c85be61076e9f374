"""Where numbers stop being finite: a model broken at a known place names that place."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from lora_magic.base.finite import broken
from tests.tiny import ARCHITECTURES, tiny_model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_intact_model_is_not_broken(architecture: str) -> None:
    assert broken(tiny_model(architecture)) is None
    assert broken(tiny_model(architecture), [5, 6, 7]) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_first_weight_that_is_not_finite_is_named_and_counted(value: float) -> None:
    model: Any = tiny_model("llama")
    with torch.no_grad():
        model.model.layers[1].self_attn.q_proj.weight[0, :3] = value
        model.lm_head.weight[5, 0] = value
    found = broken(model)
    assert found == (
        "model.layers.1.self_attn.q_proj.weight has 3 of 1,024 values that are not finite"
    )


def overflowing() -> Any:
    """All weights are finite; the first MLP's output is not."""
    model: Any = tiny_model("llama")
    with torch.no_grad():
        mlp = model.model.layers[0].mlp
        mlp.gate_proj.weight.fill_(1e3)
        mlp.up_proj.weight.normal_(0, 1e6, generator=torch.Generator().manual_seed(1))
        mlp.down_proj.weight.fill_(3e38)
    return model


def test_an_overflow_names_the_first_module_whose_output_is_not_finite() -> None:
    found = broken(overflowing())
    assert found is not None
    assert "the output of model.layers.0.mlp.down_proj is not finite" in found


def test_a_masked_vocabulary_is_not_broken() -> None:
    model: Any = tiny_model("llama")

    def mask(module: nn.Module, args: object, output: torch.Tensor) -> torch.Tensor:
        return output.index_fill(-1, torch.tensor([1, 2]), -math.inf)

    model.lm_head.register_forward_hook(mask)
    assert broken(model) is None


def test_the_model_is_left_as_it_was() -> None:
    model = overflowing()
    model.train()
    assert broken(model)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
