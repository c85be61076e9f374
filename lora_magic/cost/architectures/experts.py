"""Mixtral and those built like it: decoders whose feed-forwards are chosen among experts.

Knows the names of their modules and the defaults of their configs, as differences from Llama's.
transformers stacks the experts of a block in two 3D parameters.
"""

from __future__ import annotations

from typing import Any

from lora_magic.cost import ops

from . import counted, sizes
from .decoder import LLAMA, Config, Decoder, Kind, functions

_MIXTRAL = {
    **LLAMA,
    **sizes(32, 4096, 32, 8, 14336, 32000, 131072),
    "num_experts_per_tok": 2,
    "num_local_experts": 8,
}

_OLMOE = {
    **LLAMA,
    **sizes(16, 2048, 16, None, 2048, 50304, 4096),
    "num_experts_per_tok": 8,
    "num_experts": 64,
}

_QWEN2 = {
    **LLAMA,
    **sizes(24, 2048, 16, 16, 5632, 151936, 32768),
    "use_sliding_window": False,
    "sliding_window": 4096,
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
    **sizes(24, 2048, 32, 4, 6144, 151936, 32768),
    "moe_intermediate_size": 768,
    "num_experts_per_tok": 8,
    "num_experts": 128,
}

_V3 = {
    **LLAMA,
    **sizes(61, 7168, 128, 128, 18432, 129280, 4096),
    "moe_intermediate_size": 2048,
    "n_shared_experts": 1,
    "n_routed_experts": 256,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "qk_nope_head_dim": 128,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
}


def routed(
    d: Decoder,
    at: str,
    count: str = "num_experts",
    inner: str = "moe_intermediate_size",
    router: str = "gate",
    router_first: bool = True,
) -> None:
    """Experts and what chooses among them; `count` and `inner` name the values of the config."""
    b, c, width = d.builder, d.config, d.width
    if router_first:
        b.router(f"{at}.{router}", c[count], width)
    b.experts(f"{at}.experts", c[count], c["num_experts_per_tok"], c[inner], width, c["hidden_act"])
    if not router_first:
        b.router(f"{at}.{router}", c[count], width)


def _mixtral(d: Decoder, at: str, layer: int) -> None:
    routed(d, f"{at}.mlp", "num_local_experts", "intermediate_size")


def _olmoe(d: Decoder, at: str, layer: int) -> None:
    routed(d, f"{at}.mlp", inner="intermediate_size")


def _is_sparse(c: Config, layer: int) -> bool:
    """Does this layer have experts?"""
    dense = layer in (c["mlp_only_layers"] or ())
    counted(decoder_sparse_step=c["decoder_sparse_step"])
    return not dense and c["num_experts"] > 0 and (layer + 1) % c["decoder_sparse_step"] == 0


def _qwen2(d: Decoder, at: str, layer: int) -> None:
    """A shared expert beside those that are chosen."""
    if not _is_sparse(d.config, layer):
        d.feed_forward(at)
        return
    routed(d, f"{at}.mlp")
    d.gated(f"{at}.mlp.shared_expert", d.config["shared_expert_intermediate_size"])
    d.builder.linear(f"{at}.mlp.shared_expert_gate", 1, d.width, reads="mlp")


def _qwen3(d: Decoder, at: str, layer: int) -> None:
    if _is_sparse(d.config, layer):
        routed(d, f"{at}.mlp", router_first=False)
    else:
        d.feed_forward(at)


def _deepseek(d: Decoder, at: str, layer: int) -> None:
    c = d.config
    if layer < c["first_k_dense_replace"]:
        d.feed_forward(at)
        return
    routed(d, f"{at}.mlp", "n_routed_experts", router_first=False)
    d.gated(f"{at}.mlp.shared_experts", c["moe_intermediate_size"] * c["n_shared_experts"])


def _latent(d: Decoder, block: str, layer: int) -> None:
    """Queries, keys and values from small vectors, of which that of keys and values is cached."""
    b, c, width, heads, at = d.builder, d.config, d.width, d.heads, f"{block}.self_attn"
    rotated, plain, value = c["qk_rope_head_dim"], c["qk_nope_head_dim"], c["v_head_dim"]
    counted(rotated=rotated, plain=plain, value=value)
    small, size, bias = c["kv_lora_rank"], plain + rotated, c["attention_bias"]
    if c["q_lora_rank"] is None:
        b.linear(f"{at}.q_proj", heads * size, width, reads="attention")
    else:
        b.linear(f"{at}.q_a_proj", c["q_lora_rank"], width, bias, reads="attention")
        b.norm(f"{at}.q_a_layernorm", c["q_lora_rank"])
        b.linear(f"{at}.q_b_proj", heads * size, c["q_lora_rank"])
    b.linear(f"{at}.kv_a_proj_with_mqa", small + rotated, width, bias, reads="attention")
    b.norm(f"{at}.kv_a_layernorm", small)
    b.linear(f"{at}.kv_b_proj", heads * (plain + value), small)
    b.step(ops.ROTARY, reads=(heads + 1) * rotated, gives=(heads + 1) * rotated)
    attention: dict[str, Any] = {"heads": heads, "kv_heads": heads, "size": size}
    reads, gives = heads * (2 * size + value), heads * value
    b.step(ops.ATTENTION, reads=reads, gives=gives, share=c["attention_dropout"], **attention)
    b.linear(f"{at}.o_proj", width, gives, bias)


def _everywhere(c: Config, layer: int) -> int | None:
    """The same sliding window in every layer, if any."""
    window: int | None = c["sliding_window"] if c.get("use_sliding_window", True) else None
    return window


FUNCTIONS = functions(
    {
        "mixtral": Kind(
            "MixtralForCausalLM",
            _MIXTRAL,
            {"num_experts": "num_local_experts"},
            feed=_mixtral,
            qkv_bias=False,
            o_bias=False,
            window=_everywhere,
        ),
        "olmoe": Kind(
            "OlmoeForCausalLM",
            _OLMOE,
            {"num_local_experts": "num_experts"},
            feed=_olmoe,
            normed="q_norm,k_norm",
            per="all",
            classifies=False,
        ),
        "qwen2_moe": Kind(
            "Qwen2MoeForCausalLM",
            _QWEN2,
            feed=_qwen2,
            qkv_bias="qkv_bias",
            o_bias=False,
            window=_everywhere,
        ),
        "qwen3_moe": Kind(
            "Qwen3MoeForCausalLM",
            _QWEN3,
            {"num_local_experts": "num_experts"},
            feed=_qwen3,
            normed="q_norm,k_norm",
            window=_everywhere,
        ),
        # Its cache holds a vector and a rotated key of other sizes, not keys and values.
        "deepseek_v3": Kind(
            "DeepseekV3ForCausalLM",
            _V3,
            {"num_local_experts": "n_routed_experts"},
            mixer=_latent,
            feed=_deepseek,
            cached=False,
        ),
    }
)
