"""LoRA as one function: gradients against finite differences, outputs against PEFT's own layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from peft import LoraConfig
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import Tensor, nn

from lora_magic.lowrank.lora import LoraLinear, adapted, adapted_together
from tests.counts import ops, ops_by_name, saved_bytes

K = 10
#: Outputs, rank and scale of layers that share an input of K: they differ in all three.
SHAPES = ((14, 3, 2.0), (6, 1, 0.25), (9, 5, -1.5))


def linears(
    shapes: Sequence[tuple[int, int, float]] = SHAPES,
    bias: bool = True,
    base: torch.dtype = torch.float64,
    factors: torch.dtype = torch.float64,
    inputs: int = K,
) -> list[LoraLinear]:
    """Layers whose updates are about as large as their bases' outputs."""
    drawn = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=drawn, dtype=torch.float64) / shape[-1] ** 0.5

    return [
        LoraLinear(
            draw(d, inputs).to(base),
            draw(d).to(base) if bias else None,
            draw(r, inputs).to(factors).requires_grad_(),
            draw(d, r).to(factors).requires_grad_(),
            scale,
        )
        for d, r, scale in shapes
    ]


def an_input(*shape: int, dtype: torch.dtype = torch.float64, needs: bool = True) -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x.to(dtype).requires_grad_(needs)


def factors_of(layers: Sequence[LoraLinear]) -> list[Tensor]:
    return [factor for layer in layers for factor in (layer.down, layer.up)]


def peft_layer(layer: LoraLinear) -> Any:
    """PEFT's own layer over the same tensors."""
    d, k = layer.weight.shape
    base = nn.Linear(k, d, bias=layer.bias is not None)
    base.weight = nn.Parameter(layer.weight, requires_grad=False)
    if layer.bias is not None:
        base.bias = nn.Parameter(layer.bias, requires_grad=False)
    rank = len(layer.down)
    made = PeftLinear(base, "default", LoraConfig(r=rank), r=rank, lora_alpha=rank)
    made.scaling["default"] = layer.scale
    made.lora_A["default"].weight = nn.Parameter(layer.down.detach().clone())
    made.lora_B["default"].weight = nn.Parameter(layer.up.detach().clone())
    return made


def dense(x: Tensor, layer: LoraLinear) -> Tensor:
    """x·(W + s·B·A)ᵀ + b, in float64."""
    weight = layer.weight.double() + layer.scale * layer.up.double() @ layer.down.double()
    y = x.double() @ weight.mT
    return y if layer.bias is None else y + layer.bias.double()


# Gradients


@pytest.mark.parametrize("needs", [True, False], ids=["x needs a gradient", "x needs none"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("count", [1, 3], ids=["single", "group"])
@pytest.mark.parametrize("shape", [(4, K), (2, 3, K), (K,), (0, K)], ids=str)
def test_gradients_are_those_of_finite_differences(
    shape: tuple[int, ...], count: int, bias: bool, needs: bool
) -> None:
    layers = linears(SHAPES[:count], bias)

    def outputs(x: Tensor, *factors: Tensor) -> Any:
        pairs = zip(factors[0::2], factors[1::2], strict=True)
        own = [layer._replace(down=a, up=b) for layer, (a, b) in zip(layers, pairs, strict=True)]
        return adapted(x, *own[0]) if count == 1 else adapted_together(x, own)

    assert torch.autograd.gradcheck(outputs, (an_input(*shape, needs=needs), *factors_of(layers)))


@pytest.mark.parametrize("frozen", ["down", "up"])
def test_a_frozen_factor_gets_no_gradient_and_changes_no_other(frozen: str) -> None:
    layers, whole = linears(), linears()
    getattr(layers[1], frozen).requires_grad_(False)
    x, same = an_input(4, K), an_input(4, K)
    sum(y.square().sum() for y in adapted_together(x, layers)).backward()
    sum(y.square().sum() for y in adapted_together(same, whole)).backward()
    assert getattr(layers[1], frozen).grad is None
    torch.testing.assert_close(x.grad, same.grad)
    for ours, theirs in zip(factors_of(layers), factors_of(whole), strict=True):
        if ours is not getattr(layers[1], frozen):
            torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_layer_whose_output_is_not_used_gets_no_gradient_as_if_it_was_not_called() -> None:
    layers, alone = linears(), linears()
    x, same = an_input(4, K), an_input(4, K)
    first, _, third = adapted_together(x, layers)
    (first.sum() + third.square().sum()).backward()
    (adapted(same, *alone[0]).sum() + adapted(same, *alone[2]).square().sum()).backward()
    assert layers[1].down.grad is None
    assert layers[1].up.grad is None
    for i in (0, 2):
        torch.testing.assert_close(layers[i].down.grad, alone[i].down.grad)
        torch.testing.assert_close(layers[i].up.grad, alone[i].up.grad)
    torch.testing.assert_close(x.grad, same.grad)


def test_gradients_can_be_clipped_and_summed_over_passes() -> None:
    layers, once = linears(), linears()
    for _ in range(2):
        sum(y.square().sum() for y in adapted_together(an_input(4, K), layers)).backward()
    sum(y.square().sum() for y in adapted_together(an_input(4, K), once)).backward()
    for twice, one in zip(factors_of(layers), factors_of(once), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(twice.grad, 2 * one.grad)
    norm = torch.nn.utils.clip_grad_norm_(factors_of(layers), 1.0)
    assert norm > 1
    total = sum(p.grad.square().sum() for p in factors_of(layers) if p.grad is not None)
    assert float(total) == pytest.approx(1.0, abs=1e-5)


def test_gradients_of_outputs_with_any_strides_are_right() -> None:
    layers, same = linears(), linears()
    for used in (layers, same):
        ys = (
            adapted_together(an_input(2, 3, K), used)
            if used is layers
            else [dense(an_input(2, 3, K), layer) for layer in used]
        )
        sum((y.transpose(0, 1).reshape(-1).cumsum(0) ** 2).mean() for y in ys).backward()
    for ours, theirs in zip(factors_of(layers), factors_of(same), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


# Outputs


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(4, K), (2, 3, K), (K,), (0, K)], ids=str)
def test_outputs_are_those_of_the_dense_weight(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    layers = linears(base=dtype, factors=dtype)
    x = an_input(*shape, dtype=dtype)
    for layer, y in zip(layers, adapted_together(x, layers), strict=True):
        assert y.dtype == dtype
        torch.testing.assert_close(y.double(), dense(x, layer), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_over_16_bits_the_output_is_pefts_up_to_one_rounding(narrow: torch.dtype) -> None:
    layers = linears(base=narrow, factors=torch.float32)
    x = an_input(50, K, dtype=narrow)
    for layer, y in zip(layers, adapted_together(x, layers), strict=True):
        wanted = peft_layer(layer)(x)
        assert y.dtype == narrow
        # Where both round the same sum, up to an error of float32, they are equal.
        assert (y == wanted).float().mean() > 0.99
        torch.testing.assert_close(y, wanted, rtol=torch.finfo(narrow).eps, atol=1e-6)


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
def test_over_16_bits_the_gradients_are_as_near_to_exact_ones_as_pefts(narrow: torch.dtype) -> None:
    layers = linears(base=narrow, factors=torch.float32)
    exact = linears(base=narrow, factors=torch.float32)
    theirs = [peft_layer(layer) for layer in layers]
    x, x_exact, x_peft = (an_input(50, K, dtype=narrow) for _ in range(3))
    sum(y.float().square().mean() for y in adapted_together(x, layers)).backward()
    sum(dense(x_exact, layer).square().mean() for layer in exact).backward()
    sum(layer(x_peft).float().square().mean() for layer in theirs).backward()

    def error(found: Tensor | None, wanted: Tensor | None) -> float:
        assert found is not None
        assert wanted is not None
        return float((found.double() - wanted.double()).norm() / wanted.double().norm())

    # Both round y and dy, by chance in other places: no more than a quarter apart.
    assert error(x.grad, x_exact.grad) <= 1.25 * error(x_peft.grad, x_exact.grad)
    for ours, layer, reference in zip(layers, theirs, exact, strict=True):
        for name, part in (("down", layer.lora_A), ("up", layer.lora_B)):
            wanted = getattr(reference, name).grad
            peft_error = error(part["default"].weight.grad, wanted)
            assert error(getattr(ours, name).grad, wanted) <= 1.25 * peft_error + 1e-6


def test_a_model_may_change_an_output_in_place() -> None:
    layers, same = linears(), linears()
    ys = [y.clamp_(-0.5, 0.5).mul_(2) for y in adapted_together(an_input(2, 3, K), layers)]
    sum(y.square().sum() for y in ys).backward()
    wanted = [dense(an_input(2, 3, K), layer).clamp(-0.5, 0.5) * 2 for layer in same]
    sum(y.square().sum() for y in wanted).backward()
    for ours, theirs in zip(factors_of(layers), factors_of(same), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


# What it refuses


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_weight_that_is_trained_is_refused_since_its_gradient_would_be_missing(part: str) -> None:
    (layer,) = linears(SHAPES[:1])
    getattr(layer, part).requires_grad_()
    with pytest.raises(ValueError, match="requires a gradient"):
        adapted(an_input(4, K), *layer)


def test_factors_of_two_number_formats_are_refused() -> None:
    layers = linears()
    layers[1] = layers[1]._replace(down=layers[1].down.detach().float())
    with pytest.raises(ValueError, match=r"float32.*float64.* one number format"):
        adapted_together(an_input(4, K), layers)


@pytest.mark.parametrize("part", ["weight", "down", "up", "x"])
def test_a_change_in_place_before_the_backward_pass_raises_as_in_a_plain_layer(part: str) -> None:
    layers = linears()
    x = an_input(4, K) * 1.0
    loss = sum(y.square().sum() for y in adapted_together(x, layers))
    with torch.no_grad():
        (x if part == "x" else getattr(layers[1], part)).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # type: ignore[union-attr]


def test_second_derivatives_raise_instead_of_being_wrong() -> None:
    (layer,) = linears(SHAPES[:1])
    x = an_input(4, K)
    (first,) = torch.autograd.grad(adapted(x, *layer).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


# What it costs


def backward(layers: Sequence[LoraLinear], x: Tensor, *, together: bool) -> None:
    ys = adapted_together(x, layers) if together else [adapted(x, *layer) for layer in layers]
    torch.autograd.backward(ys, [torch.ones_like(y) for y in ys])


@pytest.mark.parametrize("narrow", [torch.float32, torch.bfloat16])
def test_it_dispatches_fewer_operations_than_pefts_layers_and_together_fewer_still(
    narrow: torch.dtype,
) -> None:
    layers = linears(bias=False, base=narrow, factors=torch.float32)
    peft = [peft_layer(layer) for layer in layers]
    x = an_input(2, 3, K, dtype=narrow)

    def plain() -> None:
        ys = [layer(x) for layer in peft]
        torch.autograd.backward(ys, [torch.ones_like(y) for y in ys])

    together = ops(lambda: backward(layers, x, together=True))
    alone = ops(lambda: backward(layers, x, together=False))
    assert together < alone < 0.75 * ops(plain)


def test_layers_that_share_an_input_need_one_product_with_all_of_their_a() -> None:
    layers = linears(bias=False)
    x = an_input(2, 3, K)
    found = ops_by_name(lambda: adapted_together(x, layers))
    # x·Aᵀ once and x·Wᵀ three times; x·Aᵀ·Bᵀ is added in place.
    assert found["aten.mm.default"] == 4
    assert found["aten.addmm_.default"] == 3


@pytest.mark.parametrize("together", [True, False])
def test_it_keeps_the_input_once_and_its_products_with_a(together: bool) -> None:
    layers = linears(base=torch.bfloat16, factors=torch.float32)
    own = [tensor for layer in layers for tensor in layer[:4] if isinstance(tensor, Tensor)]
    x = an_input(50, K, dtype=torch.bfloat16)

    def forward() -> Any:
        if together:
            return adapted_together(x, layers)
        return [adapted(x, *layer) for layer in layers]

    ranks = sum(rank for _, rank, _ in SHAPES)
    assert saved_bytes(forward, own) == 50 * K * 2 + 50 * ranks * 4
    peft = [peft_layer(layer) for layer in layers]
    weights = [parameter for layer in peft for parameter in layer.parameters()]
    # A copy of x in float32 for each layer.
    theirs = saved_bytes(lambda: [layer(x) for layer in peft], weights)
    assert theirs >= 3 * 50 * K * 4


def test_without_gradients_nothing_is_kept() -> None:
    layers = linears()
    x = an_input(4, K, needs=False)
    with torch.no_grad():
        found = adapted_together(x, layers)
    assert not any(y.requires_grad for y in found)
    with torch.inference_mode():
        again = adapted_together(x, layers)
    for y, other in zip(found, again, strict=True):
        assert torch.equal(y, other)
