"""GPT-2 and those built like it: fused queries, keys and values, learned positions, LayerNorm.

Knows the names of their modules and the defaults of their configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_magic.cost.builder import Builder
from lora_magic.cost.model import Model

from . import filled, head_size

_GPT2 = {
    "vocab_size": 50257,
    "n_positions": 1024,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_inner": None,
    "activation_function": "gelu_new",
    "resid_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "attn_pdrop": 0.1,
    "tie_word_embeddings": True,
}

_NAMES = {
    "hidden_size": "n_embd",
    "num_hidden_layers": "n_layer",
    "num_attention_heads": "n_head",
    "max_position_embeddings": "n_positions",
}


def gpt2(config: Mapping[str, Any], name: str) -> Model:
    """`GPT2LMHeadModel`."""
    c = filled(config, _GPT2, _NAMES)
    d, heads, words = c["n_embd"], c["n_head"], c["vocab_size"]
    inner, drop = c["n_inner"] or 4 * d, c["resid_pdrop"]
    b = Builder()
    b.embedding("transformer.wte", words, d)
    b.embedding("transformer.wpe", c["n_positions"], d)
    b.dropout(c["embd_pdrop"], d)
    for layer in range(c["n_layer"]):
        b.within(layer)
        at = f"transformer.h.{layer}"
        b.norm(f"{at}.ln_1", d, "layer")
        b.linear(f"{at}.attn.c_attn", 3 * d, d, True, conv1d=True)
        b.attention(heads, heads, d // heads, share=c["attn_pdrop"])
        b.linear(f"{at}.attn.c_proj", d, d, True, conv1d=True)
        b.dropout(drop, d)
        b.norm(f"{at}.ln_2", d, "layer")
        b.linear(f"{at}.mlp.c_fc", inner, d, True, conv1d=True)
        b.activation(c["activation_function"], inner)
        b.linear(f"{at}.mlp.c_proj", d, inner, True, conv1d=True)
        b.dropout(drop, d)
    b.within(-1)
    b.norm("transformer.ln_f", d, "layer")
    head = b.output(c, words, d, tied_to="transformer.wte" if c["tie_word_embeddings"] else "")
    return b.decoder(
        c,
        name,
        architecture="GPT2LMHeadModel",
        blocks="transformer.h",
        head=head,
        width=d,
        cache=b.cache(c["n_layer"], heads, d // heads),
        vocabulary=words,
        context=c["n_positions"],
    )


FUNCTIONS = {"gpt2": gpt2}
