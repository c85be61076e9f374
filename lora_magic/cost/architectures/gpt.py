"""GPT-2, OPT, BLOOM, Falcon, GPT-NeoX and those named like them: decoders with LayerNorm.

Knows the names of their modules and the defaults of their configs, as differences from Llama's.
"""

from __future__ import annotations

from lora_magic.cost.model import Model

from . import filled, sizes
from .decoder import LLAMA, Config, Decoder, Kind, each, functions, made, still, turned

_NAMES = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_positions": "max_position_embeddings",
}

_GPT2 = {
    **sizes(12, 768, 12, None, 0, 50257, 1024),
    "n_inner": None,
    "activation_function": "gelu_new",
    "resid_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "attn_pdrop": 0.1,
    "tie_word_embeddings": True,
}

_GPTJ = {
    **_GPT2,
    **sizes(28, 4096, 16, None, 0, 50400, 2048),
    **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    "tie_word_embeddings": False,
    "rotary_dim": 64,
}

_OPT = {
    **sizes(12, 768, 12, None, 0, 50272, 2048),
    "ffn_dim": 3072,
    "do_layer_norm_before": True,
    "_remove_final_layer_norm": False,
    "word_embed_proj_dim": None,
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "activation_function": "relu",
    "enable_bias": True,
    "layer_norm_elementwise_affine": True,
    "tie_word_embeddings": True,
}

_BLOOM = {
    **sizes(2, 64, 8, None, 0, 250880, 0),
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "seq_length": 2048,
    "activation": "gelu",
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
    **LLAMA,
    **sizes(44, 6144, 64, None, 24576, 50432, 2048),
    "hidden_act": "gelu",
    "hidden_dropout": 0.0,
    "attention_bias": True,
    "rotary_pct": 0.25,
}


def _with_positions(d: Decoder) -> None:
    d.builder.embedding("transformer.wpe", d.config["max_position_embeddings"], d.width)
    d.builder.dropout(d.config["embd_pdrop"], d.width)


def _opt_begins(d: Decoder) -> None:
    """Its positions, whose table has 2 rows before the first; its last norm comes here too."""
    b, c, at = d.builder, d.config, "model.decoder"
    rows = c["max_position_embeddings"] + 2
    b.embedding(f"{at}.embed_positions", rows, d.width, plain_lookup=False)
    if d.narrow != d.width:
        b.linear(f"{at}.project_out", d.narrow, d.width)
        b.linear(f"{at}.project_in", d.width, d.narrow)
    if c["do_layer_norm_before"] and not c["_remove_final_layer_norm"]:
        d.norm(f"{at}.final_layer_norm")


_FUSED = Kind(
    "GPT2LMHeadModel",
    _GPT2,
    _NAMES,
    embed="transformer.wte",
    blocks="transformer.h",
    last="transformer.ln_f",
    begin=_with_positions,
    parts=("ln_1", "attention", "ln_2", "mlp"),
    attention="attn",
    qkvo=("c_attn", "c_proj"),
    out="c_proj",
    up=("c_fc",),
    down="c_proj",
    linear={"conv1d": True},
    qkv_bias=True,
    o_bias=True,
    mlp_bias=True,
    norm="layer",
    inner="n_inner",
    act="activation_function",
    dropout="resid_pdrop",
    attention_dropout="attn_pdrop",
    divided=True,
    kv=each,
    rotary=still,
)

_SQUARE = Kind(
    "BloomForCausalLM",
    _BLOOM,
    {
        "n_embed": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
    },
    embed="transformer.word_embeddings",
    blocks="transformer.h",
    last="transformer.ln_f",
    begin=lambda d: d.norm("transformer.word_embeddings_layernorm"),
    parts=("input_layernorm", "attention", "post_attention_layernorm", "mlp"),
    attention="self_attention",
    qkvo=("query_key_value", "dense"),
    out="dense",
    up=("dense_h_to_4h",),
    down="dense_4h_to_h",
    qkv_bias=True,
    o_bias=True,
    mlp_bias=True,
    norm="layer",
    inner="",
    act="activation",
    context="seq_length",
    dropout="hidden_dropout",
    divided=True,
    kv=each,
    rotary=still,
    how="eager",
)


def _falcon_groups(config: Config, heads: int) -> int:
    if config["new_decoder_architecture"]:
        return config["num_kv_heads"] or heads
    return 1 if config["multi_query"] else heads


def _falcon_norms(c: Config) -> tuple[str, ...]:
    """The norms of a block, in the order of its modules."""
    if not c["parallel_attn"]:
        return ("post_attention_layernorm", "input_layernorm")
    count = c["num_ln_in_parallel_attn"]
    if count == 2 or (count is None and c["new_decoder_architecture"]):
        return ("ln_attn", "ln_mlp")
    return ("input_layernorm",)


_FALCON_KIND = _SQUARE._replace(
    architecture="FalconForCausalLM",
    defaults=_FALCON,
    names={"n_embed": "hidden_size"},
    begin=lambda d: None,
    linear={"class_name": "FalconLinear"},
    qkv_bias="bias",
    o_bias="bias",
    mlp_bias="bias",
    inner="ffn_hidden_size",
    context="max_position_embeddings",
    kv=_falcon_groups,
    # Keys and values of groups are repeated for each query before they are kept.
    kept=lambda c, heads: heads if c["new_decoder_architecture"] else _falcon_groups(c, heads),
    parallel=lambda c: len(_falcon_norms(c)) == 1,
    rotary=lambda c, size, layer: 0 if c["alibi"] else size,
    how="",
)


def _falcon(config: Config, name: str) -> Model:
    parts = ("attention", "mlp", *_falcon_norms(filled(config, _FALCON)))
    return made(_FALCON_KIND._replace(parts=parts), config, name)


_KINDS = {
    "gpt2": _FUSED,
    "gpt_bigcode": _FUSED._replace(
        architecture="GPTBigCodeForCausalLM",
        defaults={**_GPT2, "activation_function": "gelu_pytorch_tanh", "multi_query": True},
        linear={},
        kv=lambda c, heads: 1 if c["multi_query"] else heads,
    ),
    "gptj": _FUSED._replace(
        architecture="GPTJForCausalLM",
        defaults=_GPTJ,
        begin=lambda d: d.builder.dropout(d.config["embd_pdrop"], d.width),
        parts=("ln_1", "attention", "mlp"),
        qkvo=("k_proj", "v_proj", "q_proj", "out_proj"),
        out="out_proj",
        up=("fc_in",),
        down="fc_out",
        linear={},
        qkv_bias=False,
        o_bias=False,
        head_bias=True,
        parallel=True,
        rotary=lambda c, size, layer: c["rotary_dim"] or size,
    ),
    "opt": _FUSED._replace(
        architecture="OPTForCausalLM",
        defaults=_OPT,
        names={},
        embed="model.decoder.embed_tokens",
        blocks="model.decoder.layers",
        last="",
        narrow="word_embed_proj_dim",
        begin=_opt_begins,
        parts=("attention", "self_attn_layer_norm", "mlp", "final_layer_norm"),
        attention="self_attn",
        mlp="",
        qkvo=("k_proj", "v_proj", "q_proj", "out_proj"),
        out="out_proj",
        up=("fc1",),
        down="fc2",
        linear={},
        qkv_bias="enable_bias",
        o_bias="enable_bias",
        mlp_bias="enable_bias",
        affine="layer_norm_elementwise_affine",
        inner="ffn_dim",
        dropout="dropout",
        attention_dropout="attention_dropout",
    ),
    "bloom": _SQUARE,
    "gpt_neox": _SQUARE._replace(
        architecture="GPTNeoXForCausalLM",
        defaults=_NEOX,
        names={},
        embed="gpt_neox.embed_in",
        blocks="gpt_neox.layers",
        last="gpt_neox.final_layer_norm",
        begin=lambda d: d.builder.dropout(d.config["hidden_dropout"], d.width),
        parts=("input_layernorm", "post_attention_layernorm", "attention", "mlp"),
        attention="attention",
        qkv_bias="attention_bias",
        o_bias="attention_bias",
        inner="intermediate_size",
        act="hidden_act",
        context="max_position_embeddings",
        rotary=turned(0.25, "rotary_pct"),
        how="",
    ),
}

FUNCTIONS = {**functions(_KINDS), "falcon": _falcon}
