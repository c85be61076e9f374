"""Counts of every method from a config, beside the meta device's and PEFT's own."""

from __future__ import annotations

import copy
import warnings
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig
from transformers.integrations.bitsandbytes import replace_with_bnb_linear
from transformers.quantizers.auto import AutoHfQuantizer

from lora_magic.adapters.bridge.library import peft
from lora_magic.adapters.read_shapes import shapes_of
from lora_magic.adapters.shapes import Shapes
from lora_magic.adapters.spec import AdapterSpec, first_rank
from lora_magic.cost.architectures import function_of
from lora_magic.cost.builder import quantised
from lora_magic.cost.count import planned, trainable
from lora_magic.cost.model import Model
from lora_magic.errors import AdapterError
from tests.cost import test_decoders, test_other_models

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers")

#: Model type → a tiny config of every architecture that a plan knows.
TINY: dict[str, dict[str, Any]] = {
    kind: {
        **{key: 2 if key in _LAYERS else value for key, value in configs[0].items()},
        **test_other_models.TOKENS,
    }
    for kind, configs in {**test_decoders.CHANGED, **test_other_models.CHANGED}.items()
}
# It has no heads of keys and values apart, and reads no such value.
TINY["gpt_neox"].pop("num_key_value_heads")

#: Those that PEFT's table for (IA)³ has and whose modules it names rightly.
SCALED = [
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi", "gpt2"),
    *("gpt_neox", "gptj", "gpt_bigcode", "opt", "bloom", "falcon", "bert", "roberta", "t5"),
    *("bart", "deberta-v2"),
]

#: Those whose cache PEFT's prefix fits: a config with heads of keys and values, or none apart.
PREFIXED = [
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "olmo2", "granite", "smollm3"),
    *("gpt2", "gpt_neox", "gptj", "opt", "bloom", "mixtral", "olmoe", "qwen2_moe", "qwen3_moe"),
    *("falcon_h1", "phi", "phi3", "starcoder2", "cohere", "stablelm"),
]

#: One of each kind: fused and grouped queries, Conv1D, tied heads, experts, state spaces.
SAMPLE = [
    *("llama", "qwen3", "gemma2", "phi3", "gpt2", "gpt_bigcode", "bloom", "falcon", "opt", "bert"),
    *("deberta-v2", "t5", "bart", "mixtral", "qwen2_moe", "deepseek_v3", "mamba2", "falcon_h1"),
    *([] if "jamba" not in test_other_models.CHANGED else ["jamba"]),
]

#: Linear layers that choose experts, or that PEFT does not adapt in an architecture.
LEFT = {
    "qwen2_moe": ("shared_expert_gate",),
    "qwen3_moe": ("gate_proj", "up_proj", "down_proj"),
    "deepseek_v3": ("gate_proj", "up_proj", "down_proj"),
    **dict.fromkeys(("mamba", "falcon_mamba", "mamba2", "falcon_h1"), ("out_proj",)),
}

R = 2


def _spec(method: str = "lora", **what: Any) -> AdapterSpec:
    if method in ("lora", "adalora"):
        what = {"rank": R, "alpha": 4.0, "targets": "all-linear", **what}
    return AdapterSpec(method=method, **what)


SPECS = {
    "all linear layers": _spec(),
    "attention": _spec(targets="attention"),
    "magnitudes": _spec(dora=True),
    "norms": _spec(norms=True),
    "biases": _spec(bias="all"),
    "the targets' biases": _spec(bias="lora_only"),
    "patterns": _spec(targets=r"re:.*(q_proj|query|q_lin|\.q|qkv|query_key_value|c_attn|in_proj)"),
    "embeddings": _spec(targets=r"re:.*(embed_tokens|word_embeddings|wte|shared|embeddings)"),
    "positions": _spec(targets=r"re:.*(embed_positions|position_embeddings|wpe)"),
    "adalora": _spec("adalora"),
    "ia3": _spec("ia3", targets="usual"),
    "prefix": _spec("prefix", virtual_tokens=5),
    "prompt": _spec("prompt", virtual_tokens=5),
    "houlsby": _spec("houlsby", rank=R, targets="usual"),
    "adapter-l": _spec("adapter-l", rank=R, targets="usual"),
    "bitfit": _spec("bitfit"),
    "full": _spec("full"),
}


@cache
def _found(kind: str) -> Model:
    function = function_of(kind)
    assert function is not None
    return function({"model_type": kind, **TINY[kind]}, "this model")


@cache
def _meta(kind: str) -> Any:
    if kind in test_other_models.CHANGED:
        return test_other_models.meta(kind, TINY[kind])
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **TINY[kind]))


def _answer(shapes: Shapes, spec: AdapterSpec) -> object:
    """The counts by module; None where the method is refused."""
    try:
        return planned(shapes, spec)
    except AdapterError:
        return None


@pytest.mark.parametrize("kind", TINY)
def test_each_method_counts_the_same_from_a_config_as_on_the_meta_device(kind: str) -> None:
    found, true = _found(kind).shapes, shapes_of(_meta(kind))
    for name, spec in SPECS.items():
        assert _answer(found, spec) == _answer(true, spec), name


@pytest.mark.parametrize("kind", TINY)
def test_full_and_bitfit_count_the_parameters_of_the_meta_device(kind: str) -> None:
    parameters = dict(_meta(kind).named_parameters())
    assert trainable(_found(kind), SPECS["full"]) == sum(p.numel() for p in parameters.values())
    biases = [p.numel() for name, p in parameters.items() if name.endswith(("bias", "_bias"))]
    if biases:
        assert trainable(_found(kind), SPECS["bitfit"]) == sum(biases)


@pytest.mark.parametrize("kind", TINY)
def test_bottlenecks_count_as_in_their_papers(kind: str) -> None:
    model = _found(kind)
    blocks, d = len(model.shapes.blocks), model.shapes.width
    one = 2 * d * R + R + d
    expected = {"houlsby": 2 * blocks * one, "adapter-l": blocks * (one + 2 * d)}
    for name, count in expected.items():
        if _answer(model.shapes, SPECS[name]) is not None:
            assert trainable(model, SPECS[name]) == count, name


def test_most_architectures_have_bottlenecks() -> None:
    answers = [_answer(_found(kind).shapes, SPECS["houlsby"]) for kind in TINY]
    assert sum(answer is not None for answer in answers) >= 24


def _linear(kind: str, model: Any) -> list[str]:
    """The linear layers that LoRA adapts, chosen without lora_magic."""
    output, left = model.get_output_embeddings(), LEFT.get(kind, ())
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
        if module is not output and not path.endswith(left)
    ]


def _by_peft(model: Any, config: Any) -> int:
    """The parameters that PEFT makes and trains; the model is as before."""
    model.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = peft.get_peft_model(model, config)
    # AdaLoRA's `ranknum` is how many ranks are left, a number without a gradient.
    trained = [p for n, p in wrapped.named_parameters() if p.requires_grad and "ranknum" not in n]
    wrapped.base_model.unload()
    return sum(value.numel() for value in trained)


def _where(kind: str, model: Any) -> dict[str, Any]:
    return {"target_modules": _linear(kind, model), "fan_in_fan_out": kind == "gpt2"}


@pytest.mark.parametrize("kind", TINY)
def test_lora_counts_as_peft(kind: str) -> None:
    found, model = _found(kind), _meta(kind)
    where = _where(kind, model)
    assert trainable(found, _spec()) == _by_peft(model, peft.LoraConfig(r=R, **where))


@pytest.mark.parametrize("kind", SAMPLE)
def test_lora_on_embeddings_counts_as_peft(kind: str) -> None:
    found, model = _found(kind), _meta(kind)
    words = [path for path, m in model.named_modules() if m is model.get_input_embeddings()]
    config = peft.LoraConfig(r=R, target_modules=words)
    assert trainable(found, _spec(targets=words[0])) == _by_peft(model, config)


@pytest.mark.parametrize("kind", SAMPLE)
def test_dora_with_ranks_by_module_and_biases_counts_as_peft(kind: str) -> None:
    model = _meta(kind)
    where = _where(kind, model)
    paths = where["target_modules"]
    ranks = {paths[0]: R + 2, paths[-1]: R + 1}
    biases = [n for n, _ in model.named_parameters() if n.endswith(("bias", "_bias"))]
    bias = "all" if biases else "none"
    config = peft.LoraConfig(r=R, use_dora=True, bias=bias, rank_pattern=ranks, **where)
    expected = _by_peft(model, config)
    # Newer versions of PEFT leave out biases of another name, such as a state space's `dt_bias`.
    left = [p for n, p in model.named_parameters() if n.endswith("_bias") and not p.requires_grad]
    expected += sum(value.numel() for value in left)
    spec = _spec(dora=True, bias=bias, rank_pattern=tuple(ranks.items()))
    assert trainable(_found(kind), spec) == expected


@pytest.mark.parametrize("kind", SAMPLE)
def test_adalora_counts_as_peft(kind: str) -> None:
    model = _meta(kind)
    ranks = {"target_r": R, "init_r": first_rank(R), "total_step": 10}
    config = peft.AdaLoraConfig(**ranks, **_where(kind, model))
    assert trainable(_found(kind), SPECS["adalora"]) == _by_peft(model, config)


@pytest.mark.parametrize("kind", SCALED)
def test_ia3_counts_as_peft(kind: str) -> None:
    assert trainable(_found(kind), SPECS["ia3"]) == _by_peft(_meta(kind), peft.IA3Config())


@pytest.mark.parametrize("kind", PREFIXED)
def test_virtual_tokens_count_as_peft(kind: str) -> None:
    for name, config in (
        ("prefix", peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)),
        ("prompt", peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = peft.get_peft_model(_meta(kind), config)
        count = sum(value.numel() for value in wrapped.parameters() if value.requires_grad)
        assert trainable(_found(kind), SPECS[name]) == count, name


# transformers keeps some of T5's layers in float32; encoder-decoders are not loaded here.
@pytest.mark.parametrize("kind", [kind for kind in TINY if kind != "t5"])
def test_bitsandbytes_quantises_the_layers_that_the_config_alone_says(kind: str) -> None:
    model = copy.deepcopy(_meta(kind))
    config = BitsAndBytesConfig(load_in_4bit=True)
    quantizer = AutoHfQuantizer.from_config(config)
    left = quantizer.get_modules_to_not_convert(model, None, model._keep_in_fp32_modules)
    true = shapes_of(replace_with_bnb_linear(model, left, config))
    of_four = [path for path, module in true.modules.items() if module.bits == 4]
    assert quantised(_found(kind)) == of_four


#: Model type, its config's values, and what its authors say in billions: all parameters, active.
PUBLISHED: list[tuple[str, dict[str, Any], float, float]] = [
    ("mixtral", {}, 46.7, 12.9),
    ("olmoe", {"intermediate_size": 1024}, 6.9, 1.3),
    ("qwen2_moe", {}, 14.3, 2.7),
    ("qwen3_moe", {"num_hidden_layers": 48, "head_dim": 128}, 30.5, 3.3),
    ("deepseek_v3", {}, 671.0, 37.6),
    ("jamba", {}, 51.6, 12.1),
]


@pytest.mark.parametrize(("kind", "values", "whole", "active"), PUBLISHED)
def test_experts_have_the_published_sizes(
    kind: str, values: dict[str, Any], whole: float, active: float
) -> None:
    function = function_of(kind)
    assert function is not None
    model = function({"model_type": kind, **values}, kind)
    assert model.parameters / 1e9 == pytest.approx(whole, abs=0.06)
    assert model.active / 1e9 == pytest.approx(active, abs=0.06)
