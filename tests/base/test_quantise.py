"""Quantised bases: NF4's numbers and bits, what a layer computes with, what the fingerprint sees,
and what bitsandbytes would change in a forward pass."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lora_magic.base import quantise
from lora_magic.base.bitsandbytes_patches import _is_relevant, patch_layers
from lora_magic.base.load import load, use
from lora_magic.base.model import BaseModel
from lora_magic.base.prompt import PromptForm
from lora_magic.base.quantise import dequantised, quantised_bits
from lora_magic.errors import BaseModelError
from tests.conftest import Saver
from tests.quantised import BLOCK, NESTED_BLOCK, nf4
from tests.tiny import tiny_model, tiny_tokenizer

#: QLoRA's table, as published in `bitsandbytes` and in appendix E of arXiv 2305.14314.
NF4 = [
    -1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0,
]  # fmt: skip

IDS = torch.arange(10, 26)[None]


def layers_of(base: BaseModel) -> list[tuple[str, Any]]:
    found = [(name, m) for name, m in base.model.named_modules() if quantised_bits(m) is not None]
    assert found
    return found


def by_hand(module: Any) -> Tensor:
    """ŵ from the raw bytes, by the formulas of the paper and plain torch."""
    weight = module.weight
    if weight.dtype == torch.int8:
        scales = module.state.SCB if module.state.SCB is not None else weight.SCB
        return weight.data.double() * scales.double()[:, None] / 127
    state = weight.quant_state
    outer = state.state2
    blocks = torch.arange(state.absmax.numel()) // 256
    absmax = outer.code.double()[state.absmax.long()] * outer.absmax.double()[blocks]
    absmax = absmax + state.offset.double()
    packed = weight.data.flatten().long()
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten()
    numbers = torch.tensor(NF4, dtype=torch.float64)[codes]
    return (numbers * absmax.repeat_interleave(64)[: numbers.numel()]).reshape(state.shape)


def forward(base: BaseModel) -> Tensor:
    with torch.no_grad():
        found: Tensor = base.model(input_ids=IDS).logits
    return found


# Loading


@pytest.mark.parametrize(("bits", "kind"), [(4, "nf4"), (8, "int8")])
def test_the_embedded_model_loads_and_answers_in_words_of_its_world(bits: int, kind: str) -> None:
    plain, base = load("demo"), load("demo", bits=bits)
    assert base.parameters == plain.parameters
    record = base.record("plain", None)
    assert f"{kind} (" in record.line
    assert "bits per weight in all" in record.line
    assert "computing in fp32 on cpu" in record.line
    tokens = PromptForm.of(base.tokenizer).encode(base.tokenizer, "What does a fox eat?")
    prompt = {"input_ids": torch.tensor([tokens])}
    with torch.no_grad():
        apart = torch.log_softmax(plain.model(**prompt).logits, -1)
        found = torch.log_softmax(base.model(**prompt).logits, -1)
        text = base.model.generate(**prompt, max_new_tokens=12, do_sample=False)
    divergence = (apart.exp() * (apart - found)).sum(-1).mean()
    assert divergence < 0.1, "nats: the next word is almost as likely as before"
    assert "fox" in base.tokenizer.decode(text[0, len(tokens) :])
    assert base.fingerprint.verify()


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "opt", "gpt_neox", "qwen2"])
@pytest.mark.parametrize("bits", [4, 8])
def test_each_layer_computes_with_its_dequantised_weight(
    architecture: str, bits: int, saved_model: Saver
) -> None:
    base = load(str(saved_model(architecture)), bits=bits)
    for name, layer in layers_of(base):
        weight = dequantised(layer)
        assert quantised_bits(layer) == bits
        assert weight.dtype is torch.float32
        assert weight.shape == (layer.out_features, layer.in_features)
        error = (weight.double() - by_hand(layer)).norm() / weight.double().norm()
        assert error < 1e-6, name
        # Without rounding of the inputs, which LLM.int8() does too: the gradient by them.
        layer.train()
        inputs = torch.randn(3, layer.in_features, requires_grad=True)
        (gradient,) = torch.autograd.grad(layer(inputs).sum(), inputs)
        layer.eval()
        expected = weight.sum(0).expand_as(gradient)
        # int8's backward pass takes its factors in half precision on some versions.
        assert torch.allclose(gradient, expected, rtol=1e-2, atol=1e-3), name
        if bits == 4:
            bias = 0 if layer.bias is None else layer.bias
            assert torch.allclose(layer(inputs), inputs @ weight.T + bias, atol=1e-5), name


def test_a_quantised_base_counts_every_weight_once(saved_model: Saver) -> None:
    for architecture in ("llama", "gpt2", "qwen2"):
        whole = sum(p.numel() for p in tiny_model(architecture).parameters())
        for bits in (4, 8):
            assert load(str(saved_model(architecture)), bits=bits).parameters == whole


def test_a_layer_in_nf4_takes_4_13_bits_per_weight() -> None:
    import bitsandbytes as bnb

    layer = bnb.nn.Linear4bit(1024, 1024, bias=False, quant_type="nf4", compress_statistics=True)
    layer.to("cpu")
    found = quantise.quantised(nn.Sequential(layer))
    assert found is not None
    assert (found.kind, found.bits, found.layers) == ("nf4", 4, 1)
    # 4 bits, 8 for each 64 weights, 32 for each 64 × 256: QLoRA, section 3.
    arithmetic = 4 + 8 / BLOCK + 32 / (BLOCK * NESTED_BLOCK)
    assert arithmetic == pytest.approx(4.127, abs=5e-4)
    # Beside these one offset and the two tables of 16 and 256 numbers.
    tables = 32 * (1 + 16 + 256) / 1024**2
    assert found.bits_per_weight == pytest.approx(arithmetic + tables, abs=1e-6)
    assert found.bits_per_weight <= 4.2


def test_the_codebook_is_qloras(saved_model: Saver) -> None:
    (_, layer), *_ = layers_of(load(str(saved_model()), bits=4))
    assert torch.allclose(layer.weight.quant_state.code, torch.tensor(NF4), atol=5e-8)
    assert layer.weight.quant_state.state2 is not None, "double quantisation"


@pytest.mark.parametrize("width", [32, 65, 96, 128, 160, 1000])
def test_rows_that_end_within_a_block_are_read_with_their_own_scales(width: int) -> None:
    import bitsandbytes as bnb

    layer = bnb.nn.Linear4bit(width, 48, quant_type="nf4", compute_dtype=torch.float32)
    wanted = layer.weight.data.clone()
    layer.to("cpu")
    release = patch_layers(nn.Sequential(layer))
    found = dequantised(layer)
    assert float((found - wanted).norm() / wanted.norm()) < 0.1, "NF4 loses about 9 %"
    assert torch.allclose(found.double(), by_hand(layer), atol=1e-6)
    inputs = torch.randn(5, width, generator=torch.Generator().manual_seed(0))
    expected = inputs @ found.T + layer.bias
    assert torch.allclose(layer.eval()(inputs), expected, atol=1e-5)
    release()
    assert "forward" not in vars(layer)


def test_nf4_is_what_loading_did_to_the_weight(saved_model: Saver) -> None:
    base = load(str(saved_model()), bits=4)
    for path, layer in layers_of(base):
        assert torch.equal(nf4(base.stored_weight(path)), dequantised(layer))


def test_what_is_computed_in_follows_the_flag(saved_model: Saver) -> None:
    base = load(str(saved_model()), bits=4, dtype="bf16")
    (_, layer), *_ = layers_of(base)
    assert layer.compute_dtype is torch.bfloat16
    assert base.model.model.embed_tokens.weight.dtype is torch.bfloat16
    weight = dequantised(layer)
    assert torch.equal(weight, weight.bfloat16().float()), "rounded as the layer rounds it"
    assert "computing in bf16" in base.record("plain", None).line
    assert forward(base).dtype is torch.bfloat16
    assert base.fingerprint.verify()


def test_a_module_that_is_not_quantised_has_no_bits() -> None:
    assert quantised_bits(nn.Linear(3, 2)) is None
    assert quantised_bits(nn.LayerNorm(3)) is None
    assert quantise.quantised(tiny_model()) is None
    with pytest.raises(ValueError, match="Linear is not quantised"):
        dequantised(nn.Linear(3, 2))


@pytest.mark.parametrize("bits", [2, 16, 4.0, "4", True])
def test_other_widths_are_refused_with_the_ones_there_are(bits: Any, saved_model: Saver) -> None:
    with pytest.raises(BaseModelError, match=r"expected 4 \(NF4, double quantised\) or 8"):
        load(str(saved_model()), bits=bits)


def test_a_device_that_cannot_have_it_is_named() -> None:
    with pytest.raises(BaseModelError, match=r"got mps; add --device cpu"):
        quantise.check_bits(4, torch.device("mps"))


def test_a_type_that_is_a_width_leads_to_the_flag(saved_model: Saver) -> None:
    for dtype, bits in (("nf4", 4), ("int8", 8), ("4bit", 4)):
        with pytest.raises(BaseModelError, match=rf"type --bits {bits}"):
            load(str(saved_model()), dtype=dtype)


def test_a_checkpoint_in_4_bits_is_read_as_it_is_and_not_put_into_8(
    tmp_path: Path, saved_model: Saver
) -> None:
    first = load(str(saved_model()), bits=4)
    folder = tmp_path / "packed"
    first.model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    again = load(str(folder))
    assert again.quantised is not None
    assert again.quantised.bits == 4
    assert torch.equal(forward(again), forward(first))
    assert again.fingerprint.verify()
    with pytest.raises(BaseModelError, match=r"stored in 4 bits and cannot be quantised to 8"):
        load(str(folder), bits=8)
    with pytest.raises(BaseModelError, match=r"model.* is already quantised in the files"):
        again.stored_weight("model.layers.0.mlp.up_proj")


def test_another_library_s_format_is_not_quantised_again() -> None:
    config = type("Config", (), {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    cpu = torch.device("cpu")
    with pytest.raises(BaseModelError, match="already stored in gptq"):
        quantise.loading_options("some/model", config(), object, 4, cpu)
    assert quantise.loading_options("some/model", config(), object, None, cpu) == {}


# The fingerprint


def parts(module: Any) -> dict[str, Tensor]:
    """Every tensor that a quantised layer is made of, found by bitsandbytes' own names."""
    weight = module.weight
    if weight.dtype == torch.int8:
        there = module.state if module.state.SCB is not None else weight
        return {"weight": weight.data, "SCB": there.SCB, "CB": there.CB}
    state = weight.quant_state
    return {
        "weight": weight.data,
        "absmax": state.absmax,
        "code": state.code,
        "offset": state.offset,
        "state2.absmax": state.state2.absmax,
        "state2.code": state.state2.code,
    }


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_one_bit_in_any_part_of_a_quantised_weight_is_found(
    bits: int, used: bool, saved_model: Saver
) -> None:
    base = load(str(saved_model()), bits=bits)
    if used:
        forward(base)
    path, layer = layers_of(base)[3]
    assert base.fingerprint.verify()
    for name, tensor in parts(layer).items():
        raw = tensor.reshape(-1).view(torch.uint8)
        raw[-1] ^= 16
        found = base.fingerprint.verify()
        assert not found, name
        assert any(changed.startswith(f"{path}.weight") for changed in found.changed), name
        raw[-1] ^= 16
        assert base.fingerprint.verify(), name


@pytest.mark.parametrize("bits", [4, 8])
def test_a_scale_replaced_by_an_equal_one_is_another_tensor(bits: int, saved_model: Saver) -> None:
    base = load(str(saved_model()), bits=bits)
    forward(base)
    _, layer = layers_of(base)[0]
    owner, name = (layer.state, "SCB") if bits == 8 else (layer.weight.quant_state, "absmax")
    setattr(owner, name, getattr(owner, name) * 2)
    assert not base.fingerprint.verify()


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("bits", [4, 8])
def test_forward_backward_and_generation_change_nothing(
    architecture: str, bits: int, saved_model: Saver
) -> None:
    base = load(str(saved_model(architecture)), bits=bits)
    first = forward(base)
    hidden = base.model.get_input_embeddings()(IDS).detach().requires_grad_()
    for training in (True, False):
        base.model.train(training)
        base.model(inputs_embeds=hidden, labels=IDS).loss.backward()
    base.model.eval()
    base.model.generate(input_ids=IDS, max_new_tokens=4, do_sample=False)
    assert base.fingerprint.verify()
    assert base.fingerprint.verify(quick=True)
    assert torch.equal(forward(base), first)
    assert not any(parameter.grad is not None for parameter in base.model.parameters())


@pytest.mark.parametrize("bits", [4, 8])
def test_inputs_in_another_type_leave_the_bias_as_it_is(bits: int, saved_model: Saver) -> None:
    base = load(str(saved_model("gpt2")), bits=bits)
    _, layer = layers_of(base)[0]
    with torch.no_grad():
        layer(torch.ones(2, layer.in_features, dtype=torch.bfloat16))
    assert layer.bias.dtype is torch.float32
    assert base.fingerprint.verify()


def test_the_digest_of_a_quantised_base_is_the_same_before_and_after_use(
    saved_model: Saver,
) -> None:
    for bits in (4, 8):
        base, other = (load(str(saved_model()), bits=bits) for _ in range(2))
        forward(base)
        again = use(base.model, base.tokenizer)
        assert again.fingerprint.digest == base.fingerprint.digest == other.fingerprint.digest


# The trap of AVX512-BF16


def gradients(model: nn.Module, start: Tensor) -> Tensor:
    model.train()
    hidden = start.clone().requires_grad_()
    loss = model(inputs_embeds=hidden, labels=IDS).loss
    (found,) = torch.autograd.grad(loss, hidden)
    return found


def test_gradients_after_an_answer_are_those_before_it(saved_model: Saver) -> None:
    base = load(str(saved_model()), bits=4)
    start = base.model.get_input_embeddings()(IDS).detach()
    before = gradients(base.model, start)
    base.model.eval()
    forward(base)
    assert torch.equal(gradients(base.model, start), before)
    assert float(before.abs().max()) > 0


def test_no_layer_repacks_itself_and_release_gives_the_switch_back(saved_model: Saver) -> None:
    base = load(str(saved_model()), bits=4)
    layers = [layer for _, layer in layers_of(base)]
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
    base.release()
    import bitsandbytes as bnb

    own = bnb.nn.Linear4bit(64, 64).support_avx512bf16_for_cpu
    assert all(layer.support_avx512bf16_for_cpu == own for layer in layers)


def live(saved_model: Saver, bits: int, architecture: str = "llama") -> Any:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=bits == 4, load_in_8bit=bits == 8, bnb_4bit_quant_type="nf4"
    )
    return AutoModelForCausalLM.from_pretrained(
        saved_model(architecture), quantization_config=config, device_map={"": "cpu"}
    )


@pytest.mark.parametrize("bits", [4, 8])
def test_a_live_quantised_model_is_recognised(bits: int, saved_model: Saver) -> None:
    whole = sum(p.numel() for p in tiny_model().parameters())
    base = use(live(saved_model, bits), tiny_tokenizer())
    assert base.quantised is not None
    assert base.quantised.bits == bits
    assert base.parameters == whole
    assert base.dtype is torch.float32
    forward(base)
    assert base.fingerprint.verify()
    with pytest.raises(BaseModelError, match=r"is a live model.*%lora load NAME --bits 4"):
        base.stored_weight("model.layers.0.mlp.up_proj")


def test_a_live_model_s_bias_comes_back_in_the_type_it_had(saved_model: Saver) -> None:
    model = live(saved_model, 4, "gpt2")
    layer = model.transformer.h[0].attn.c_attn
    layer.compute_dtype, before = torch.bfloat16, layer.bias.data
    base = use(model, tiny_tokenizer())
    forward(base)
    assert base.fingerprint.verify(), "the bias was cast before the fingerprint was taken"
    base.release()
    assert layer.bias.data.data_ptr() == before.data_ptr()


def test_a_live_model_that_was_repacked_is_refused_with_the_way_out(saved_model: Saver) -> None:
    model = live(saved_model, 4)
    model.model.layers[0].mlp.up_proj.weight.quant_state.packing_format_for_cpu = True
    with pytest.raises(BaseModelError, match=r"repacked.*load it again.*--bits 4"):
        use(model, tiny_tokenizer())


# Noise


@pytest.mark.parametrize("bits", [4, 8])
def test_loading_and_answering_print_nothing(
    bits: int,
    saved_model: Saver,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = str(saved_model())
    capfd.readouterr()
    base = load(folder, bits=bits)
    forward(base)
    told = capfd.readouterr()
    assert told.out + told.err == ""
    assert not caplog.records
    base.release()
    filters = logging.getLogger("bitsandbytes.autograd._functions").filters
    assert _is_relevant not in filters


def test_the_bits_of_all_weights_are_reported_with_what_is_not_quantised(tmp_path: Path) -> None:
    """Mixtral's experts are 3D parameters, which bitsandbytes leaves as they are."""
    from transformers import MixtralConfig, MixtralForCausalLM

    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 8}
    model = MixtralForCausalLM(MixtralConfig(vocab_size=384, **sizes, **heads))
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    base = load(str(tmp_path), bits=4)
    assert base.quantised is not None
    weights = {name: value.numel() for name, value in model.named_parameters()}
    layers = [name for name in weights if "_proj.weight" in name and "self_attn" in name]
    total, packed = sum(weights.values()), sum(weights[name] for name in layers)
    # 4 bits and about 0.13 for the scales in the layers, 32 for all others.
    arithmetic = (4.13 * packed + 32 * (total - packed)) / total
    assert base.quantised.bits_in_all == pytest.approx(arithmetic, abs=0.05)
    assert base.quantised.kept == pytest.approx(1 - packed / total)
    line = base.record("plain", None).line
    assert f"{base.quantised.bits_in_all:.2f} bits per weight in all" in line
    assert "the experts" in line
