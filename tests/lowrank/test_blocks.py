"""Blocks of a batch under different updates, against each block computed by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from lora_magic.lowrank.blocks import Block, Blocks, adapted_blocks

DOUBLE = torch.float64
D, K, T = 7, 5, 3
#: Rank and scale of each block; None has no update.
BLOCKS: tuple[tuple[int, float] | None, ...] = ((2, 2.0), None, (4, 0.5), (1, -1.5))


def random(*shape: int, seed: int, dtype: torch.dtype = DOUBLE) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=DOUBLE).to(dtype)


def made(
    ranks: tuple[tuple[int, float] | None, ...] = BLOCKS, dtype: torch.dtype = DOUBLE
) -> list[Block | None]:
    return [
        None
        if one is None
        else Block(
            random(one[0], K, seed=at, dtype=dtype).requires_grad_(),
            random(D, one[0], seed=at + 50, dtype=dtype).requires_grad_(),
            one[1],
        )
        for at, one in enumerate(ranks)
    ]


def together(x: Tensor, weight: Tensor, bias: Tensor | None, blocks: list[Block | None]) -> Tensor:
    return adapted_blocks(x, weight, bias, Blocks(blocks))


def apart(x: Tensor, weight: Tensor, bias: Tensor | None, blocks: list[Block | None]) -> Tensor:
    """Each block by torch's own functions, as PEFT's layer computes it."""
    found = []
    for part, block in zip(x.chunk(len(blocks)), blocks, strict=True):
        y = linear(part, weight, bias)
        if block is not None:
            wide = block.down.dtype
            y = (y + linear(linear(part.to(wide), block.down), block.up) * block.scale).to(y.dtype)
        found.append(y)
    return torch.cat(found)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", [(4, T, K), (8, T, K), (12, K)])
@pytest.mark.parametrize("ranks", [BLOCKS, ((2, 2.0),) * 4, (None, (3, 1.0), None, None)])
def test_each_block_has_the_output_and_gradients_of_its_own_update(
    ranks: tuple[tuple[int, float] | None, ...], shape: tuple[int, ...], biased: bool
) -> None:
    blocks, weight = made(ranks), random(D, K, seed=90)
    bias = random(D, seed=91) if biased else None
    x = random(*shape, seed=92).requires_grad_()
    inputs = [x, *(factor for block in blocks if block for factor in block[:2])]
    found = together(x, weight, bias, blocks)
    wanted = apart(x, weight, bias, blocks)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-13)
    outer = random(*wanted.shape, seed=93)
    for one, other in zip(
        torch.autograd.grad(found, inputs, outer),
        torch.autograd.grad(wanted, inputs, outer),
        strict=True,
    ):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_gradients_are_the_derivatives() -> None:
    blocks, weight, bias = made(), random(D, K, seed=90), random(D, seed=91)
    factors = [factor for block in blocks if block for factor in block[:2]]

    def output(x: Tensor, *given: Tensor) -> Tensor:
        own = iter(given)
        rebuilt = [b and Block(next(own), next(own), b.scale) for b in blocks]
        return together(x, weight, bias, rebuilt)

    x = random(4, T, K, seed=92).requires_grad_()
    assert torch.autograd.gradcheck(output, (x, *factors))


def test_a_narrow_weight_is_added_in_the_factors_format_and_rounded_once() -> None:
    blocks = made(dtype=torch.float32)
    weight = random(D, K, seed=90, dtype=torch.bfloat16)
    x = random(4, T, K, seed=92, dtype=torch.bfloat16).requires_grad_()
    found, wanted = (f(x, weight, None, blocks) for f in (together, apart))
    assert found.dtype == torch.bfloat16
    assert torch.equal(found[1], wanted[1])
    torch.testing.assert_close(found, wanted)
    factors = [x, *(factor for block in blocks if block for factor in block[:2])]
    outer = random(*wanted.shape, seed=93, dtype=torch.bfloat16)
    for one, other in zip(
        torch.autograd.grad(found, factors, outer),
        torch.autograd.grad(wanted, factors, outer),
        strict=True,
    ):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2)


def test_a_block_that_is_not_finite_leaves_the_others_as_they_are() -> None:
    weight, x = random(D, K, seed=90), random(4, T, K, seed=92).requires_grad_()
    outer, results = random(4, T, D, seed=93), []
    for broken in (False, True):
        blocks = made()
        if broken:
            assert blocks[2] is not None
            with torch.no_grad():
                blocks[2].up.fill_(float("nan"))
        inputs = [x, *(f for at in (0, 3) for f in (blocks[at] or ())[:2])]
        y = together(x, weight, None, blocks)
        dx, *factors = torch.autograd.grad(y, inputs, outer)
        keep = [0, 1, 3]
        results.append([y[keep].detach(), dx[keep], *factors])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_what_would_give_wrong_gradients_is_refused() -> None:
    weight, x = random(D, K, seed=90), random(4, T, K, seed=92)
    with pytest.raises(ValueError, match="requires a gradient"):
        together(x, weight.clone().requires_grad_(), None, made())
    with pytest.raises(ValueError, match="expected rows for 4 blocks"):
        together(x[:3, 0], weight, None, made())
    with pytest.raises(ValueError, match=r"expected \[7, 5\]"):
        together(x, weight, None, [Block(random(2, 4, seed=1), random(D, 2, seed=2), 1.0)])
    for blocks in ([], [Block(random(2, n, seed=1), random(D, 2, seed=2), 1.0) for n in (4, 5)]):
        with pytest.raises(ValueError, match="expected one shape"):
            Blocks(blocks)


def test_the_blocks_follow_an_optimizer() -> None:
    blocks, weight, x = made(), random(D, K, seed=90), random(4, T, K, seed=92)
    kept = Blocks(blocks)
    for _ in range(2):
        with torch.no_grad():
            for factor in (factor for block in blocks if block for factor in block[:2]):
                factor.mul_(1.5)
        found = adapted_blocks(x, weight, None, kept)
        torch.testing.assert_close(found, apart(x, weight, None, blocks), rtol=0, atol=1e-13)
