"""Encoders, encoder-decoders, experts and state spaces from a config, beside the meta device."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
)
from transformers.models.jamba import modeling_jamba

from lora_magic.adapters import bridge
from lora_magic.adapters.bridge.library import peft
from lora_magic.adapters.read_shapes import shapes_of
from lora_magic.adapters.shapes import LINEAR, Shapes
from lora_magic.adapters.targets import leaf_names
from lora_magic.base.task import task_of
from lora_magic.cost import peft_names
from lora_magic.cost.architectures import FAMILIES, function_of
from lora_magic.cost.builder import LABELS
from lora_magic.cost.config import model_of
from lora_magic.cost.model import Model
from lora_magic.errors import BaseModelError

_SIZES = {
    "vocab_size": 60,
    "hidden_size": 64,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
}
_BERT = {**_SIZES, "type_vocab_size": 3}
_DEBERTA = {**_SIZES, "relative_attention": True}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}
_ALIKE = {**_SIZES, "num_key_value_heads": None}
_MIXTRAL = {**_GROUPED, "num_local_experts": 5, "num_experts_per_tok": 3}
_OLMOE = {**_GROUPED, "num_experts": 5, "num_experts_per_tok": 3}
_QWEN = {**_OLMOE, "moe_intermediate_size": 24}
_MAMBA = {
    "vocab_size": 60,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "state_size": 5,
    "conv_kernel": 3,
    "expand": 3,
}
_MAMBA2 = {**_MAMBA, "num_heads": 8, "head_dim": 24, "n_groups": 2}
_SCAN = {"mamba_d_state": 5, "mamba_d_conv": 3, "mamba_expand": 3}
_SCAN2 = {**_SCAN, "mamba_n_heads": 8, "mamba_n_groups": 2}
_T5 = {
    "vocab_size": 60,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 56,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 7,
}
_BART = {
    "vocab_size": 60,
    "d_model": 64,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_ffn_dim": 56,
    "decoder_ffn_dim": 24,
    "encoder_attention_heads": 8,
    "decoder_attention_heads": 4,
    "max_position_embeddings": 40,
}
_DEEPSEEK = {
    **_ALIKE,
    "moe_intermediate_size": 24,
    "n_routed_experts": 6,
    "num_experts_per_tok": 3,
    "kv_lora_rank": 10,
    "q_lora_rank": 14,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 6,
    "v_head_dim": 12,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
}

#: Configs with every size changed and every switch in turn.
CHANGED: dict[str, list[dict[str, Any]]] = {
    "bert": [_BERT, {**_BERT, "tie_word_embeddings": False}],
    "roberta": [_BERT, {**_BERT, "tie_word_embeddings": False}],
    "xlm-roberta": [_BERT, {**_BERT, "tie_word_embeddings": False}],
    "distilbert": [
        {
            "vocab_size": 60,
            "dim": 64,
            "n_layers": 3,
            "n_heads": 4,
            "hidden_dim": 56,
            "max_position_embeddings": 40,
        },
        {**_SIZES, "hidden_dim": 56, "tie_word_embeddings": False},
    ],
    "electra": [
        {**_BERT, "embedding_size": 24},
        {**_BERT, "embedding_size": 64, "tie_word_embeddings": False},
    ],
    "deberta-v2": [
        {**_DEBERTA, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 3},
        {**_DEBERTA, "pos_att_type": "c2p|p2c", "share_att_key": True, "position_buckets": 8},
        {**_DEBERTA, "norm_rel_ebd": "layer_norm", "max_relative_positions": 9},
        {**_DEBERTA, "pos_att_type": "p2c", "position_biased_input": False},
        {**_SIZES, "conv_kernel_size": 3, "conv_groups": 2, "conv_act": "gelu"},
        {**_SIZES, "embedding_size": 24, "attention_head_size": 16},
        {**_SIZES, "legacy": False},
        {**_SIZES, "tie_word_embeddings": False},
    ],
    "t5": [
        {**_T5, "num_decoder_layers": 3},
        {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        {**_T5, "num_layers": 4, "num_decoder_layers": 2},
    ],
    "bart": [_BART, {**_BART, "decoder_layers": 5, "tie_word_embeddings": False}],
    "mixtral": [
        {**_MIXTRAL, "head_dim": 16},
        {**_MIXTRAL, "num_key_value_heads": 1, "tie_word_embeddings": True},
    ],
    "olmoe": [
        {**_OLMOE, "attention_bias": True, "tie_word_embeddings": True},
        {**_OLMOE, **_ALIKE},
    ],
    "qwen2_moe": [
        {**_QWEN, "shared_expert_intermediate_size": 40, "mlp_only_layers": [1]},
        {**_QWEN, "qkv_bias": False, "decoder_sparse_step": 2, "tie_word_embeddings": True},
    ],
    "qwen3_moe": [
        {**_QWEN, "head_dim": 16, "attention_bias": True, "tie_word_embeddings": True},
        {**_QWEN, "mlp_only_layers": [0], "decoder_sparse_step": 2},
    ],
    "deepseek_v3": [
        {**_DEEPSEEK, "attention_bias": True, "n_shared_experts": 2},
        {**_DEEPSEEK, "q_lora_rank": None, "tie_word_embeddings": True},
    ],
    "mamba": [
        {**_MAMBA, "use_bias": True, "use_conv_bias": False},
        {**_MAMBA, "time_step_rank": 7, "tie_word_embeddings": False},
    ],
    "falcon_mamba": [{**_MAMBA, "use_bias": True}, {**_MAMBA, "tie_word_embeddings": False}],
    "mamba2": [
        {**_MAMBA2, "use_bias": True, "tie_word_embeddings": True},
        {**_MAMBA2, "use_conv_bias": False},
    ],
    "bamba": [
        {**_GROUPED, **_SCAN2, "attn_layer_indices": [1], "tie_word_embeddings": True},
        {**_ALIKE, **_SCAN2, "attn_layer_indices": [0, 2], "attention_bias": True},
        {**_GROUPED, **_SCAN2, "mamba_proj_bias": True, "mamba_conv_bias": False, "mlp_bias": True},
        {**_GROUPED, **_SCAN2, "attn_layer_indices": [0, 1, 2]},
    ],
    "falcon_h1": [
        {**_GROUPED, **_SCAN2, "mamba_d_ssm": 72, "mamba_rms_norm": True},
        {**_ALIKE, **_SCAN2, "mamba_d_ssm": None, "projectors_bias": True, "mlp_bias": True},
        {
            **{**_GROUPED, **_SCAN2, "mamba_d_ssm": 40, "attention_bias": True},
            **{"mamba_proj_bias": True, "mamba_conv_bias": False, "tie_word_embeddings": True},
        },
    ],
    "jamba": [
        {
            **{**_GROUPED, **_SCAN, "num_experts": 5, "num_experts_per_tok": 3},
            **{"attn_layer_period": 3, "attn_layer_offset": 1, "mamba_dt_rank": 7},
        },
        {**_GROUPED, **_SCAN, "num_experts": 1, "tie_word_embeddings": True},
        {
            **{
                **_GROUPED,
                **_SCAN,
                "num_experts": 2,
                "attn_layer_period": 1,
                "attn_layer_offset": 0,
            },
            **{"expert_layer_period": 3, "expert_layer_offset": 2},
        },
        {**_GROUPED, **_SCAN, "num_experts": 2, "mamba_proj_bias": True, "mamba_conv_bias": False},
    ],
}

if not hasattr(modeling_jamba, "JambaTopKRouter"):
    # Older transformers: a linear layer is Jamba's router, and DeBERTa's newer head has its table.
    del CHANGED["jamba"], CHANGED["deberta-v2"][6]

CASES = [(kind, at) for kind, configs in CHANGED.items() for at in range(len(configs))]

TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

_BOTH = ("t5", "bart")


def _auto(kind: str) -> Any:
    if kind in _BOTH:
        return AutoModelForSeq2SeqLM
    encoder = CONFIG_MAPPING[kind] in MODEL_FOR_MASKED_LM_MAPPING
    return AutoModelForMaskedLM if encoder else AutoModelForCausalLM


def meta(kind: str, values: Mapping[str, Any], auto: Any = None) -> Any:
    with torch.device("meta"):
        return (auto or _auto(kind)).from_config(AutoConfig.for_model(kind, **values))


@cache
def _changed(kind: str, at: int) -> Any:
    """The meta device's model of a changed config, shared between the tests."""
    return meta(kind, {**CHANGED[kind][at], **TOKENS})


def _found(kind: str, values: Mapping[str, Any]) -> Model:
    function = function_of(kind)
    assert function is not None
    return function({"model_type": kind, **values}, "this model")


def _owning(shapes: Shapes) -> list[tuple[object, ...]]:
    """The modules with parameters, in order."""
    return [
        (path, module.kind, module.parameters, module.plain_lookup)
        for path, module in shapes.modules.items()
        if module.parameters
    ]


def assert_equal(found: Shapes, true: Shapes) -> None:
    """Are these the shapes of one model?"""
    assert _owning(found) == _owning(true)
    assert found.modules.keys() <= true.modules.keys()
    for field in ("architecture", "model_type", "output", "blocks", "width", "cache", "total"):
        assert getattr(found, field) == getattr(true, field), field
    assert dict(found.ties) == dict(true.ties)
    assert found.experts == {path for path in true.experts if true.modules[path].parameters}


@pytest.mark.parametrize("kind", CHANGED)
def test_a_config_with_only_its_layers_has_the_modules_of_the_meta_device(kind: str) -> None:
    # With layers of each class; T5's decoder has a number of its own.
    few = {} if kind == "t5" else {"num_hidden_layers": 5}
    assert_equal(_found(kind, few).shapes, shapes_of(meta(kind, few)))


@pytest.mark.parametrize(("kind", "at"), CASES)
def test_every_size_and_switch_of_a_config_counts_as_on_the_meta_device(kind: str, at: int) -> None:
    values = CHANGED[kind][at]
    model = _changed(kind, at)
    found = _found(kind, values)
    assert_equal(found.shapes, shapes_of(model))
    assert found.parameters == sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize("kind", CHANGED)
def test_a_missing_value_is_the_default_of_its_config_class(kind: str) -> None:
    whole = AutoConfig.for_model(kind, **CHANGED[kind][0], **TOKENS).to_dict()
    for missing in CHANGED[kind][0].keys() | {"tie_word_embeddings"}:
        part = {key: value for key, value in whole.items() if key not in (missing, "model_type")}
        try:
            filled = AutoConfig.for_model(kind, **part).to_dict()
            true = _found(kind, filled)
        except (StrictDataclassError, ValueError, BaseModelError):
            continue  # sizes that do not fit each other
        found = _found(kind, part)
        assert found.shapes.modules == true.shapes.modules, missing
        assert (found.ops, found.shapes.ties) == (true.ops, true.shapes.ties), missing


@pytest.mark.parametrize("kind", CHANGED)
def test_a_classifier_has_the_head_that_transformers_gives_it(kind: str) -> None:
    values = CHANGED[kind][0]
    if CONFIG_MAPPING[kind] not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING or kind in _BOTH:
        with pytest.raises(BaseModelError, match=r"no classifier|encoder-decoder"):
            _found(kind, {**values, LABELS: 3})
        return
    found = _found(kind, {**values, LABELS: 3})
    true = meta(kind, {**values, **TOKENS, "num_labels": 3}, AutoModelForSequenceClassification)
    assert_equal(found.shapes, shapes_of(true))
    assert found.head == task_of(true).head


@pytest.mark.parametrize(("kind", "at"), CASES)
def test_peft_refuses_and_scales_what_the_config_alone_says(kind: str, at: int) -> None:
    values = CHANGED[kind][at]
    model = _changed(kind, at)
    linear = [p for p, module in shapes_of(model).modules.items() if module.kind == LINEAR]
    shapes = _found(kind, values).shapes
    assert shapes.refused.keys() == bridge.refused(model, leaf_names(linear)).keys()
    assert list(shapes.scaled) == bridge.usual_targets(model)


def test_the_table_of_ia3_is_that_of_peft() -> None:
    table = peft.utils.constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING
    assert "llama" in table
    for kind in {*table, *FAMILIES}:
        assert peft_names.scaled(kind) == tuple(table.get(kind, ())), kind


@pytest.mark.parametrize(("kind", "at"), CASES)
def test_a_token_passes_all_but_the_experts_that_are_not_chosen(kind: str, at: int) -> None:
    values = CHANGED[kind][at]
    model = _changed(kind, at)
    idle = 0.0
    for path, value in model.named_parameters():
        if value.dim() == 3 and "experts" in path:
            idle += value.numel() * (1 - model.config.num_experts_per_tok / len(value))
    assert _found(kind, values).active == round(sum(p.numel() for p in model.parameters()) - idle)


@pytest.mark.parametrize("kind", CHANGED)
def test_a_value_that_is_no_size_is_refused_in_one_line(kind: str) -> None:
    whole = AutoConfig.for_model(kind, **CHANGED[kind][0], **TOKENS).to_dict()
    numbers = [key for key in CHANGED[kind][0] if isinstance(whole.get(key), int)]
    for key, nonsense in product(numbers, (-1, 2.5, "many", float("nan"), [1, 2])):
        if _unread(kind, key) or isinstance(whole[key], bool):
            continue
        with pytest.raises(BaseModelError) as refused:
            model_of({**whole, key: nonsense})
        assert "\n" not in str(refused.value), key


def _unread(kind: str, key: str) -> bool:
    """Does no size depend on this value here, or has it other values too?"""
    own = kind == "mamba2" and key == "head_dim"  # its heads share the width
    others = ("mamba_expand", "expand", "attn_layer_offset", "first_k_dense_replace")
    return own or key in (*others, "n_group", "topk_group")
