"""Llama and those built like it: RMSNorm, rotary positions, gated feed-forward, grouped queries.

Knows the names of their modules and the defaults of their configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_magic.cost import ops
from lora_magic.cost.builder import Builder
from lora_magic.cost.model import Model


def llama(config: Mapping[str, Any], name: str) -> Model:
    """`LlamaForCausalLM`."""
    d, layers = config.get("hidden_size", 4096), config.get("num_hidden_layers", 32)
    heads = config.get("num_attention_heads", 32)
    kv = config.get("num_key_value_heads") or heads
    size = config.get("head_dim") or d // heads
    inner, words = config.get("intermediate_size", 11008), config.get("vocab_size", 32000)
    bias, mlp_bias = config.get("attention_bias", False), config.get("mlp_bias", False)
    tied = config.get("tie_word_embeddings", False)
    b = Builder()
    b.embedding("model.embed_tokens", words, d)
    for layer in range(layers):
        b.within(layer)
        at = f"model.layers.{layer}"
        b.linear(f"{at}.self_attn.q_proj", heads * size, d, bias, reads="attention")
        b.linear(f"{at}.self_attn.k_proj", kv * size, d, bias, reads="attention")
        b.linear(f"{at}.self_attn.v_proj", kv * size, d, bias, reads="attention")
        b.step(ops.ROTARY, reads=(heads + kv) * size, gives=(heads + kv) * size)
        b.attention(heads, kv, size)
        b.linear(f"{at}.self_attn.o_proj", d, heads * size, bias)
        b.linear(f"{at}.mlp.gate_proj", inner, d, mlp_bias, reads="mlp")
        b.linear(f"{at}.mlp.up_proj", inner, d, mlp_bias, reads="mlp")
        b.activation("silu", inner)
        b.product(inner)
        b.linear(f"{at}.mlp.down_proj", d, inner, mlp_bias)
        b.norm(f"{at}.input_layernorm", d)
        b.norm(f"{at}.post_attention_layernorm", d)
    b.within(-1)
    b.norm("model.norm", d)
    b.linear("lm_head", words, d)
    shapes = b.shapes(
        architecture="LlamaForCausalLM",
        model_type="llama",
        ties={"lm_head.weight": "model.embed_tokens.weight"} if tied else {},
        output="lm_head",
        blocks=tuple(f"model.layers.{layer}" for layer in range(layers)),
        width=d,
        cache=b.cache(layers, kv, size),
    )
    return Model(
        name,
        shapes,
        tuple(b.ops),
        vocabulary=words,
        context=config.get("max_position_embeddings", 2048),
    )


FUNCTIONS = {"llama": llama}
