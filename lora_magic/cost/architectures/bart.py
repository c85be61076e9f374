"""BART: an encoder and a decoder that share a table of words, with learned positions.

Knows the names of its modules and the defaults of its config. One pass is counted with as many
tokens in the source as in the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from lora_magic.adapters.shapes import EMBEDDING, Cache
from lora_magic.base.task import refuse_encoder_decoder
from lora_magic.cost.builder import LABELS, Builder
from lora_magic.cost.model import Model

from . import filled, head_size

#: What is assumed of an encoder–decoder.
NOTE = "an encoder-decoder: counted with as many tokens in the source as in the target"

_BART = {
    "vocab_size": 50265,
    "max_position_embeddings": 1024,
    "encoder_layers": 12,
    "encoder_ffn_dim": 4096,
    "encoder_attention_heads": 16,
    "decoder_layers": 12,
    "decoder_ffn_dim": 4096,
    "decoder_attention_heads": 16,
    "activation_function": "gelu",
    "d_model": 1024,
    "dropout": 0.1,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "tie_word_embeddings": True,
}

_NAMES = {
    "num_attention_heads": "encoder_attention_heads",
    "hidden_size": "d_model",
    "num_hidden_layers": "encoder_layers",
}


def bart(config: Mapping[str, Any], name: str) -> Model:
    """`BartForConditionalGeneration`."""
    c = filled(config, _BART, _NAMES)
    d, words, b = c["d_model"], c["vocab_size"], Builder()
    b.add("model.shared", EMBEDDING, (("weight", (words, d)),), "BartScaledWordEmbedding")
    refuse_labels(c, name)
    first = 0
    for part in ("encoder", "decoder"):
        at, layers = f"model.{part}", c[f"{part}_layers"]
        size = head_size(name, d, c[f"{part}_attention_heads"])
        b.embedding(f"{at}.embed_tokens", words, d)
        # Its rows are those of positions from 2.
        rows = c["max_position_embeddings"] + 2
        kind = "BartLearnedPositionalEmbedding"
        b.embedding(f"{at}.embed_positions", rows, d, kind, plain_lookup=False)
        for layer in range(layers):
            b.within(first + layer)
            _layer(b, f"{at}.layers.{layer}", part, c, size)
        first += layers
        b.within(-1)
        b.norm(f"{at}.layernorm_embedding", d, "layer")
        b.dropout(c["dropout"], d)
    b.linear("lm_head", words, d)
    b.last = "lm_head"
    tied = ["model.encoder.embed_tokens", "model.decoder.embed_tokens"]
    for path in [*tied, "lm_head"] if c["tie_word_embeddings"] else []:
        b.ties[f"{path}.weight"] = "model.shared.weight"
    model = b.decoder(
        c,
        name,
        architecture="BartForConditionalGeneration",
        blocks=b.largest("model.encoder.layers", "model.decoder.layers"),
        width=d,
        cache=Cache(c["decoder_layers"], c["decoder_attention_heads"], size),
        vocabulary=words,
        context=c["max_position_embeddings"],
    )
    return replace(model, causal=False, note=NOTE)


def refuse_labels(config: Mapping[str, Any], name: str) -> None:
    """Raise `BaseModelError` if a classifier is asked for."""
    if config.get(LABELS):
        refuse_encoder_decoder(SimpleNamespace(is_encoder_decoder=True), name)


def _layer(b: Builder, at: str, part: str, c: Mapping[str, Any], size: int) -> None:
    d, inner = c["d_model"], c[f"{part}_ffn_dim"]
    _attention(b, at, "self_attn", c, size)
    if part == "decoder":
        _attention(b, at, "encoder_attn", c, size)
    b.linear(f"{at}.fc1", inner, d, True)
    b.activation(c["activation_function"], inner)
    b.dropout(c["activation_dropout"], inner)
    b.linear(f"{at}.fc2", d, inner, True)
    b.dropout(c["dropout"], d)
    b.norm(f"{at}.final_layer_norm", d, "layer")


def _attention(b: Builder, at: str, kind: str, c: Mapping[str, Any], size: int) -> None:
    d = c["d_model"]
    heads = d // size
    source = "source" if kind == "encoder_attn" else kind
    for side, reads in (("k", source), ("v", source), ("q", kind)):
        b.linear(f"{at}.{kind}.{side}_proj", d, d, True, reads=reads)
    b.attention(heads, heads, size, share=c["attention_dropout"])
    b.linear(f"{at}.{kind}.out_proj", d, d, True)
    b.dropout(c["dropout"], d)
    b.norm(f"{at}.{kind}_layer_norm", d, "layer")


FUNCTIONS = {"bart": bart}
