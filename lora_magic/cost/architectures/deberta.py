"""DeBERTa v2 and v3: encoders whose attention also compares relative positions.

Knows the names of their modules and the defaults of their configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_magic.cost import ops
from lora_magic.cost.builder import LABELS, Builder
from lora_magic.cost.model import Model

from . import filled, head_size, sizes
from .bert import after_attention, encoder, words_head

_DEBERTA = {
    **sizes(24, 1536, 24, None, 6144, 128100, 512),
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "type_vocab_size": 0,
    "relative_attention": False,
    "max_relative_positions": -1,
    "position_buckets": -1,
    "position_biased_input": True,
    "pos_att_type": None,
    "share_att_key": False,
    "norm_rel_ebd": "none",
    "conv_kernel_size": 0,
    "conv_groups": 1,
    "conv_act": "tanh",
    "legacy": True,
    "tie_word_embeddings": True,
}


def deberta(config: Mapping[str, Any], name: str) -> Model:
    """`DebertaV2ForMaskedLM`."""
    c = filled(config, _DEBERTA)
    d, words, b = c["hidden_size"], c["vocab_size"], Builder()
    small = c.get("embedding_size", d)
    _embeddings(b, c, small)
    b.norm("deberta.embeddings.LayerNorm", d, "layer")
    b.dropout(c["hidden_dropout_prob"], d)
    size = c.get("attention_head_size") or head_size(name, d, c["num_attention_heads"])
    for layer in range(c["num_hidden_layers"]):
        b.within(layer)
        _attention(b, f"deberta.encoder.layer.{layer}", c, size)
    b.within(-1)
    _after_layers(b, c)
    c["blocks"] = "deberta.encoder.layer"
    if c.get(LABELS):
        wide = c.get("pooler_hidden_size", d)
        b.once("pooler.dense", wide, wide)
        b.once("classifier", c[LABELS], wide)
        return encoder(b, c, name, "DebertaV2", ("pooler.dense", "classifier"))
    at = "cls.predictions" if c["legacy"] else "lm_predictions.lm_head"
    dense = "cls.predictions.transform" if c["legacy"] else at
    wide = small if c["legacy"] else d
    b.add(at, parameters=(("bias", (words,)),))
    b.linear(f"{dense}.dense", wide, d, True)
    b.activation("gelu", wide)
    b.norm(f"{dense}.LayerNorm", wide, "layer")
    if c["legacy"]:
        words_head(b, c, at, small, "deberta.embeddings.word_embeddings")
    else:
        # The words' embeddings give the logits, so this layer is the model's output by name only.
        b.last = f"{at}.dense"
        b.step(ops.LINEAR, reads=d, gives=words, input=at)
    return encoder(b, c, name, "DebertaV2ForMaskedLM")


def _embeddings(b: Builder, c: Mapping[str, Any], small: int) -> None:
    at, d = "deberta.embeddings", c["hidden_size"]
    b.embedding(f"{at}.word_embeddings", c["vocab_size"], small)
    if c["position_biased_input"]:
        b.embedding(f"{at}.position_embeddings", c["max_position_embeddings"], small)
    if c["type_vocab_size"]:
        b.embedding(f"{at}.token_type_embeddings", c["type_vocab_size"], small)
    if small != d:
        b.linear(f"{at}.embed_proj", d, small)


def _attention(b: Builder, at: str, c: Mapping[str, Any], size: int) -> None:
    d, heads = c["hidden_size"], c["num_attention_heads"]
    for part in ("query", "key", "value"):
        b.linear(f"{at}.attention.self.{part}_proj", heads * size, d, True, reads="attention")
    if c["relative_attention"] and not c["share_att_key"]:
        # These read the table of positions, not the tokens.
        if "c2p" in (c["pos_att_type"] or ()):
            b.once(f"{at}.attention.self.pos_key_proj", heads * size, d)
        if "p2c" in (c["pos_att_type"] or ()):
            b.once(f"{at}.attention.self.pos_query_proj", heads * size, d)
    b.attention(heads, heads, size, how="disentangled", share=c["attention_probs_dropout_prob"])
    after_attention(b, at, c)


def _after_layers(b: Builder, c: Mapping[str, Any]) -> None:
    """The table of relative positions, and the convolution of the largest models."""
    at, d = "deberta.encoder", c["hidden_size"]
    if c["relative_attention"]:
        most = c["max_relative_positions"]
        most = c["max_position_embeddings"] if most < 1 else most
        rows = 2 * (c["position_buckets"] if c["position_buckets"] > 0 else most)
        b.add(f"{at}.rel_embeddings", "embedding", (("weight", (rows, d)),), "Embedding")
    if "layer_norm" in c["norm_rel_ebd"].lower():
        b.norm(f"{at}.LayerNorm", d, "layer")
    if c["conv_kernel_size"] > 0:
        b.convolution(f"{at}.conv.conv", d, d // c["conv_groups"], c["conv_kernel_size"], True)
        b.norm(f"{at}.conv.LayerNorm", d, "layer")
        b.activation(c["conv_act"], d)


FUNCTIONS = {"deberta-v2": deberta}
