"""PEFT's own layer is the judge: each row must be what PEFT gives for its adapter."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig
from peft.tuners.lora.layer import Linear as PeftLinear
from torch import Tensor, nn
from torch.nn.utils import prune
from transformers.pytorch_utils import Conv1D

from lora_magic.lowrank.factors import LowRank
from lora_magic.lowrank.stack import StackedLinear

K, D = 10, 14


def a_base(kind: str = "linear", dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    layer: nn.Module = Conv1D(D, K) if kind == "conv1d" else nn.Linear(K, D)
    return layer.to(dtype).requires_grad_(False)


def an_update(
    rank: int, scale: float, seed: int, dtype: torch.dtype = torch.float32, zero: bool = False
) -> LowRank:
    """An update whose outputs are about as large as the base's, so that 1e-6 means fp32."""
    generator = torch.Generator().manual_seed(seed)
    down = torch.randn(rank, K, generator=generator, dtype=dtype) / K**0.5
    up = torch.randn(D, rank, generator=generator, dtype=dtype) / 4
    return LowRank(down, up * (0 if zero else 1), scale)


def by_peft(base: nn.Module, delta: LowRank, x: Tensor) -> Tensor:
    """One adapter's output by PEFT's LoRA layer over the same base."""
    config = LoraConfig(r=delta.rank, lora_alpha=delta.scale * delta.rank)
    transposed = isinstance(base, Conv1D)
    layer = PeftLinear(base, "default", config, r=delta.rank, lora_alpha=config.lora_alpha,
                       fan_in_fan_out=transposed)  # fmt: skip
    layer.lora_A["default"].weight = nn.Parameter(delta.down)
    layer.lora_B["default"].weight = nn.Parameter(delta.up)
    layer.eval()
    with torch.no_grad():
        out: Tensor = layer(x)
    return out


@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_each_row_is_what_peft_gives_for_its_adapter(kind: str) -> None:
    base = a_base(kind)
    deltas = [None, an_update(4, 2.0, 1), an_update(1, 0.3, 2), an_update(7, -1.5, 3)]
    x = torch.randn(len(deltas), 5, K, generator=torch.Generator().manual_seed(9))
    out = StackedLinear(base, deltas)(x)
    for n, delta in enumerate(deltas):
        row = x[n : n + 1]
        expected = base(row) if delta is None else by_peft(base, delta, row)
        torch.testing.assert_close(out[n : n + 1], expected, rtol=1e-6, atol=1e-6)


def test_a_pruned_base_computes_its_weight_itself() -> None:
    base = a_base()
    x = torch.randn(2, 5, K, generator=torch.Generator().manual_seed(9))
    prune.l1_unstructured(base, "weight", 0.5)
    pruned = (base.weight_orig * base.weight_mask, base.bias)
    update = an_update(3, 0.5, 1)
    out = StackedLinear(base, [None, update])(x)
    torch.testing.assert_close(out[0], torch.nn.functional.linear(x[0], *pruned))
    added = x[1] @ update.down.mT @ update.up.mT * update.scale
    torch.testing.assert_close(out[1], torch.nn.functional.linear(x[1], *pruned) + added)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_row_without_a_change_is_the_base_bit_for_bit(dtype: torch.dtype) -> None:
    base = a_base(dtype=dtype)
    deltas = [None, an_update(4, 2.0, 1, zero=True), an_update(6, 2.0, 2)]
    x = torch.randn(3, 5, K).to(dtype)
    out, plain = StackedLinear(base, deltas)(x), base(x)
    assert torch.equal(out[:2], plain[:2])
    assert not torch.equal(out[2], plain[2])


def test_fp32_adapters_over_a_bf16_base_round_once_as_peft_does() -> None:
    base = a_base(dtype=torch.bfloat16)
    deltas = [an_update(4, 2.0, 1), an_update(2, 0.5, 2)]
    x = torch.randn(2, 50, K).to(torch.bfloat16)
    out = StackedLinear(base, deltas)(x)
    assert out.dtype == torch.bfloat16
    for n, delta in enumerate(deltas):
        expected = by_peft(base, delta, x[n : n + 1])[0]
        # The fp32 sums differ by their order of addition, so the one rounding may land a step off.
        same = (out[n] == expected).float().mean()
        assert float(same) > 0.99
        torch.testing.assert_close(out[n], expected, rtol=2**-7, atol=2**-7)


def test_rows_flattened_with_their_positions_keep_their_adapter() -> None:
    base = a_base()
    stack = StackedLinear(base, [None, an_update(4, 2.0, 1)])
    x = torch.randn(2, 5, K)
    torch.testing.assert_close(stack(x.reshape(-1, K)).view(2, 5, D), stack(x), rtol=0, atol=0)


def test_no_update_at_all_is_the_base_itself() -> None:
    base = a_base()
    x = torch.randn(2, 5, K)
    assert torch.equal(StackedLinear(base, [None, None])(x), base(x))


def test_an_output_held_by_a_hook_is_not_written_over() -> None:
    base = a_base()
    held: list[Tensor] = []
    base.register_forward_hook(lambda module, args, output: held.append(output))
    x = torch.randn(1, 5, K)
    StackedLinear(base, [an_update(4, 2.0, 1)])(x)
    weight, bias = base.get_parameter("weight"), base.get_parameter("bias")
    torch.testing.assert_close(held[0], nn.functional.linear(x, weight, bias))


def test_the_layer_below_stays_readable_and_its_flags_untouched() -> None:
    base = a_base().eval()
    stack = StackedLinear(base, [an_update(4, 2.0, 1)])
    assert stack.weight is base.weight
    assert stack.in_features == K
    assert not stack.training
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = stack.nothing_here


@pytest.mark.parametrize("rows", [1, 3])
def test_another_batch_than_it_was_made_for_is_refused(rows: int) -> None:
    stack = StackedLinear(a_base(), [None, an_update(4, 2.0, 1)])
    with pytest.raises(ValueError, match="2 updates"):
        stack(torch.randn(rows, 5, K))


def test_updates_that_do_not_fit_each_other_are_refused() -> None:
    other = LowRank(torch.zeros(2, K + 1), torch.zeros(D, 2), 1.0)
    for deltas in ([], [an_update(2, 1.0, 1), other]):
        with pytest.raises(ValueError, match="expected one or more"):
            StackedLinear(a_base(), deltas)
