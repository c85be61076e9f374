"""DoRA (Liu et al. 2024): y = (m/‖V‖)·V·x, V = W0 + s·B·A, the norm held still in the gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lora_magic.adapters.read_shapes import is_transposed
from tests.papers.small import Bench, factors

PLACES = [("llama", "model.layers.0.mlp.up_proj"), ("gpt2", "transformer.h.1.mlp.c_proj")]


def opened(architecture: str, path: str) -> tuple[Bench, Any, Tensor, Tensor]:
    """The base, a DoRA layer with a magnitude and a B of its own, W0 [d, k] and the bias."""
    bench = Bench(architecture, dtype=torch.float64)
    layer: Any = bench.attach(targets=path, dora=True, rank=3, alpha=7.0).replacements[path]
    original: Any = bench.slots.original(path)
    weight = original.weight.detach()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_(generator=generator).mul_(0.1)
        drift = torch.rand(layer.lora_magnitude_vector["default"].weight.shape, generator=generator)
        layer.lora_magnitude_vector["default"].weight.mul_(0.5 + drift)
    bias = getattr(original, "bias", None)
    kept = torch.zeros(1, dtype=torch.float64) if bias is None else bias.detach()
    return bench, layer, weight.mT if is_transposed(original) else weight, kept


@pytest.mark.parametrize(("architecture", "path"), PLACES)
def test_the_magnitude_begins_as_the_norm_of_each_output_s_row(
    architecture: str, path: str
) -> None:
    bench = Bench(architecture, dtype=torch.bfloat16)
    layer: Any = bench.attach(targets=path, dora=True).replacements[path]
    original: Any = bench.slots.original(path)
    weight = original.weight.detach().double()
    rows = (weight.mT if is_transposed(original) else weight).square().sum(dim=1).sqrt()
    magnitude = layer.lora_magnitude_vector["default"].weight
    # In float32, though the base is in bfloat16, which is good to 4e-3.
    assert magnitude.dtype is torch.float32
    assert torch.allclose(magnitude.double(), rows, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("architecture", "path"), PLACES)
def test_the_output_is_the_direction_scaled_by_the_magnitude(architecture: str, path: str) -> None:
    _, layer, weight, bias = opened(architecture, path)
    a, b, scale = factors(layer)
    direction = weight + scale * b @ a
    magnitude = layer.lora_magnitude_vector["default"].weight.detach()
    x = torch.randn(5, weight.shape[1], generator=torch.Generator().manual_seed(0)).double()
    expected = x @ (magnitude[:, None] * direction / direction.norm(dim=1, keepdim=True)).mT + bias
    with torch.no_grad():
        assert torch.allclose(layer(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("architecture", "path"), PLACES)
def test_the_gradient_is_that_of_a_detached_norm_and_would_differ_otherwise(
    architecture: str, path: str
) -> None:
    _, layer, weight, bias = opened(architecture, path)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, weight.shape[1], generator=generator, dtype=torch.float64)
    aim = torch.randn(6, weight.shape[0], generator=generator, dtype=torch.float64)
    tensors = [
        layer.lora_A["default"].weight,
        layer.lora_B["default"].weight,
        layer.lora_magnitude_vector["default"].weight,
    ]
    for tensor in tensors:
        tensor.requires_grad_(True)
    found = torch.autograd.grad((layer(x) - aim).square().sum(), tensors)

    def by_hand(detached: bool) -> tuple[Tensor, ...]:
        a, b, m = [tensor.detach().clone().requires_grad_(True) for tensor in tensors]
        direction = weight + float(layer.scaling["default"]) * b @ a
        norm = direction.norm(dim=1, keepdim=True)
        whole = m[:, None] * direction / (norm.detach() if detached else norm)
        return torch.autograd.grad((x @ whole.mT + bias - aim).square().sum(), [a, b, m])

    for ours, expected in zip(found, by_hand(detached=True), strict=True):
        assert torch.allclose(ours, expected, rtol=1e-9, atol=1e-10)
    for ours, other in zip(found[:2], by_hand(detached=False)[:2], strict=True):
        assert float((ours - other).norm() / other.norm()) > 1e-2


def test_the_merged_weight_has_the_magnitude_as_its_rows_norms() -> None:
    from lora_magic.adapters.delta import merged_parameters

    for architecture, path in PLACES:
        bench, layer, _, _ = opened(architecture, path)
        original = bench.slots.original(path)
        merged = merged_parameters(original, layer)["weight"]
        rows = (merged.mT if is_transposed(original) else merged).norm(dim=1)
        magnitude = layer.lora_magnitude_vector["default"].weight.detach()
        assert torch.allclose(rows, magnitude, rtol=1e-12)
