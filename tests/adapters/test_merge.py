from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from lora_magic.adapters.merge import MergeReport, ModuleMerge, merged_module
from lora_magic.adapters.mixture import Added
from lora_magic.base.quantise import dequantised
from lora_magic.errors import AdapterError
from lora_magic.lowrank.factors import LowRank
from lora_magic.state.session import Session
from tests.tiny import tiny_model, tiny_tokenizer

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def delta(outputs: int, inputs: int, rank: int = 4, size: float = 0.1) -> LowRank:
    generator = torch.Generator().manual_seed(0)
    return LowRank(
        torch.randn(rank, inputs, generator=generator) * size,
        torch.randn(outputs, rank, generator=generator) * size,
        2.0,
    )


def merged_with(original: nn.Module, update: LowRank) -> tuple[nn.Module, ModuleMerge]:
    return merged_module("module", original, Added(original, update), torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_merged_weight_is_the_exact_sum_rounded_once(dtype: torch.dtype) -> None:
    linear = nn.Linear(16, 24).to(dtype)
    update = delta(24, 16)
    merged, _ = merged_with(linear, update)
    exact = linear.weight.double() + 2.0 * update.up.double() @ update.down.double()
    # One rounding: within half a unit in the last place, beside the wider format's own error.
    error = (merged.weight.double() - exact).abs()
    assert bool((error <= exact.abs() * torch.finfo(dtype).eps * 0.5001 + 1e-9).all())


def test_the_original_and_its_bias_are_not_touched() -> None:
    linear = nn.Linear(16, 24)
    before = linear.weight.detach().clone()
    merged, _ = merged_with(linear, delta(24, 16))
    assert torch.equal(linear.weight, before)
    assert merged is not linear
    assert merged.weight is not linear.weight
    assert merged.bias is linear.bias


def test_conv1d_and_embedding_keep_their_layout() -> None:
    update = delta(24, 16)
    dense = 2.0 * update.up @ update.down
    conv = Conv1D(24, 16)
    merged, _ = merged_with(conv, update)
    assert torch.allclose(merged.weight, conv.weight + dense.T, atol=1e-6)
    x = torch.randn(3, 16)
    assert torch.allclose(merged(x), conv(x) + x @ dense.T, atol=1e-5)
    table = nn.Embedding(16, 24)
    merged, _ = merged_with(table, update)
    assert torch.allclose(merged.weight, table.weight + dense.T, atol=1e-6)


def test_the_report_says_what_rounding_swallowed() -> None:
    linear = nn.Linear(64, 64).to(torch.bfloat16)
    tiny = delta(64, 64, size=1e-3)
    merged, row = merged_with(linear, tiny)
    dense = (2.0 * tiny.up.double() @ tiny.down.double()).double()
    realised = merged.weight.double() - linear.weight.double()
    expected = float((realised - dense).norm() / dense.norm())
    assert row.lost_to_rounding == pytest.approx(expected, rel=1e-3)
    assert row.lost_to_rounding > 0.5
    change = float(dense.norm() / linear.weight.double().norm())
    assert row.relative_change == pytest.approx(change, rel=1e-3)
    assert row.bytes == 64 * 64 * 2


def test_an_untrained_adapter_changes_no_bit() -> None:
    linear = nn.Linear(8, 8)
    zero = LowRank(torch.randn(2, 8), torch.zeros(8, 2), 2.0)
    merged, row = merged_with(linear, zero)
    assert torch.equal(merged.weight, linear.weight)
    assert (row.relative_change, row.lost_to_rounding) == (0.0, 0.0)


def test_an_update_that_holds_no_numbers_is_refused_with_the_way_out() -> None:
    broken = LowRank(torch.full((2, 8), torch.nan), torch.ones(8, 2), 1.0)
    with pytest.raises(AdapterError, match=r"module: .*NaN or infinity.*%lora detach"):
        merged_with(nn.Linear(8, 8), broken)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_a_quantised_layer_the_dequantised_weight_is_the_one_that_is_merged(
    dtype: torch.dtype,
) -> None:
    bnb = pytest.importorskip("bitsandbytes")
    plain = nn.Linear(64, 64)
    packed = bnb.nn.Linear4bit(64, 64, compute_dtype=dtype, quant_type="nf4")
    packed.load_state_dict(plain.state_dict())
    packed = packed.to("cpu")
    before = packed.weight.detach().clone()
    merged, row = merged_module("packed", packed, Added(packed, delta(64, 64)), dtype)
    update = delta(64, 64)
    exact = dequantised(packed).double() + 2.0 * update.up.double() @ update.down.double()
    assert type(merged) is nn.Linear
    assert merged.weight.dtype == dtype
    error = (merged.weight.double() - exact).abs()
    assert bool((error <= exact.abs() * torch.finfo(dtype).eps * 0.5001 + 1e-6).all())
    assert merged.bias is packed.bias
    assert torch.equal(packed.weight, before)
    assert row.bytes == 64 * 64 * dtype.itemsize


def laid_out(kind: type[nn.Module], dtype: torch.dtype) -> nn.Module:
    """A layer of 1000 outputs and 700 inputs: several blocks, the last one not full."""
    torch.manual_seed(3)
    made = {nn.Linear: lambda: nn.Linear(700, 1000), Conv1D: lambda: Conv1D(1000, 700)}
    return made.get(kind, lambda: nn.Embedding(700, 1000))().to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [nn.Linear, Conv1D, nn.Embedding])
def test_blocks_give_the_sum_of_whole_matrices_entry_for_entry(
    kind: type[nn.Module], dtype: torch.dtype
) -> None:
    original, update = laid_out(kind, dtype), delta(1000, 700)
    merged, _ = merged_with(original, update)
    wide = torch.float64 if dtype == torch.float32 else torch.float32
    change = update.scale * (update.up.to(wide) @ update.down.to(wide))
    change = change if kind is nn.Linear else change.mT
    whole = (original.weight.detach().to(wide) + change).to(dtype)
    assert torch.equal(merged.weight, whole)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_estimated_loss_to_rounding_is_near_the_one_of_all_entries(dtype: torch.dtype) -> None:
    linear, update = laid_out(nn.Linear, dtype), delta(1000, 700, size=0.02)
    added = Added(linear, update)
    _, sampled = merged_module("module", linear, added, dtype)
    merged, exact = merged_module("module", linear, added, dtype, check=True)
    dense = 2.0 * update.up.double() @ update.down.double()
    lost = (merged.weight.double() - linear.weight.double() - dense).norm() / dense.norm()
    assert exact.lost_to_rounding == pytest.approx(float(lost.detach()), rel=1e-3)
    assert sampled.lost_to_rounding == pytest.approx(exact.lost_to_rounding, rel=0.1)
    assert sampled.relative_change == exact.relative_change


@pytest.mark.parametrize("sides", [(8, 8), (64, 64), (3, 2000)])
def test_what_rounding_lost_of_a_small_matrix_is_exact_without_a_check(
    sides: tuple[int, int],
) -> None:
    torch.manual_seed(4)
    linear, update = nn.Linear(sides[1], sides[0]).bfloat16(), delta(*sides, size=0.02)
    merged, row = merged_with(linear, update)
    dense = 2.0 * update.up.double() @ update.down.double()
    lost = (merged.weight.detach().double() - linear.weight.detach().double() - dense).norm()
    assert row.lost_to_rounding == pytest.approx(float(lost / dense.norm()), rel=1e-3)


@pytest.mark.parametrize("columns", [64, 640, 770, 1000])
def test_the_sample_of_rounding_has_entries_of_every_column(columns: int) -> None:
    linear, update = nn.Linear(columns, 640).bfloat16(), delta(640, columns, size=0.02)
    with torch.no_grad():
        # Only one column loses anything: the others and their ΔW are 0.
        linear.weight.zero_()
        linear.weight[:, columns // 3] = 1.0
        update.down.zero_()
        update.down[:, columns // 3] = 0.1
    _, sampled = merged_with(linear, update)
    _, exact = merged_module("module", linear, Added(linear, update), torch.float32, check=True)
    assert exact.lost_to_rounding > 0
    assert sampled.lost_to_rounding == pytest.approx(exact.lost_to_rounding, rel=0.7)


def test_a_sum_beyond_the_number_format_is_refused() -> None:
    huge = LowRank(torch.full((1, 8), 300.0), torch.full((8, 1), 300.0), 1.0)
    with pytest.raises(AdapterError, match="NaN or infinity"):
        merged_with(nn.Linear(8, 8).half(), huge)


def test_outputs_that_only_rounding_takes_beyond_the_number_format_are_refused() -> None:
    session = Session()
    session.use(tiny_model("llama").half(), tiny_tokenizer())
    session.attach("a", method="ia3")
    with torch.no_grad():
        for _, vector in session._state.attached["a"].tensors():
            vector.fill_(1e6)
    kept = {name: value.clone() for name, value in session.model.state_dict().items()}
    with pytest.raises(AdapterError, match="NaN or infinity"):
        session.merge("a")
    assert session.merged is None
    for name, value in session.model.state_dict().items():
        assert torch.equal(value, kept[name])


def test_a_large_weight_in_a_narrow_format_is_merged_if_every_entry_of_the_sum_fits() -> None:
    linear = nn.Linear(64, 64, bias=False).half()
    with torch.no_grad():
        linear.weight.fill_(3000.0)
    assert float(linear.weight.double().norm()) > torch.finfo(torch.float16).max
    update = delta(64, 64, size=3.0)
    merged, _ = merged_with(linear, update)
    exact = linear.weight.double() + 2.0 * update.up.double() @ update.down.double()
    assert torch.allclose(merged.weight.double(), exact, rtol=6e-4)


@pytest.mark.parametrize(
    ("lost", "checked", "said"),
    [
        (1e-9, False, "of W, under 0.001% of ΔW"),
        (0.2, False, "of W, about 20.0% of ΔW"),
        (0.2, True, "of W, 20.0% of ΔW"),
    ],
)
def test_a_report_says_about_of_an_estimate_and_not_of_a_bound(
    lost: float, checked: bool, said: str
) -> None:
    rows = (ModuleMerge("one", 0.1, lost, 4),)
    assert said in MergeReport("a", rows, "fp16", 0.0, 0.1, checked=checked).line
