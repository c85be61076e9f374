"""GPT-2 and those named like it: GPT-BigCode with one key and value, GPT-J with rotary positions.

Knows the names of their modules and the defaults of their configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_magic.adapters.shapes import Cache
from lora_magic.cost import ops
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
    return _fused(c, name, "GPT2LMHeadModel", conv1d=True, kv=c["n_head"])


def gpt_bigcode(config: Mapping[str, Any], name: str) -> Model:
    """`GPTBigCodeForCausalLM`."""
    defaults = {**_GPT2, "activation_function": "gelu_pytorch_tanh", "multi_query": True}
    c = filled(config, defaults, _NAMES)
    kv = 1 if c["multi_query"] else c["n_head"]
    return _fused(c, name, "GPTBigCodeForCausalLM", conv1d=False, kv=kv)


def _fused(c: Mapping[str, Any], name: str, architecture: str, *, conv1d: bool, kv: int) -> Model:
    """Queries and `kv` heads of keys and values from one layer; learned positions."""
    d, heads, drop = c["n_embd"], c["n_head"], c["resid_pdrop"]
    size, inner = head_size(name, d, heads), c["n_inner"] or 4 * d
    b = Builder()
    b.embedding("transformer.wte", c["vocab_size"], d)
    b.embedding("transformer.wpe", c["n_positions"], d)
    b.dropout(c["embd_pdrop"], d)
    for layer in range(c["n_layer"]):
        b.within(layer)
        at = f"transformer.h.{layer}"
        b.norm(f"{at}.ln_1", d, "layer")
        b.linear(f"{at}.attn.c_attn", d + 2 * kv * size, d, True, conv1d=conv1d)
        b.attention(heads, kv, size, share=c["attn_pdrop"])
        b.linear(f"{at}.attn.c_proj", d, d, True, conv1d=conv1d)
        b.dropout(drop, d)
        b.norm(f"{at}.ln_2", d, "layer")
        b.linear(f"{at}.mlp.c_fc", inner, d, True, conv1d=conv1d)
        b.activation(c["activation_function"], inner)
        b.linear(f"{at}.mlp.c_proj", d, inner, True, conv1d=conv1d)
        b.dropout(drop, d)
    return _finished(b, c, name, architecture, b.cache(c["n_layer"], kv, size))


def gptj(config: Mapping[str, Any], name: str) -> Model:
    """`GPTJForCausalLM`: attention and feed-forward read the same norm."""
    own = {"vocab_size": 50400, "n_positions": 2048, "n_embd": 4096, "n_layer": 28, "n_head": 16}
    off = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "tie_word_embeddings": False}
    c = filled(config, {**_GPT2, **own, **off, "rotary_dim": 64}, _NAMES)
    d, heads, drop = c["n_embd"], c["n_head"], c["resid_pdrop"]
    size, inner = head_size(name, d, heads), c["n_inner"] or 4 * d
    turned = 2 * heads * (c["rotary_dim"] or size)
    b = Builder()
    b.embedding("transformer.wte", c["vocab_size"], d)
    b.dropout(c["embd_pdrop"], d)
    for layer in range(c["n_layer"]):
        b.within(layer)
        at = f"transformer.h.{layer}"
        b.norm(f"{at}.ln_1", d, "layer")
        for part in "kvq":
            b.linear(f"{at}.attn.{part}_proj", d, d, reads="attention")
        b.step(ops.ROTARY, reads=turned, gives=turned)
        b.attention(heads, heads, size, share=c["attn_pdrop"])
        b.linear(f"{at}.attn.out_proj", d, d)
        b.dropout(drop, d)
        b.linear(f"{at}.mlp.fc_in", inner, d, True, reads="attention")
        b.activation(c["activation_function"], inner)
        b.linear(f"{at}.mlp.fc_out", d, inner, True)
        b.dropout(drop, d)
    cache = b.cache(c["n_layer"], heads, size)
    return _finished(b, c, name, "GPTJForCausalLM", cache, bias=True)


def _finished(
    b: Builder,
    c: Mapping[str, Any],
    name: str,
    architecture: str,
    cache: Cache,
    *,
    bias: bool = False,
) -> Model:
    """The model with its last norm and its output layer."""
    d = c["n_embd"]
    b.within(-1)
    b.norm("transformer.ln_f", d, "layer")
    return b.causal(
        c,
        name,
        architecture=architecture,
        embedding="transformer.wte",
        blocks="transformer.h",
        width=d,
        cache=cache,
        context=c["n_positions"],
        bias=bias,
    )


FUNCTIONS = {"gpt2": gpt2, "gpt_bigcode": gpt_bigcode, "gptj": gptj}
