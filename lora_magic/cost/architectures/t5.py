"""T5: an encoder and a decoder that share a table of words, with relative positions.

Knows the names of its modules and the defaults of its config. One pass is counted with as many
tokens in the source as in the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lora_magic.adapters.shapes import EMBEDDING, Cache
from lora_magic.cost.builder import Builder
from lora_magic.cost.model import Model

from . import filled
from .bart import NOTE, refuse_labels

_T5 = {
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 6,
    "num_decoder_layers": None,
    "num_heads": 8,
    "relative_attention_num_buckets": 32,
    "dropout_rate": 0.1,
    "feed_forward_proj": "relu",
}

_NAMES = {
    "hidden_size": "d_model",
    "num_attention_heads": "num_heads",
    "num_hidden_layers": "num_layers",
    "head_dim": "d_kv",
}


def t5(config: Mapping[str, Any], name: str) -> Model:
    """`T5ForConditionalGeneration`."""
    c = filled(config, _T5, _NAMES)
    d, words, b = c["d_model"], c["vocab_size"], Builder()
    refuse_labels(c, name)
    deep = c["num_decoder_layers"] or c["num_layers"]
    b.add("shared", EMBEDDING, (("weight", (words, d)),), "Embedding")
    for part, layers, first in (
        ("encoder", c["num_layers"], 0),
        ("decoder", deep, c["num_layers"]),
    ):
        b.embedding(f"{part}.embed_tokens", words, d)
        b.dropout(c["dropout_rate"], d)
        for layer in range(layers):
            b.within(first + layer)
            _block(b, f"{part}.block.{layer}.layer", c, layer == 0, part == "decoder")
        b.within(-1)
        b.norm(f"{part}.final_layer_norm", d)
        b.dropout(c["dropout_rate"], d)
    b.linear("lm_head", words, d)
    b.last = "lm_head"
    # transformers ties all three, whatever the config says.
    for tied in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"):
        b.ties[f"{tied}.weight"] = "shared.weight"
    model = b.decoder(
        c,
        name,
        architecture="T5ForConditionalGeneration",
        blocks=b.largest("encoder.block", "decoder.block"),
        width=d,
        cache=Cache(deep, c["num_heads"], c["d_kv"]),
        vocabulary=words,
        context=c.get("n_positions", 0),
    )
    return replace(model, causal=False, note=NOTE)


def _block(b: Builder, at: str, c: Mapping[str, Any], first: bool, decodes: bool) -> None:
    _attention(b, f"{at}.0", "SelfAttention", c, first)
    if decodes:
        _attention(b, f"{at}.1", "EncDecAttention", c, False)
    d, inner, place = c["d_model"], c["d_ff"], 2 if decodes else 1
    gated, how = (*c["feed_forward_proj"].split("-"), "")[:2]
    inside = f"{at}.{place}.DenseReluDense"
    if gated == "gated":
        b.linear(f"{inside}.wi_0", inner, d, reads="feed-forward")
        b.activation("gelu_new" if how == "gelu" else how, inner)
        b.linear(f"{inside}.wi_1", inner, d, reads="feed-forward")
        b.product(inner)
    else:
        b.linear(f"{inside}.wi", inner, d)
        b.activation(gated, inner)
    b.dropout(c["dropout_rate"], inner)
    b.linear(f"{inside}.wo", d, inner)
    b.norm(f"{at}.{place}.layer_norm", d)
    b.dropout(c["dropout_rate"], d)


def _attention(b: Builder, at: str, kind: str, c: Mapping[str, Any], first: bool) -> None:
    d, heads, size = c["d_model"], c["num_heads"], c["d_kv"]
    source = "source" if kind == "EncDecAttention" else kind
    for part, reads in (("q", kind), ("k", source), ("v", source)):
        b.linear(f"{at}.{kind}.{part}", heads * size, d, reads=reads)
    b.attention(heads, heads, size, share=c["dropout_rate"])
    b.linear(f"{at}.{kind}.o", d, heads * size)
    if first:
        rows = c["relative_attention_num_buckets"]
        table = (("weight", (rows, heads)),)
        b.add(f"{at}.{kind}.relative_attention_bias", EMBEDDING, table, "Embedding")
    b.norm(f"{at}.layer_norm", d)
    b.dropout(c["dropout_rate"], d)


FUNCTIONS = {"t5": t5}
