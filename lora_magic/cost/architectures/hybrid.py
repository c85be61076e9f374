"""Bamba, Falcon-H1 and Jamba: layers of attention and state-space layers in one model.

Knows the names of their modules and the defaults of their configs.
"""

from __future__ import annotations

from dataclasses import replace

from lora_magic.cost.model import Model

from . import counted, sizes
from .decoder import LLAMA, Config, Decoder, Kind, functions, made, still, turned
from .experts import routed
from .mamba import scanned, scanned2

_COMMON = {
    **LLAMA,
    **sizes(32, 4096, 32, 8, 14336, 128000, 262144),
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
}

_BAMBA = {
    **_COMMON,
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


def _bamba_mixer(d: Decoder, at: str, layer: int) -> None:
    """Some layers have attention, the others Mamba 2."""
    c = d.config
    if layer in (c["attn_layer_indices"] or ()):
        d.attention(at, layer)
    else:
        inner = int(c["mamba_expand"] * d.width)
        scanned2(d.builder, f"{at}.mamba", c, inner, c["mamba_proj_bias"])


def _falcon_mixer(d: Decoder, at: str, layer: int) -> None:
    """Every layer has attention and Mamba 2 side by side."""
    c, inner = d.config, d.config["mamba_d_ssm"]
    inner = int(c["mamba_expand"] * d.width) if inner is None else inner
    scanned2(d.builder, f"{at}.mamba", c, inner, c["projectors_bias"], c["mamba_rms_norm"])
    d.attention(at, layer)


def _is(c: Config, what: str, layer: int) -> bool:
    """Is this one of the layers that have attention, or experts?"""
    period = c[f"{what}_layer_period"]
    counted(**{f"{what}_layer_period": period})
    return bool(layer % period == c[f"{what}_layer_offset"])


def _jamba_mixer(d: Decoder, at: str, layer: int) -> None:
    """One layer in eight has attention."""
    b, c = d.builder, d.config
    if _is(c, "attn", layer):
        d.attention(at, layer)
        return
    rank = scanned(b, f"{at}.mamba", c, int(c["mamba_expand"] * d.width))
    state = c["mamba_d_state"]
    for part, width in (("dt", rank), ("b", state), ("c", state)):
        b.norm(f"{at}.mamba.{part}_layernorm", width)


def _jamba_feed(d: Decoder, at: str, layer: int) -> None:
    """Every second layer has experts."""
    if _is(d.config, "expert", layer) and d.config["num_experts"] > 1:
        routed(d, f"{at}.feed_forward", inner="intermediate_size", router="router")
    else:
        d.feed_forward(at)


def _attentive(c: Config) -> set[bool]:
    return {_is(c, "attn", layer) for layer in range(c["num_hidden_layers"])}


_NORMS = ("input_layernorm", "pre_ff_layernorm")

_KIND = Kind(
    "BambaForCausalLM",
    _BAMBA,
    last="model.final_layernorm",
    parts=("mlp", *_NORMS, "attention"),
    mixer=_bamba_mixer,
    mlp="feed_forward",
    mlp_bias="mlp_bias",
    rotary=turned(0.5),
    cached=lambda c: set(c["attn_layer_indices"] or ()) >= set(range(c["num_hidden_layers"])),
    classifies=False,
)

_JAMBA_KIND = _KIND._replace(
    architecture="JambaForCausalLM",
    defaults=_JAMBA,
    names={"num_local_experts": "num_experts"},
    parts=("attention", "mlp", *_NORMS),
    mixer=_jamba_mixer,
    feed=_jamba_feed,
    qkv_bias=False,
    o_bias=False,
    mlp_bias=False,
    rotary=still,
    cached=lambda c: _attentive(c) == {True},
    classifies=True,
)


def _jamba(config: Config, name: str) -> Model:
    model = made(_JAMBA_KIND, config, name)
    if len(_attentive({**_JAMBA, **config})) == 1:
        return model
    # Its blocks are of two classes.
    return replace(model, shapes=replace(model.shapes, blocks=()))


FUNCTIONS = {
    **functions(
        {
            "bamba": _KIND,
            "falcon_h1": _KIND._replace(
                architecture="FalconH1ForCausalLM",
                defaults=_FALCON_H1,
                parts=("mlp", "attention", *_NORMS),
                mixer=_falcon_mixer,
                rotary=turned(1.0),
                cached=True,
            ),
        }
    ),
    "jamba": _jamba,
}
