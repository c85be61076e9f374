"""DeepSeek-V3: a mixture of experts whose keys and values are cached as one small vector.

Knows the names of its modules and the defaults of its config.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_magic.cost import ops
from lora_magic.cost.builder import Builder
from lora_magic.cost.model import Model

from . import counted, filled
from .experts import decoder, gated

_V3 = {
    "vocab_size": 129280,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "n_shared_experts": 1,
    "n_routed_experts": 256,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "qk_nope_head_dim": 128,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "attention_dropout": 0.0,
}


def deepseek_v3(config: Mapping[str, Any], name: str) -> Model:
    """`DeepseekV3ForCausalLM`."""
    c = filled(config, _V3, {"num_local_experts": "n_routed_experts"})
    b, d, how = Builder(), c["hidden_size"], c["hidden_act"]
    count, inner = c["n_routed_experts"], c["moe_intermediate_size"]

    def layer(at: str, place: int) -> None:
        _attention(b, f"{at}.self_attn", c)
        if place < c["first_k_dense_replace"]:
            gated(b, f"{at}.mlp", d, c["intermediate_size"], how)
            return
        b.experts(f"{at}.mlp.experts", count, c["num_experts_per_tok"], inner, d, how)
        b.router(f"{at}.mlp.gate", count, d)
        gated(b, f"{at}.mlp.shared_experts", d, inner * c["n_shared_experts"], how)

    # Its cache holds a vector and a rotated key of other sizes, not keys and values.
    return decoder(b, c, name, "DeepseekV3ForCausalLM", layer, cached=False)


def _attention(b: Builder, at: str, c: Mapping[str, Any]) -> None:
    d, heads, bias = c["hidden_size"], c["num_attention_heads"], c["attention_bias"]
    rotated, plain, value = c["qk_rope_head_dim"], c["qk_nope_head_dim"], c["v_head_dim"]
    counted(rotated=rotated, plain=plain, value=value)
    small, size = c["kv_lora_rank"], plain + rotated
    if c["q_lora_rank"] is None:
        b.linear(f"{at}.q_proj", heads * size, d, reads="attention")
    else:
        b.linear(f"{at}.q_a_proj", c["q_lora_rank"], d, bias, reads="attention")
        b.norm(f"{at}.q_a_layernorm", c["q_lora_rank"])
        b.linear(f"{at}.q_b_proj", heads * size, c["q_lora_rank"])
    b.linear(f"{at}.kv_a_proj_with_mqa", small + rotated, d, bias, reads="attention")
    b.norm(f"{at}.kv_a_layernorm", small)
    b.linear(f"{at}.kv_b_proj", heads * (plain + value), small)
    b.step(ops.ROTARY, reads=(heads + 1) * rotated, gives=(heads + 1) * rotated)
    b.step(
        ops.ATTENTION,
        reads=heads * (2 * size + value),
        gives=heads * value,
        heads=heads,
        kv_heads=heads,
        size=size,
        share=c["attention_dropout"],
    )
    b.linear(f"{at}.o_proj", d, heads * value, bias)


FUNCTIONS = {"deepseek_v3": deepseek_v3}
