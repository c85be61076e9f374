"""BLOOM, Falcon and GPT-NeoX: one layer `query_key_value`, then `dense`, each with LayerNorm.

Knows the names of their modules and the defaults of their configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from lora_magic.cost import ops
from lora_magic.cost.builder import Builder
from lora_magic.cost.model import Model

from . import filled, head_size, sizes

_BLOOM = {
    "vocab_size": 250880,
    "hidden_size": 64,
    "n_layer": 2,
    "n_head": 8,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "seq_length": 2048,
    "tie_word_embeddings": True,
}

_FALCON = {
    **sizes(32, 4544, 71, None, 0, 65024, 2048),
    "num_ln_in_parallel_attn": None,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "num_kv_heads": None,
    "alibi": False,
    "new_decoder_architecture": False,
    "multi_query": True,
    "parallel_attn": True,
    "bias": False,
    "ffn_hidden_size": None,
    "activation": "gelu",
    "tie_word_embeddings": True,
}

_NEOX = {
    **sizes(44, 6144, 64, None, 24576, 50432, 2048),
    "hidden_act": "gelu",
    "attention_dropout": 0.0,
    "hidden_dropout": 0.0,
    "attention_bias": True,
    "rotary_pct": 0.25,
    "tie_word_embeddings": False,
}

_BLOOM_NAMES = {
    "n_embed": "hidden_size",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
}


def bloom(config: Mapping[str, Any], name: str) -> Model:
    """`BloomForCausalLM`: it has no table of positions."""
    c = filled(config, _BLOOM, _BLOOM_NAMES)
    d, heads = c["hidden_size"], c["n_head"]
    size = head_size(name, d, heads)
    b = Builder()
    b.embedding("transformer.word_embeddings", c["vocab_size"], d)
    b.norm("transformer.word_embeddings_layernorm", d, "layer")
    for layer in range(c["n_layer"]):
        b.within(layer)
        at = f"transformer.h.{layer}"
        b.norm(f"{at}.input_layernorm", d, "layer")
        b.linear(f"{at}.self_attention.query_key_value", 3 * d, d, True)
        b.attention(heads, heads, size, share=c["attention_dropout"], how="eager")
        b.linear(f"{at}.self_attention.dense", d, d, True)
        b.dropout(c["hidden_dropout"], d)
        b.norm(f"{at}.post_attention_layernorm", d, "layer")
        _feed_forward(b, f"{at}.mlp", d, 4 * d, "gelu")
        b.dropout(c["hidden_dropout"], d)
    b.within(-1)
    b.norm("transformer.ln_f", d, "layer")
    return b.causal(
        c,
        name,
        architecture="BloomForCausalLM",
        embedding="transformer.word_embeddings",
        blocks="transformer.h",
        width=d,
        cache=b.cache(c["n_layer"], heads, size),
        context=c["seq_length"],
    )


def falcon(config: Mapping[str, Any], name: str) -> Model:
    """`FalconForCausalLM`: one head of keys and values, or groups, or as many as of queries."""
    c = filled(config, _FALCON, {"n_embed": "hidden_size"})
    d, heads, bias, new = (
        c[key] for key in ("hidden_size", "num_attention_heads", "bias", "new_decoder_architecture")
    )
    size, inner = head_size(name, d, heads), c["ffn_hidden_size"] or 4 * d
    own = c["num_kv_heads"] or heads if new else 1 if c["multi_query"] else heads
    norms = _falcon_norms(c)
    b = Builder()
    linear = partial(b.linear, class_name="FalconLinear")
    b.embedding("transformer.word_embeddings", c["vocab_size"], d)
    for layer in range(c["num_hidden_layers"]):
        b.within(layer)
        at = f"transformer.h.{layer}"
        shared = "attention" if len(norms) == 1 else ""
        outputs = (heads + 2 * own) * size
        linear(f"{at}.self_attention.query_key_value", outputs, d, bias, reads=shared)
        # Keys and values of groups are repeated for each query before they are kept.
        kept = heads if new else own
        if not c["alibi"]:
            b.step(ops.ROTARY, reads=(heads + kept) * size, gives=(heads + kept) * size)
        b.attention(heads, kept, size, share=c["attention_dropout"])
        linear(f"{at}.self_attention.dense", d, d, bias)
        b.dropout(c["hidden_dropout"], d)
        linear(f"{at}.mlp.dense_h_to_4h", inner, d, bias, reads=shared)
        b.activation(c["activation"], inner)
        linear(f"{at}.mlp.dense_4h_to_h", d, inner, bias)
        b.dropout(c["hidden_dropout"], d)
        for norm in norms:
            b.norm(f"{at}.{norm}", d, "layer")
    b.within(-1)
    b.norm("transformer.ln_f", d, "layer")
    return b.causal(
        c,
        name,
        architecture="FalconForCausalLM",
        embedding="transformer.word_embeddings",
        blocks="transformer.h",
        width=d,
        cache=b.cache(c["num_hidden_layers"], heads if new else own, size),
        context=c["max_position_embeddings"],
    )


def _falcon_norms(c: Mapping[str, Any]) -> tuple[str, ...]:
    """The norms of a block, in the order of its modules."""
    if not c["parallel_attn"]:
        return ("post_attention_layernorm", "input_layernorm")
    count = c["num_ln_in_parallel_attn"]
    if count == 2 or (count is None and c["new_decoder_architecture"]):
        return ("ln_attn", "ln_mlp")
    return ("input_layernorm",)


def gpt_neox(config: Mapping[str, Any], name: str) -> Model:
    """`GPTNeoXForCausalLM`, such as Pythia."""
    c = filled(config, _NEOX)
    d, heads, drop = c["hidden_size"], c["num_attention_heads"], c["hidden_dropout"]
    size = head_size(name, d, heads)
    share = (c.get("rope_parameters") or {}).get("partial_rotary_factor") or c["rotary_pct"]
    turned = 2 * heads * int(size * share)
    b = Builder()
    b.embedding("gpt_neox.embed_in", c["vocab_size"], d)
    b.dropout(drop, d)
    for layer in range(c["num_hidden_layers"]):
        b.within(layer)
        at = f"gpt_neox.layers.{layer}"
        b.norm(f"{at}.input_layernorm", d, "layer")
        b.norm(f"{at}.post_attention_layernorm", d, "layer")
        b.linear(f"{at}.attention.query_key_value", 3 * d, d, c["attention_bias"])
        b.step(ops.ROTARY, reads=turned, gives=turned)
        b.attention(heads, heads, size, share=c["attention_dropout"])
        b.linear(f"{at}.attention.dense", d, d, c["attention_bias"])
        b.dropout(drop, d)
        _feed_forward(b, f"{at}.mlp", d, c["intermediate_size"], c["hidden_act"])
        b.dropout(drop, d)
    b.within(-1)
    b.norm("gpt_neox.final_layer_norm", d, "layer")
    return b.causal(
        c,
        name,
        architecture="GPTNeoXForCausalLM",
        embedding="gpt_neox.embed_in",
        blocks="gpt_neox.layers",
        width=d,
        cache=b.cache(c["num_hidden_layers"], heads, size),
        context=c["max_position_embeddings"],
    )


def _feed_forward(b: Builder, at: str, width: int, inner: int, how: str) -> None:
    b.linear(f"{at}.dense_h_to_4h", inner, width, True)
    b.activation(how, inner)
    b.linear(f"{at}.dense_4h_to_h", width, inner, True)


FUNCTIONS = {"bloom": bloom, "falcon": falcon, "gpt_neox": gpt_neox}
