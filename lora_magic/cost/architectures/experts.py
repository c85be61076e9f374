"""Mixtral and those built like it: decoders whose feed-forwards are chosen among experts.

Knows the names of their modules and the defaults of their configs. transformers stacks the experts
of a block in two 3D parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lora_magic.cost import ops
from lora_magic.cost.builder import Builder
from lora_magic.cost.model import Model

from . import counted, filled, head_size

_MIXTRAL = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_act": "silu",
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "sliding_window": None,
    "attention_dropout": 0.0,
    "num_experts_per_tok": 2,
    "num_local_experts": 8,
}

_OLMOE = {
    **_MIXTRAL,
    "vocab_size": 50304,
    "hidden_size": 2048,
    "intermediate_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_key_value_heads": None,
    "max_position_embeddings": 4096,
    "attention_bias": False,
    "num_experts_per_tok": 8,
    "num_experts": 64,
}

_QWEN2 = {
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "hidden_act": "silu",
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "attention_dropout": 0.0,
    "decoder_sparse_step": 1,
    "moe_intermediate_size": 1408,
    "shared_expert_intermediate_size": 5632,
    "num_experts_per_tok": 4,
    "num_experts": 60,
    "mlp_only_layers": None,
    "qkv_bias": True,
}

_QWEN3 = {
    **_QWEN2,
    "intermediate_size": 6144,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "attention_bias": False,
    "moe_intermediate_size": 768,
    "num_experts_per_tok": 8,
    "num_experts": 128,
}


def mixtral(config: Mapping[str, Any], name: str) -> Model:
    """`MixtralForCausalLM`."""
    c = with_heads(config, _MIXTRAL, name, {"num_experts": "num_local_experts"})
    b = Builder()

    def layer(at: str, _: int) -> None:
        attention(b, f"{at}.self_attn", c, window=c["sliding_window"])
        b.router(f"{at}.mlp.gate", c["num_local_experts"], c["hidden_size"])
        _experts(b, at, c, c["num_local_experts"], c["intermediate_size"])

    return decoder(b, c, name, "MixtralForCausalLM", layer)


def olmoe(config: Mapping[str, Any], name: str) -> Model:
    """`OlmoeForCausalLM`."""
    c = with_heads(config, _OLMOE, name, {"num_local_experts": "num_experts"})
    b = Builder()

    def layer(at: str, _: int) -> None:
        attention(b, f"{at}.self_attn", c, bias=c["attention_bias"], norms="all heads")
        b.router(f"{at}.mlp.gate", c["num_experts"], c["hidden_size"])
        _experts(b, at, c, c["num_experts"], c["intermediate_size"])

    return decoder(b, c, name, "OlmoeForCausalLM", layer, classifies=False)


def qwen2_moe(config: Mapping[str, Any], name: str) -> Model:
    """`Qwen2MoeForCausalLM`: a shared expert beside those that are chosen."""
    c = with_heads(config, _QWEN2, name)
    b, d = Builder(), c["hidden_size"]

    def layer(at: str, place: int) -> None:
        attention(b, f"{at}.self_attn", c, bias=c["qkv_bias"], out_bias=False, window=_window(c))
        if not _is_sparse(c, place):
            gated(b, f"{at}.mlp", d, c["intermediate_size"], c["hidden_act"])
            return
        b.router(f"{at}.mlp.gate", c["num_experts"], d)
        _experts(b, at, c, c["num_experts"], c["moe_intermediate_size"])
        shared = f"{at}.mlp.shared_expert"
        gated(b, shared, d, c["shared_expert_intermediate_size"], c["hidden_act"])
        b.linear(f"{shared}_gate", 1, d, reads="mlp")

    return decoder(b, c, name, "Qwen2MoeForCausalLM", layer)


def qwen3_moe(config: Mapping[str, Any], name: str) -> Model:
    """`Qwen3MoeForCausalLM`."""
    c = with_heads(config, _QWEN3, name, {"num_local_experts": "num_experts"})
    b, d = Builder(), c["hidden_size"]

    def layer(at: str, place: int) -> None:
        bias = c["attention_bias"]
        attention(b, f"{at}.self_attn", c, bias=bias, norms="a head", window=_window(c))
        if not _is_sparse(c, place):
            gated(b, f"{at}.mlp", d, c["intermediate_size"], c["hidden_act"])
            return
        _experts(b, at, c, c["num_experts"], c["moe_intermediate_size"])
        b.router(f"{at}.mlp.gate", c["num_experts"], d)

    return decoder(b, c, name, "Qwen3MoeForCausalLM", layer)


def _window(c: Mapping[str, Any]) -> int | None:
    window: int | None = c["sliding_window"] if c["use_sliding_window"] else None
    return window


def _is_sparse(c: Mapping[str, Any], place: int) -> bool:
    """Does this layer have experts?"""
    dense = place in (c["mlp_only_layers"] or ())
    counted(decoder_sparse_step=c["decoder_sparse_step"])
    return not dense and c["num_experts"] > 0 and (place + 1) % c["decoder_sparse_step"] == 0


def _experts(b: Builder, at: str, c: Mapping[str, Any], count: int, inner: int) -> None:
    active, how = c["num_experts_per_tok"], c["hidden_act"]
    b.experts(f"{at}.mlp.experts", count, active, inner, c["hidden_size"], how)


def with_heads(
    config: Mapping[str, Any],
    defaults: Mapping[str, Any],
    name: str,
    names: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """`filled`, with the size of a head and the heads of keys and values where they follow.

    Raises `BaseModelError` if the heads do not divide the width.
    """
    c = filled(config, defaults, names)
    heads = c["num_attention_heads"]
    c["num_key_value_heads"] = c["num_key_value_heads"] or heads
    c["head_dim"] = c.get("head_dim") or head_size(name, c["hidden_size"], heads)
    return c


def sizes(c: Mapping[str, Any]) -> tuple[int, int, int]:
    """Heads, heads of keys and values, and the size of a head."""
    return c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]


def attention(
    b: Builder,
    at: str,
    c: Mapping[str, Any],
    *,
    bias: bool = False,
    out_bias: bool | None = None,
    norms: str = "",
    rotary: bool = True,
    window: int | None = None,
) -> None:
    """Grouped queries. `norms` are those of queries and keys, over "a head" or "all heads"."""
    d = c["hidden_size"]
    heads, kv, size = sizes(c)
    for part, count in (("q", heads), ("k", kv), ("v", kv)):
        b.linear(f"{at}.{part}_proj", count * size, d, bias, reads="attention")
    if rotary:
        b.step(ops.ROTARY, reads=(heads + kv) * size, gives=(heads + kv) * size)
    b.attention(heads, kv, size, window=window, share=c["attention_dropout"])
    b.linear(f"{at}.o_proj", d, heads * size, bias if out_bias is None else out_bias)
    if norms:
        together = norms == "all heads"
        b.norm(f"{at}.q_norm", heads * size if together else size)
        b.norm(f"{at}.k_norm", kv * size if together else size)


def gated(b: Builder, at: str, d: int, inner: int, how: str, bias: bool = False) -> None:
    """down(act(gate(x)) · up(x))."""
    b.linear(f"{at}.gate_proj", inner, d, bias, reads="mlp")
    b.linear(f"{at}.up_proj", inner, d, bias, reads="mlp")
    b.activation(how, inner)
    b.product(inner)
    b.linear(f"{at}.down_proj", d, inner, bias)


def decoder(
    b: Builder,
    c: Mapping[str, Any],
    name: str,
    architecture: str,
    layer: Callable[[str, int], None],
    classifies: bool = True,
    cached: bool = True,
) -> Model:
    """A decoder of which `layer(path, place)` writes down all but the norms of each block."""
    d = c["hidden_size"]
    b.embedding("model.embed_tokens", c["vocab_size"], d)
    for place in range(c["num_hidden_layers"]):
        b.within(place)
        at = f"model.layers.{place}"
        layer(at, place)
        b.norm(f"{at}.input_layernorm", d)
        b.norm(f"{at}.post_attention_layernorm", d)
    b.within(-1)
    b.norm("model.norm", d)
    return b.causal(
        c,
        name,
        architecture=architecture,
        embedding="model.embed_tokens",
        blocks="model.layers",
        width=d,
        cache=b.cache(c["num_hidden_layers"], *sizes(c)[1:]) if cached else None,
        context=c["max_position_embeddings"],
        classifies=classifies,
    )


FUNCTIONS = {
    "mixtral": mixtral,
    "olmoe": olmoe,
    "qwen2_moe": qwen2_moe,
    "qwen3_moe": qwen3_moe,
}
