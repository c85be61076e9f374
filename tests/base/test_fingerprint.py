from __future__ import annotations

import pytest
import torch
from torch import nn

from lora_magic.base.fingerprint import Fingerprint, bits_sum
from tests.tiny import tiny_model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int8])
def test_any_single_changed_bit_changes_the_sum(dtype: torch.dtype) -> None:
    tensor = torch.arange(37, dtype=torch.float32).to(dtype)
    before = bits_sum(tensor)
    raw = tensor.view(torch.uint8)
    for byte in range(raw.numel()):
        for bit in range(8):
            raw[byte] ^= 1 << bit
            assert bits_sum(tensor) != before
            raw[byte] ^= 1 << bit
    assert bits_sum(tensor) == before


def test_a_bit_of_any_block_of_a_large_tensor_counts() -> None:
    # Sums are taken in blocks of 2^20 words: two and a half of them, and some bytes over.
    tensor = torch.zeros((5 << 19) * 8 + 3, dtype=torch.uint8)
    before = bits_sum(tensor)
    for word in (0, (1 << 20) - 1, 1 << 20, (2 << 20) - 1, 2 << 20, (5 << 19) - 1):
        for byte in (word * 8, word * 8 + 7):
            tensor[byte] ^= 1
            assert bits_sum(tensor) != before, byte
            tensor[byte] ^= 1
    tensor[-1] ^= 128
    assert bits_sum(tensor) != before
    tensor[-1] ^= 128
    tensor[8 * 3] = 7
    first = bits_sum(tensor)
    tensor[8 * 3], tensor[8 * ((1 << 20) + 3)] = 0, 7
    assert bits_sum(tensor) != first, "the same word, one block on"


def test_an_exchange_of_two_numbers_changes_the_sum() -> None:
    tensor = torch.randn(64, generator=torch.Generator().manual_seed(0))
    before = bits_sum(tensor)
    tensor[[3, 40]] = tensor[[40, 3]]
    assert bits_sum(tensor) != before


def test_the_sum_is_the_one_of_plain_integers() -> None:
    tensor = torch.randint(-(2**62), 2**62, (5,), dtype=torch.int64)
    weights = []
    for place in range(5):
        unit = torch.zeros(5, dtype=torch.int64)
        unit[place] = 1
        weights.append(bits_sum(unit))
    assert len(set(weights)) == 5
    assert all(weight % 2 == 1 for weight in weights)
    assert bits_sum(tensor) == sum(w * int(x) for w, x in zip(weights, tensor, strict=True)) % 2**64


@pytest.mark.parametrize("shape", [(), (0,), (3,), (7, 5), (1 << 19, 5)])
def test_every_shape_has_a_sum_and_a_view_has_the_one_of_its_copy(shape: tuple[int, ...]) -> None:
    tensor = torch.ones(shape)
    assert bits_sum(tensor) == bits_sum(tensor.clone())
    if len(shape) == 2:
        assert bits_sum(tensor.t()) == bits_sum(tensor.t().contiguous())


def test_a_change_is_found_and_named_and_its_undoing_too() -> None:
    model = tiny_model("llama")
    fingerprint = Fingerprint(model)
    assert fingerprint.verify()
    weight = model.model.layers[1].mlp.up_proj.weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[0, 0] += 1
    found = fingerprint.verify()
    assert not found
    assert found.changed == ("model.layers.1.mlp.up_proj.weight",)
    with torch.no_grad():
        weight.copy_(kept)
    assert fingerprint.verify()


def test_buffers_are_covered_the_ones_that_no_file_keeps_too() -> None:
    model = tiny_model("llama")
    fingerprint = Fingerprint(model)
    model.model.rotary_emb.inv_freq[0] += 1
    assert fingerprint.verify().changed == ("model.rotary_emb.inv_freq",)


def test_a_broken_tie_is_a_change_even_with_the_same_bits() -> None:
    model = tiny_model("qwen2")
    assert model.lm_head.weight is model.model.embed_tokens.weight
    fingerprint = Fingerprint(model)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    assert fingerprint.verify().changed == ("lm_head.weight",)


def test_quick_says_that_it_compared_pointers_only() -> None:
    model = tiny_model("llama")
    fingerprint = Fingerprint(model)
    quick = fingerprint.verify(quick=True)
    assert quick
    assert quick.quick
    assert "only" in quick.line
    with torch.no_grad():
        model.model.norm.weight.mul_(2)
    assert not fingerprint.verify(quick=True)


def test_the_digest_is_the_same_in_every_process_and_another_for_another_base() -> None:
    assert Fingerprint(tiny_model("llama")).digest == Fingerprint(tiny_model("llama")).digest
    other = Fingerprint(tiny_model("llama", seed=1)).digest
    assert Fingerprint(tiny_model("llama")).digest != other
