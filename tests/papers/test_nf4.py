"""NF4 and double quantisation (QLoRA, Dettmers et al. 2023), from the definitions."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import pytest
import torch

from lora_magic.base.load import load
from lora_magic.base.quantise import quantised_bits
from tests.conftest import Saver
from tests.quantised import BLOCK, NESTED_BLOCK, nf4

#: As published in the appendix of arXiv 2305.14314, to seven digits.
PUBLISHED = [
    -1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0,
]  # fmt: skip


def from_quantiles() -> list[float]:
    """Quantiles of the normal distribution, 8 on the one side and 7 on the other, and 0; scaled
    to 1. The outermost is the mean of 1 − 1/32 and 1 − 1/30 (QLoRA, section 3)."""
    outermost = (1 - 1 / 32 + 1 - 1 / 30) / 2

    def side(count: int) -> list[float]:
        step = (outermost - 0.5) / count
        return [NormalDist().inv_cdf(outermost - step * i) for i in range(count)]

    values = [-v for v in side(7)] + [0.0] + side(8)
    return sorted(v / max(values) for v in values)


def test_the_codebook_is_that_of_the_normal_s_quantiles_and_the_published_one(
    saved_model: Saver,
) -> None:
    base = load(str(saved_model()), bits=4)
    layers = [m for m in base.model.modules() if quantised_bits(m) == 4]
    assert layers
    for layer in layers:
        code = layer.weight.quant_state.code.tolist()  # type: ignore[union-attr]
        assert code == pytest.approx(PUBLISHED, abs=5e-8)
        # The published digits were computed in float32.
        assert code == pytest.approx(from_quantiles(), abs=2e-6)


def test_each_number_goes_to_the_nearest_of_the_sixteen() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(8, BLOCK, generator=generator).clamp(-4.0, 4.0)
    # One scale for every block: kept in 8 bits, it is good to 1 in 1000.
    weight[:, 0], weight[:, 1] = 4.0, -4.0
    code = torch.tensor(PUBLISHED)
    nearest = (weight[..., None] / 4.0 - code).abs().argmin(dim=-1)
    assert torch.allclose(nf4(weight), 4.0 * code[nearest], rtol=1e-3, atol=0)
    assert len(nearest.unique()) == 16


def bits_of(weight: torch.Tensor, double: bool) -> float:
    """Bits a parameter of what bitsandbytes keeps for each weight; tables once a model not."""
    import bitsandbytes.functional as functional

    packed, state = functional.quantize_4bit(
        weight, blocksize=BLOCK, compress_statistics=double, quant_type="nf4"
    )
    kept: list[Any] = [packed, state.absmax]
    if double:
        kept.append(state.state2.absmax)
    held = sum(tensor.numel() * tensor.element_size() for tensor in kept)
    return 8 * held / weight.numel()


def test_bits_a_parameter_are_4_5_and_4_127_double_quantised() -> None:
    weight = torch.randn(512, 1024, generator=torch.Generator().manual_seed(0))
    plain, double = bits_of(weight, False), bits_of(weight, True)
    assert plain == 4 + 32 / BLOCK == 4.5
    assert double == 4 + 8 / BLOCK + 32 / (BLOCK * NESTED_BLOCK)
    assert round(double, 3) == 4.127
    saved = plain - double
    assert round(saved, 3) == 0.373
    assert round(saved * 65e9 / 8 / 1e9, 2) == 3.03, "GB on 65B"
