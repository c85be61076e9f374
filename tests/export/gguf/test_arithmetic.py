"""llama.cpp's numbers on a model's own weights, against the gguf package and float32 copies."""

from __future__ import annotations

import copy
from typing import Any

import gguf
import pytest
import torch

from lora_magic.export.gguf import arithmetic
from lora_magic.export.gguf.arithmetic import LlamaCpp, rounded
from tests.conftest import REORDERED
from tests.tiny import tiny_model

KINDS = {"f16": gguf.GGMLQuantizationType.F16, "q8_0": gguf.GGMLQuantizationType.Q8_0}


@pytest.mark.parametrize("quantise", KINDS)
def test_numbers_are_rounded_as_the_gguf_package_does(quantise: str) -> None:
    values = torch.randn(7, 96, generator=torch.Generator().manual_seed(0))
    values[3, :32] = 0
    there = gguf.quants.quantize(values.numpy(), KINDS[quantise])
    there = gguf.quants.dequantize(there, KINDS[quantise])
    assert torch.equal(rounded(values, quantise), torch.from_numpy(there))
    assert rounded(values, "f32") is values


def test_rows_that_are_no_whole_blocks_stay_in_16_bits() -> None:
    values = torch.randn(3, 40)
    assert torch.equal(rounded(values, "q8_0"), values.half().float())


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "mistral"])
def test_a_narrow_model_computes_in_32_bits_without_a_copy(architecture: str) -> None:
    model: Any = tiny_model(architecture)
    wide = copy.deepcopy(model.bfloat16()).float()
    # Rotary frequencies are kept in 32 bits when a model is loaded in 16.
    for narrow, own in zip(model.modules(), wide.modules(), strict=True):
        if hasattr(narrow, "inv_freq"):
            narrow.inv_freq = own.inv_freq
    ids = torch.arange(10)[None]
    with torch.no_grad():
        plain = model(ids).logits.float()
        with LlamaCpp("f32"):
            found = model(ids).logits
        expected = wide(ids).logits
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=REORDERED)
    assert (plain - expected).abs().max() > 100 * REORDERED
    assert all(p.dtype == torch.bfloat16 for p in model.parameters())


def test_exact_sums_are_those_of_a_float64_copy() -> None:
    model: Any = tiny_model("llama")
    ids = torch.arange(10)[None]
    with torch.no_grad(), LlamaCpp("f32", torch.float64):
        found = model(ids).logits
    with torch.no_grad():
        expected = copy.deepcopy(model).double()(ids).logits
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_no_large_matrix_is_widened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = tiny_model("llama").bfloat16()
    ids, sizes = torch.arange(10)[None], []
    with torch.no_grad(), LlamaCpp("f32", torch.float64):
        whole = model(ids).logits
    monkeypatch.setattr(arithmetic, "_ROWS", 16)
    widened = LlamaCpp._widened

    def seen(self: Any, given: Any) -> Any:
        sizes.append(given.numel() if isinstance(given, torch.Tensor) else 0)
        return widened(self, given)

    monkeypatch.setattr(LlamaCpp, "_widened", seen)
    with torch.no_grad(), LlamaCpp("f32", torch.float64):
        found = model(ids).logits
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)
    # The embedding has 384 rows of 32, and an activation 10 rows of up to 384.
    assert max(sizes) <= 10 * 384


def test_gelu_is_exact_where_the_table_ends() -> None:
    value = torch.tensor([-20.0, -10.0, -1.0, 0.0, 1.0, 10.0, 20.0])
    exact = torch.nn.functional.gelu(value, approximate="tanh")
    with LlamaCpp("f32"):
        found = torch.nn.functional.gelu(value, approximate="tanh")
    assert found[[0, 1, 3, 5, 6]].tolist() == [0, 0, 0, 10, 20]
    torch.testing.assert_close(found, exact, rtol=2**-10, atol=1e-6)
