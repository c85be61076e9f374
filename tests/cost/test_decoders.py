"""The decoders that a plan knows from their config, beside transformers' own on the meta device."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from lora_magic.adapters.read_shapes import shapes_of
from lora_magic.adapters.shapes import Cache, Shapes
from lora_magic.cost.config import model_of
from lora_magic.errors import BaseModelError

_LLAMA = {
    "vocab_size": 60,
    "hidden_size": 48,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 40,
}
_WIDE = {**_LLAMA, "head_dim": 16}
_GPT2 = {
    "vocab_size": 60,
    "n_positions": 40,
    "n_embd": 48,
    "n_layer": 3,
    "n_head": 6,
    "n_inner": 56,
}

#: Configs with every size changed and every switch in turn.
CHANGED: dict[str, list[dict[str, Any]]] = {
    "llama": [
        {**_WIDE, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
        {**_LLAMA, "num_key_value_heads": None, "mlp_bias": True},
    ],
    "mistral": [{**_WIDE, "tie_word_embeddings": True}, {**_LLAMA, "sliding_window": None}],
    "qwen2": [
        {**_LLAMA, "tie_word_embeddings": True, "use_sliding_window": True},
        {**_LLAMA, "num_key_value_heads": None},
    ],
    "qwen3": [{**_WIDE, "attention_bias": True}, {**_LLAMA, "tie_word_embeddings": True}],
    "gemma": [{**_WIDE, "attention_bias": True}, {**_LLAMA, "tie_word_embeddings": False}],
    "gemma2": [{**_WIDE, "attention_bias": True}, {**_LLAMA, "tie_word_embeddings": False}],
    "gemma3_text": [{**_WIDE, "attention_bias": True}, {**_LLAMA, "tie_word_embeddings": False}],
    "olmo2": [{**_LLAMA, "attention_bias": True, "tie_word_embeddings": True}],
    "granite": [{**_LLAMA, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}],
    "smollm3": [
        {**_LLAMA, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False},
        {**_LLAMA, "no_rope_layers": [1, 0, 1]},
    ],
    "cohere": [
        {**_LLAMA, "attention_bias": True, "use_qk_norm": True},
        {**_LLAMA, "num_key_value_heads": None, "tie_word_embeddings": False},
    ],
    "stablelm": [
        {**_LLAMA, "use_qkv_bias": True, "qk_layernorm": True, "tie_word_embeddings": True},
        {**_LLAMA, "use_parallel_residual": True},
    ],
    "phi": [
        {**_LLAMA, "qk_layernorm": True, "tie_word_embeddings": True},
        {**_LLAMA, "num_key_value_heads": None},
    ],
    "phi3": [{**_LLAMA, "tie_word_embeddings": True}],
    "starcoder2": [{**_LLAMA, "use_bias": False}, {**_LLAMA, "tie_word_embeddings": False}],
    "gpt2": [_GPT2, {**_GPT2, "n_inner": None, "tie_word_embeddings": False}],
    "gpt_bigcode": [
        {**_GPT2, "multi_query": False},
        {**_GPT2, "n_inner": None, "tie_word_embeddings": False},
    ],
    "gptj": [{**_GPT2, "rotary_dim": 4}, {**_GPT2, "rotary_dim": 8, "tie_word_embeddings": True}],
    "opt": [
        {
            **{name: _LLAMA[name] for name in _LLAMA if "_key_" not in name},
            "ffn_dim": 56,
            "word_embed_proj_dim": 24,
            "enable_bias": False,
        },
        {**_LLAMA, "ffn_dim": 56, "do_layer_norm_before": False, "tie_word_embeddings": False},
        {**_LLAMA, "ffn_dim": 56, "layer_norm_elementwise_affine": False},
        {**_LLAMA, "ffn_dim": 56, "_remove_final_layer_norm": True},
    ],
    "bloom": [
        {"vocab_size": 60, "hidden_size": 48, "n_layer": 3, "n_head": 6},
        {"vocab_size": 60, "n_embed": 48, "n_layer": 3, "n_head": 6, "tie_word_embeddings": False},
    ],
    "falcon": [
        {**_LLAMA, "bias": True, "ffn_hidden_size": 56, "tie_word_embeddings": False},
        {**_LLAMA, "new_decoder_architecture": True, "num_kv_heads": 2},
        {**_LLAMA, "new_decoder_architecture": True, "num_ln_in_parallel_attn": 1},
        {**_LLAMA, "multi_query": False, "parallel_attn": False, "alibi": True},
        {**_LLAMA, "new_decoder_architecture": True, "num_kv_heads": 3, "n_embed": 96},
    ],
    "gpt_neox": [
        {**_LLAMA, "attention_bias": False, "tie_word_embeddings": True},
        {**_LLAMA, "use_parallel_residual": False},
    ],
}

CASES = [(kind, at) for kind, configs in CHANGED.items() for at in range(len(configs))]

#: The names of width and heads, where they are others than Llama's.
_NAMES = {
    **dict.fromkeys(("gpt2", "gpt_bigcode", "gptj"), ("n_embd", "n_head")),
    "bloom": ("hidden_size", "n_head"),
}

#: Those whose heads of keys and values follow from several values.
_BY_SWITCH = ("falcon", "gpt_bigcode", "llama")

#: Values of a config that it derives from others.
_BY_LAYER = ("layer_types", "no_rope_layers")

#: Tokens within the tiny vocabulary.
_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _meta(kind: str, values: dict[str, Any], auto: Any = AutoModelForCausalLM) -> Any:
    with torch.device("meta"):
        return auto.from_config(AutoConfig.for_model(kind, **values))


def _owning(shapes: Shapes) -> list[tuple[object, ...]]:
    """The modules with parameters, in order."""
    return [
        (path, module.kind, module.parameters, module.plain_lookup)
        for path, module in shapes.modules.items()
        if module.parameters
    ]


def _assert_equal(found: Shapes, true: Shapes) -> None:
    assert _owning(found) == _owning(true)
    for field in ("architecture", "model_type", "output", "blocks", "width", "experts", "total"):
        assert getattr(found, field) == getattr(true, field), field
    assert dict(found.ties) == dict(true.ties)


@pytest.mark.parametrize("kind", CHANGED)
def test_a_config_with_only_its_layers_has_the_modules_of_the_meta_device(kind: str) -> None:
    few = {"num_hidden_layers": 3}
    _assert_equal(model_of({"model_type": kind, **few}).shapes, shapes_of(_meta(kind, few)))


@pytest.mark.parametrize(("kind", "at"), CASES)
def test_every_size_and_switch_of_a_config_counts_as_on_the_meta_device(kind: str, at: int) -> None:
    values = CHANGED[kind][at]
    found = model_of({"model_type": kind, **values})
    _assert_equal(found.shapes, shapes_of(_meta(kind, {**values, **_TOKENS})))


@cache
def _classified() -> tuple[str, ...]:
    from transformers import CONFIG_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    known = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    return tuple(kind for kind in CHANGED if CONFIG_MAPPING[kind] in known)


@pytest.mark.parametrize("kind", CHANGED)
def test_a_classifier_has_the_head_that_transformers_gives_it(kind: str) -> None:
    values = CHANGED[kind][0]
    config = {"model_type": kind, **values}
    if kind not in _classified():
        with pytest.raises(BaseModelError, match="no classifier"):
            model_of(config, task="classification", labels="a,b,c")
        return
    found = model_of(config, task="classification", labels="a,b,c")
    true = _meta(kind, {**values, **_TOKENS, "num_labels": 3}, AutoModelForSequenceClassification)
    _assert_equal(found.shapes, shapes_of(true))
    assert found.head == ("score",)


def _whole(kind: str) -> dict[str, Any]:
    """A config with every value, whose sizes also fit the default of each other one."""
    values = {key: value for key, value in CHANGED[kind][0].items() if key != "head_dim"}
    width, heads = _NAMES.get(kind, ("hidden_size", "num_attention_heads"))
    sizes = {width: 576, heads: 32, "num_key_value_heads": 2}
    if kind == "falcon":  # 71 heads
        sizes = {width: 1136, heads: 8, "num_key_value_heads": 1}
    found: dict[str, Any] = AutoConfig.for_model(kind, **{**values, **sizes, **_TOKENS}).to_dict()
    # Lists with one value for each layer are derived from the others.
    return {key: value for key, value in found.items() if key not in _BY_LAYER}


@pytest.mark.parametrize("kind", CHANGED)
def test_a_missing_value_is_the_default_of_its_config_class(kind: str) -> None:
    whole = _whole(kind)
    for missing in whole.keys() - {"model_type"}:
        part = {key: value for key, value in whole.items() if key != missing}
        found, true = model_of(part), model_of(AutoConfig.for_model(**part).to_dict())
        assert found.shapes.modules == true.shapes.modules, missing
        assert found.ops == true.ops, missing
        assert (found.context, found.vocabulary) == (true.context, true.vocabulary), missing


@pytest.mark.parametrize(
    ("kind", "at"), [(kind, at) for kind, at in CASES if not at or kind in _BY_SWITCH]
)
def test_the_cache_has_the_keys_and_values_that_a_model_keeps(kind: str, at: int) -> None:
    values = CHANGED[kind][at]
    config = AutoConfig.for_model(kind, **values, **_TOKENS)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        kept = model(torch.tensor([[3, 4, 5]]), use_cache=True).past_key_values
    layers = [layer.keys for layer in kept.layers]
    (rows, heads, tokens, size) = layers[0].shape
    assert (rows, tokens) == (1, 3)
    found = model_of({"model_type": kind, **values}).shapes.cache
    assert found == Cache(len(layers), heads, size)
