"""Bottlenecks: where they stand in each architecture, and what they compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lora_magic.adapters.bottleneck import Bottleneck
from lora_magic.adapters.read_shapes import shapes_of
from lora_magic.adapters.sites import after_projections, blocks
from lora_magic.adapters.slots import Slots
from lora_magic.errors import AdapterError
from tests.adapters.shared import answer, based, made, moved
from tests.classifiers import tiny_of
from tests.tiny import ARCHITECTURES, tiny_model

#: The list of blocks, and in each the output projections of attention and of the feed-forward.
PLACES = {
    "llama": ("model.layers", "self_attn.o_proj", "mlp.down_proj"),
    "mistral": ("model.layers", "self_attn.o_proj", "mlp.down_proj"),
    "qwen2": ("model.layers", "self_attn.o_proj", "mlp.down_proj"),
    "gemma": ("model.layers", "self_attn.o_proj", "mlp.down_proj"),
    "phi": ("model.layers", "self_attn.dense", "mlp.fc2"),
    "gpt2": ("transformer.h", "attn.c_proj", "mlp.c_proj"),
    "opt": ("model.decoder.layers", "self_attn.out_proj", "fc2"),
    "gpt_neox": ("gpt_neox.layers", "attention.dense", "mlp.dense_4h_to_h"),
    "bert": ("bert.encoder.layer", "attention.output.dense", "output.dense"),
    "roberta": ("roberta.encoder.layer", "attention.output.dense", "output.dense"),
}


def model_of(architecture: str) -> Any:
    if architecture in ("bert", "roberta"):
        return tiny_of("classifier", architecture)
    return tiny_model(architecture)


@pytest.mark.parametrize("architecture", PLACES)
def test_houlsbys_stand_after_both_output_projections_of_each_block(architecture: str) -> None:
    shapes = shapes_of(model_of(architecture))
    listed, attention, feed_forward = PLACES[architecture]
    expected = [f"{listed}.{i}.{part}" for i in (0, 1) for part in (attention, feed_forward)]
    assert list(after_projections(shapes)) == expected


@pytest.mark.parametrize("architecture", PLACES)
def test_lins_stand_after_each_block(architecture: str) -> None:
    listed = PLACES[architecture][0]
    shapes = shapes_of(model_of(architecture))
    assert list(blocks(shapes)) == [f"{listed}.0", f"{listed}.1"]
    assert shapes.width == 32


def test_all_the_promised_architectures_are_known() -> None:
    assert set(ARCHITECTURES) <= set(PLACES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", ["houlsby", "adapter-l"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_first_answer_is_the_bases_bit_for_bit_and_a_trained_one_is_not(
    architecture: str, method: str, dtype: torch.dtype
) -> None:
    base, slots = based(architecture, dtype=dtype)
    before = answer(base, slots)
    attached = made(base, slots, method=method, rank=3)
    assert len(attached.replacements) == (4 if method == "houlsby" else 2)
    assert torch.equal(answer(base, slots, attached), before)
    moved(attached, 0.2)
    assert not torch.equal(answer(base, slots, attached), before)
    assert torch.equal(answer(base, slots), before)
    assert {tensor.dtype for _, tensor in attached.tensors()} == {torch.float32}


@pytest.mark.parametrize(("method", "each"), [("houlsby", 4), ("adapter-l", 2)])
def test_the_count_is_the_papers_formula(method: str, each: int) -> None:
    base, slots = based("gpt2")
    record = made(base, slots, method=method, rank=3).record()
    norm = 2 * 32 if method == "adapter-l" else 0
    assert record.trainable == each * (2 * 32 * 3 + 3 + 32 + norm)
    assert record.formula == record.trainable


class Told(nn.Linear):
    """A block that answers with a tuple and says of which kind its attention is."""

    attention_type = "sliding_attention"

    def forward(self, x: Tensor) -> tuple[Tensor, str]:  # type: ignore[override]  # a block's
        return super().forward(x), "beside"


@pytest.mark.parametrize("norm", [False, True])
def test_the_output_is_the_equations(norm: bool) -> None:
    original = nn.Linear(5, 6)
    layer = Bottleneck(original, 6, 3, norm=norm)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if not name.startswith("base_layer"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        x = torch.randn(4, 5, generator=generator)
        h = original(x).double()
        part: Any = layer
        inner = h
        if norm:
            mean, variance = h.mean(1, keepdim=True), h.var(1, unbiased=False, keepdim=True)
            inner = (h - mean) / (variance + 1e-5).sqrt() * part.norm.weight + part.norm.bias
        hidden = inner @ part.down.weight.double().mT + part.down.bias
        expected = h + hidden.clamp(min=0) @ part.up.weight.double().mT + part.up.bias
        assert torch.allclose(layer(x).double(), expected, atol=1e-4)
        assert (hidden > 0).any()
        assert (hidden < 0).any()


def test_a_tuples_first_part_is_changed_and_attributes_are_read_through() -> None:
    original = Told(4, 4)
    layer = Bottleneck(original, 4, 2)
    nn.init.ones_(layer.up.bias)
    x = torch.randn(3, 4)
    with torch.no_grad():
        first, second = layer(x)
        assert torch.allclose(first, original(x)[0] + 1)
    assert second == "beside"
    assert layer.attention_type == "sliding_attention"
    assert layer.weight is original.weight
    with pytest.raises(AttributeError):
        _ = layer.nothing_of_the_kind


def test_blocks_of_two_kinds_of_attention_each_keep_theirs() -> None:
    base, slots = based(
        "qwen2",
        layer_types=["full_attention", "sliding_attention"],
        use_sliding_window=True,
        sliding_window=4,
    )
    plain, _ = based("qwen2")
    before = answer(base, slots)
    assert not torch.equal(before, answer(plain, Slots(plain.model)))
    attached = made(base, slots, method="adapter-l", rank=2)
    assert torch.equal(answer(base, slots, attached), before)


def test_named_targets_are_taken_as_they_are() -> None:
    base, slots = based()
    attached = made(base, slots, method="houlsby", rank=2, targets="up_proj,q_proj")
    assert {path.rpartition(".")[2] for path in attached.replacements} == {"up_proj", "q_proj"}
    # The width is that of each module's outputs.
    widths = {path: layer.down.in_features for path, layer in attached.replacements.items()}  # type: ignore[union-attr]  # bottlenecks
    assert {width for path, width in widths.items() if "up_proj" in path} == {64}
    assert {width for path, width in widths.items() if "q_proj" in path} == {32}
    before = answer(base, slots)
    assert not torch.equal(answer(base, slots, moved(attached)), before)


def test_a_model_without_blocks_or_projections_is_told_what_to_name() -> None:
    with pytest.raises(AdapterError, match=r"no list of identical blocks.*--targets"):
        blocks(shapes_of(nn.Sequential(nn.Linear(2, 2))))
    odd = tiny_model()
    for layer in odd.model.layers:  # type: ignore[union-attr]  # a Llama
        layer.mlp = nn.Identity()
    with pytest.raises(AdapterError, match=r"layers\.0 has no feed-forward output projection"):
        after_projections(shapes_of(odd))


def test_only_the_bottlenecks_get_a_gradient() -> None:
    base, slots = based()
    attached = moved(made(base, slots, method="adapter-l", rank=2))
    ids = torch.arange(10, 30)[None]
    with slots.using(attached.replacements), attached.trainable():
        base.model(input_ids=ids, labels=ids).loss.backward()
        for name, tensor in attached.tensors():
            assert tensor.grad is not None, name
            assert bool(tensor.grad.any()), name
    assert all(parameter.grad is None for parameter in base.model.parameters())
