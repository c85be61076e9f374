"""OPT, and GPT-3 in its shape: LayerNorm, learned positions, queries, keys and values apart.

Knows the names of their modules and the defaults of their configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_magic.cost.builder import Builder
from lora_magic.cost.model import Model

from . import filled, head_size

_OPT = {
    "vocab_size": 50272,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "ffn_dim": 3072,
    "max_position_embeddings": 2048,
    "do_layer_norm_before": True,
    "_remove_final_layer_norm": False,
    "word_embed_proj_dim": None,
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "num_attention_heads": 12,
    "activation_function": "relu",
    "enable_bias": True,
    "layer_norm_elementwise_affine": True,
    "tie_word_embeddings": True,
}

#: Rows that its table of positions has before the first.
_OFFSET = 2


def opt(config: Mapping[str, Any], name: str) -> Model:
    """`OPTForCausalLM`."""
    c = filled(config, _OPT)
    d, heads = c["hidden_size"], c["num_attention_heads"]
    narrow = c["word_embed_proj_dim"] or d
    bias, affine, drop = c["enable_bias"], c["layer_norm_elementwise_affine"], c["dropout"]
    size, positions = head_size(name, d, heads), c["max_position_embeddings"]
    b = Builder()
    b.embedding("model.decoder.embed_tokens", c["vocab_size"], narrow)
    b.embedding("model.decoder.embed_positions", positions + _OFFSET, d, plain_lookup=False)
    if narrow != d:
        b.linear("model.decoder.project_out", narrow, d)
        b.linear("model.decoder.project_in", d, narrow)
    if c["do_layer_norm_before"] and not c["_remove_final_layer_norm"]:
        b.norm("model.decoder.final_layer_norm", d, "layer", weight=affine)
    for layer in range(c["num_hidden_layers"]):
        b.within(layer)
        at = f"model.decoder.layers.{layer}"
        for part in "kvq":
            b.linear(f"{at}.self_attn.{part}_proj", d, d, bias, reads="attention")
        b.attention(heads, heads, size, share=c["attention_dropout"])
        b.linear(f"{at}.self_attn.out_proj", d, d, bias)
        b.dropout(drop, d)
        b.norm(f"{at}.self_attn_layer_norm", d, "layer", weight=affine)
        b.linear(f"{at}.fc1", c["ffn_dim"], d, bias)
        b.activation(c["activation_function"], c["ffn_dim"])
        b.linear(f"{at}.fc2", d, c["ffn_dim"], bias)
        b.dropout(drop, d)
        b.norm(f"{at}.final_layer_norm", d, "layer", weight=affine)
    return b.causal(
        c,
        name,
        architecture="OPTForCausalLM",
        embedding="model.decoder.embed_tokens",
        blocks="model.decoder.layers",
        width=d,
        cache=b.cache(c["num_hidden_layers"], heads, size),
        context=positions,
        reads=narrow,
    )


FUNCTIONS = {"opt": opt}
