"""Intruder dimensions, against PEFT's own on a saved layer and on matrices made for it."""

from __future__ import annotations

import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.intruders import intruders, without
from tests.tiny import tiny_model

D, K = 48, 32
intruders_of_peft = pytest.importorskip("peft.tuners.lora.intruders")


def a_weight(seed: int = 0) -> Tensor:
    """A matrix with well separated singular values, so that its vectors are unique."""
    drawn = torch.Generator().manual_seed(seed)
    u = torch.linalg.qr(torch.randn(D, K, generator=drawn, dtype=torch.float64)).Q
    v = torch.linalg.qr(torch.randn(K, K, generator=drawn, dtype=torch.float64)).Q
    return (u @ torch.diag(torch.linspace(8, 1, K, dtype=torch.float64)) @ v.mT).float()


def an_update(size: float, seed: int = 1, rank: int = 4) -> LowRank:
    drawn = torch.Generator().manual_seed(seed)
    down, up = torch.randn(rank, K, generator=drawn), torch.randn(D, rank, generator=drawn)
    return LowRank(down, up, size)


def test_no_update_and_a_small_one_bring_no_intruder() -> None:
    for size in (0.0, 1e-4):
        found = intruders(a_weight(), an_update(size))
        assert found.places == ()
        assert found.part is None
        assert min(found.cosines) > 0.99


def test_a_new_direction_larger_than_all_of_w_is_the_first_intruder() -> None:
    weight = a_weight()
    outside = torch.linalg.svd(weight.double()).U[:, -1:].float()  # no direction of W's outputs
    inside = torch.linalg.svd(weight.double()).Vh[-1:].float()
    found = intruders(weight, LowRank(20 * inside, outside, 1.0))
    assert found.places == (0,)
    # W has σ = 1 in that input direction, which turns the sum's vector towards it.
    assert found.cosines[0] == pytest.approx(1 / math.hypot(20, 1), rel=1e-5)
    assert found.part is not None
    assert found.part.norm() == pytest.approx(math.hypot(20, 1), rel=1e-5)


class One(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.layer = nn.Linear(K, D, bias=False)
        self.layer.weight.data = weight.clone()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def of_peft(weight: Tensor, update: LowRank) -> tuple[int, Tensor]:
    """The count of intruders and the reduced ΔW by PEFT's function."""
    alpha = update.rank * update.scale
    config = LoraConfig(r=update.rank, lora_alpha=alpha, target_modules=["layer"])
    model = get_peft_model(One(weight), config)
    layer = model.base_model.model.layer
    layer.lora_A["default"].weight.data = update.down.clone()
    layer.lora_B["default"].weight.data = update.up.clone()
    said: list[str] = []
    intruders_of_peft.reduce_intruder_dimension(model, logging_sink=said.append)
    count = sum(int(line.split("Intruders: ")[1]) for line in said if "Intruders: " in line)
    return count, layer.get_delta_weight("intruder_reduced").detach()


@pytest.mark.parametrize("size", [0.02, 0.2, 0.6, 1.0])
def test_count_and_removal_are_those_of_peft(size: float) -> None:
    weight, update = a_weight(), an_update(size)
    count, reduced = of_peft(weight, update)
    found = intruders(weight, update)
    assert len(found.places) == count
    # PEFT's `mitigation_lambda` of 0.75 subtracts a quarter.
    ours = without(update, found, 0.25).dense()
    torch.testing.assert_close(ours, reduced, rtol=1e-3, atol=1e-3 * float(reduced.abs().max()))


def test_what_is_removed_is_the_best_approximation_of_its_rank() -> None:
    weight, update = a_weight(), an_update(1.0)
    found = intruders(weight, update)
    assert found.part is not None
    rest = update.dense(torch.float64) - 0.5 * found.part.dense(torch.float64)
    sigma = torch.linalg.svdvals(rest)
    less = without(update, found, 0.5)
    assert less.rank == update.rank
    error = float((rest - less.dense(torch.float64)).norm())
    assert error == pytest.approx(float(sigma[update.rank :].norm()), rel=1e-4)


def test_impossible_questions_are_refused() -> None:
    weight, update = a_weight(), an_update(1.0)
    with pytest.raises(ValueError, match="one shape"):
        intruders(weight.mT, update)
    with pytest.raises(ValueError, match="a cosine"):
        intruders(weight, update, new=0.0)
    with pytest.raises(ValueError, match="share"):
        without(update, intruders(weight, update), 0.0)


def test_peft_mixes_up_the_sides_of_a_conv1d() -> None:
    # The day it does not, ours can be compared with it there.
    config = LoraConfig(r=2, lora_alpha=8, target_modules=["c_attn"], fan_in_fan_out=True)
    model = get_peft_model(tiny_model("gpt2"), config)
    layer = model.base_model.model.transformer.h[0].attn.c_attn
    for block in model.base_model.model.transformer.h:
        torch.nn.init.normal_(block.attn.c_attn.lora_B["default"].weight)
    intruders_of_peft.reduce_intruder_dimension(model, logging_sink=None)
    theirs = layer.lora_B["intruder_reduced"].weight
    assert theirs.shape != layer.lora_B["default"].weight.shape
