"""Bamba, Falcon-H1 and Jamba: layers of attention and state-space layers in one model.

Knows the names of their modules and the defaults of their configs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lora_magic.cost.builder import Builder
from lora_magic.cost.model import Model

from . import counted
from .experts import attention, gated, sizes, with_heads
from .mamba import scanned, scanned2

_COMMON = {
    "tie_word_embeddings": False,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_act": "silu",
    "max_position_embeddings": 262144,
    "attention_dropout": 0.0,
    "attention_bias": False,
    "mlp_bias": False,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
}

_BAMBA = {
    **_COMMON,
    "vocab_size": 128000,
    "attn_layer_indices": None,
    "mamba_n_heads": 128,
    "mamba_n_groups": 1,
    "mamba_d_state": 256,
}

_FALCON_H1 = {
    **_BAMBA,
    "max_position_embeddings": 8192,
    "mamba_d_ssm": 1024,
    "mamba_rms_norm": False,
    "projectors_bias": False,
}

_JAMBA = {
    **_COMMON,
    "vocab_size": 65536,
    "num_experts_per_tok": 2,
    "num_experts": 16,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "mamba_d_state": 16,
    "mamba_dt_rank": "auto",
}


def bamba(config: Mapping[str, Any], name: str) -> Model:
    """`BambaForCausalLM`: some layers have attention, the others Mamba 2."""
    c = with_heads(config, _BAMBA, name)
    b, d = Builder(), c["hidden_size"]
    attentive = c["attn_layer_indices"] or ()

    def layer(at: str, place: int) -> None:
        _feed_forward(b, at, c)
        _norms(b, at, d)
        if place in attentive:
            attention(b, f"{at}.self_attn", c, bias=c["attention_bias"])
        else:
            scanned2(b, f"{at}.mamba", c, int(c["mamba_expand"] * d), c["mamba_proj_bias"])

    everywhere = set(attentive) >= set(range(c["num_hidden_layers"]))
    return _decoder(b, c, name, "BambaForCausalLM", layer, everywhere)


def falcon_h1(config: Mapping[str, Any], name: str) -> Model:
    """`FalconH1ForCausalLM`: every layer has attention and Mamba 2 side by side."""
    c = with_heads(config, _FALCON_H1, name)
    b = Builder()
    inner = c["mamba_d_ssm"]
    inner = int(c["mamba_expand"] * c["hidden_size"]) if inner is None else inner

    def layer(at: str, _: int) -> None:
        _feed_forward(b, at, c)
        scanned2(b, f"{at}.mamba", c, inner, c["projectors_bias"], c["mamba_rms_norm"])
        attention(b, f"{at}.self_attn", c, bias=c["attention_bias"])
        _norms(b, at, c["hidden_size"])

    return _decoder(b, c, name, "FalconH1ForCausalLM", layer)


def jamba(config: Mapping[str, Any], name: str) -> Model:
    """`JambaForCausalLM`: one layer in eight has attention, every second one has experts."""
    c = with_heads(config, _JAMBA, name, {"num_local_experts": "num_experts"})
    b, d = Builder(), c["hidden_size"]
    counted(**{name: c[name] for name in ("attn_layer_period", "expert_layer_period")})

    def layer(at: str, place: int) -> None:
        if place % c["attn_layer_period"] == c["attn_layer_offset"]:
            attention(b, f"{at}.self_attn", c, rotary=False)
        else:
            rank = scanned(b, f"{at}.mamba", c, int(c["mamba_expand"] * d))
            state = c["mamba_d_state"]
            for part, width in (("dt", rank), ("b", state), ("c", state)):
                b.norm(f"{at}.mamba.{part}_layernorm", width)
        count, inner, how = c["num_experts"], c["intermediate_size"], c["hidden_act"]
        if count > 1 and place % c["expert_layer_period"] == c["expert_layer_offset"]:
            b.router(f"{at}.feed_forward.router", count, d)
            active = c["num_experts_per_tok"]
            b.experts(f"{at}.feed_forward.experts", count, active, inner, d, how)
        else:
            gated(b, f"{at}.feed_forward", d, inner, how)
        _norms(b, at, d)

    kinds = {
        place % c["attn_layer_period"] == c["attn_layer_offset"]
        for place in range(c["num_hidden_layers"])
    }
    model = _decoder(b, c, name, "JambaForCausalLM", layer, kinds == {True}, True)
    if len(kinds) == 1:
        return model
    # Its blocks are of two classes.
    return replace(model, shapes=replace(model.shapes, blocks=()))


def _feed_forward(b: Builder, at: str, c: Mapping[str, Any]) -> None:
    d, inner = c["hidden_size"], c["intermediate_size"]
    gated(b, f"{at}.feed_forward", d, inner, c["hidden_act"], c["mlp_bias"])


def _norms(b: Builder, at: str, d: int) -> None:
    b.norm(f"{at}.input_layernorm", d)
    b.norm(f"{at}.pre_ff_layernorm", d)


def _decoder(
    b: Builder,
    c: Mapping[str, Any],
    name: str,
    architecture: str,
    layer: Callable[[str, int], None],
    cached: bool = True,
    classifies: bool = False,
) -> Model:
    """`layer(path, place)` writes down a block; `cached`: has every one attention?"""
    d = c["hidden_size"]
    b.embedding("model.embed_tokens", c["vocab_size"], d)
    for place in range(c["num_hidden_layers"]):
        b.within(place)
        layer(f"model.layers.{place}", place)
    b.within(-1)
    b.norm("model.final_layernorm", d)
    _, kv, size = sizes(c)
    return b.causal(
        c,
        name,
        architecture=architecture,
        embedding="model.embed_tokens",
        blocks="model.layers",
        width=d,
        cache=b.cache(c["num_hidden_layers"], kv, size) if cached else None,
        context=c["max_position_embeddings"],
        classifies=classifies,
    )


FUNCTIONS = {"bamba": bamba, "falcon_h1": falcon_h1, "jamba": jamba}
