"""BERT and those built like it: encoders with a masked language model's head or a classifier's.

Knows the names of their modules and the defaults of their configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lora_magic.cost.builder import LABELS, Builder
from lora_magic.cost.model import Model

from . import filled, head_size, sizes

_BERT = {
    **sizes(12, 768, 12, None, 3072, 30522, 512),
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": True,
}

_ROBERTA = {**_BERT, "vocab_size": 50265, "pad_token_id": 1}

_ELECTRA = {
    **_BERT,
    "embedding_size": 128,
    "hidden_size": 256,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}

_DISTILBERT = {
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "n_layers": 6,
    "n_heads": 12,
    "dim": 768,
    "hidden_dim": 3072,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation": "gelu",
    "tie_word_embeddings": True,
}

_DISTILBERT_NAMES = {
    "hidden_size": "dim",
    "num_attention_heads": "n_heads",
    "num_hidden_layers": "n_layers",
}


def bert(config: Mapping[str, Any], name: str) -> Model:
    """`BertForMaskedLM`."""
    c = filled(config, _BERT)
    d, words, b = c["hidden_size"], c["vocab_size"], Builder()
    for kind, rows in (
        ("word", words),
        ("position", c["max_position_embeddings"]),
        ("token_type", c["type_vocab_size"]),
    ):
        b.embedding(f"bert.embeddings.{kind}_embeddings", rows, d)
    _after_embeddings(b, "bert.embeddings", d, c)
    _layers(b, "bert", c, name)
    if c.get(LABELS):
        b.once("bert.pooler.dense", d, d)
        b.once("classifier", c[LABELS], d)
        return encoder(b, c, name, "Bert", ("classifier",))
    b.add("cls.predictions", parameters=(("bias", (words,)),))
    _transform(b, "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", c)
    words_head(b, c, "cls.predictions", d, "bert.embeddings.word_embeddings")
    return encoder(b, c, name, "BertForMaskedLM")


def roberta(config: Mapping[str, Any], name: str) -> Model:
    """`RobertaForMaskedLM`."""
    c, b = filled(config, _ROBERTA), Builder()
    _roberta(b, c, name)
    head = _roberta_head(b, c)
    if c["tie_word_embeddings"] and not head:
        b.ties["lm_head.decoder.weight"] = "roberta.embeddings.word_embeddings.weight"
    return encoder(b, c, name, "Roberta" if head else "RobertaForMaskedLM", head)


def xlm_roberta(config: Mapping[str, Any], name: str) -> Model:
    """`XLMRobertaForMaskedLM`, whose head comes before its body."""
    c, b = filled(config, {**_ROBERTA, "vocab_size": 30522}), Builder()
    head = _roberta_head(b, c)
    _roberta(b, c, name)
    if c["tie_word_embeddings"] and not head:
        b.ties["roberta.embeddings.word_embeddings.weight"] = "lm_head.decoder.weight"
    return encoder(b, c, name, "XLMRoberta" if head else "XLMRobertaForMaskedLM", head)


def _roberta(b: Builder, c: dict[str, Any], name: str) -> None:
    d = c["hidden_size"]
    b.embedding("roberta.embeddings.word_embeddings", c["vocab_size"], d)
    b.embedding("roberta.embeddings.token_type_embeddings", c["type_vocab_size"], d)
    _after_embeddings(b, "roberta.embeddings", d, c)
    b.embedding("roberta.embeddings.position_embeddings", c["max_position_embeddings"], d)
    _layers(b, "roberta", c, name)
    # Positions are counted from the one after the padding token's.
    c["context"] = c["max_position_embeddings"] - (c["pad_token_id"] or 0) - 1


def _roberta_head(b: Builder, c: Mapping[str, Any]) -> tuple[str, ...]:
    if c.get(LABELS):
        return _two_layers(b, c)
    b.add("lm_head", parameters=(("bias", (c["vocab_size"],)),))
    _transform(b, "lm_head.dense", "lm_head.layer_norm", c)
    words_head(b, c, "lm_head", c["hidden_size"])
    return ()


def electra(config: Mapping[str, Any], name: str) -> Model:
    """`ElectraForMaskedLM`."""
    c = filled(config, _ELECTRA)
    d, small, words, b = c["hidden_size"], c["embedding_size"], c["vocab_size"], Builder()
    b.embedding("electra.embeddings.word_embeddings", words, small)
    b.embedding("electra.embeddings.position_embeddings", c["max_position_embeddings"], small)
    b.embedding("electra.embeddings.token_type_embeddings", c["type_vocab_size"], small)
    _after_embeddings(b, "electra.embeddings", small, c)
    if small != d:
        b.linear("electra.embeddings_project", d, small, True)
    _layers(b, "electra", c, name)
    if c.get(LABELS):
        return encoder(b, c, name, "Electra", _two_layers(b, c))
    b.norm("generator_predictions.LayerNorm", small, "layer")
    b.linear("generator_predictions.dense", small, d, True)
    b.activation("gelu", small)
    b.linear("generator_lm_head", words, small, True)
    b.last = "generator_lm_head"
    if c["tie_word_embeddings"]:
        b.ties["generator_lm_head.weight"] = "electra.embeddings.word_embeddings.weight"
    return encoder(b, c, name, "ElectraForMaskedLM")


def distilbert(config: Mapping[str, Any], name: str) -> Model:
    """`DistilBertForMaskedLM`."""
    c = filled(config, _DISTILBERT, _DISTILBERT_NAMES)
    d, words, heads, b = c["dim"], c["vocab_size"], c["n_heads"], Builder()
    b.embedding("distilbert.embeddings.word_embeddings", words, d)
    b.embedding("distilbert.embeddings.position_embeddings", c["max_position_embeddings"], d)
    b.norm("distilbert.embeddings.LayerNorm", d, "layer")
    b.dropout(c["dropout"], d)
    for layer in range(c["n_layers"]):
        b.within(layer)
        at = f"distilbert.transformer.layer.{layer}"
        for part in ("q_lin", "k_lin", "v_lin"):
            b.linear(f"{at}.attention.{part}", d, d, True, reads="attention")
        b.attention(heads, heads, head_size(name, d, heads), share=c["attention_dropout"])
        b.linear(f"{at}.attention.out_lin", d, d, True)
        b.norm(f"{at}.sa_layer_norm", d, "layer")
        b.linear(f"{at}.ffn.lin1", c["hidden_dim"], d, True)
        b.activation(c["activation"], c["hidden_dim"])
        b.linear(f"{at}.ffn.lin2", d, c["hidden_dim"], True)
        b.dropout(c["dropout"], d)
        b.norm(f"{at}.output_layer_norm", d, "layer")
    b.within(-1)
    c |= {"hidden_size": d, "blocks": "distilbert.transformer.layer"}
    if c.get(LABELS):
        b.once("pre_classifier", d, d)
        b.once("classifier", c[LABELS], d)
        return encoder(b, c, name, "DistilBert", ("pre_classifier", "classifier"))
    b.linear("vocab_transform", d, d, True)
    b.activation(c["activation"], d)
    b.norm("vocab_layer_norm", d, "layer")
    b.linear("vocab_projector", words, d, True)
    b.last = "vocab_projector"
    if c["tie_word_embeddings"]:
        b.ties["vocab_projector.weight"] = "distilbert.embeddings.word_embeddings.weight"
    return encoder(b, c, name, "DistilBertForMaskedLM")


def _after_embeddings(b: Builder, at: str, width: int, c: Mapping[str, Any]) -> None:
    b.norm(f"{at}.LayerNorm", width, "layer")
    b.dropout(c["hidden_dropout_prob"], width)


def _layers(b: Builder, body: str, c: dict[str, Any], name: str) -> None:
    d, heads = c["hidden_size"], c["num_attention_heads"]
    size = head_size(name, d, heads)
    c["blocks"] = f"{body}.encoder.layer"
    for layer in range(c["num_hidden_layers"]):
        b.within(layer)
        at = f"{body}.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            b.linear(f"{at}.attention.self.{part}", d, d, True, reads="attention")
        b.attention(heads, heads, size, share=c["attention_probs_dropout_prob"])
        after_attention(b, at, c)
    b.within(-1)


def after_attention(b: Builder, at: str, c: Mapping[str, Any]) -> None:
    """The rest of a block."""
    d, wide, share = c["hidden_size"], c["intermediate_size"], c["hidden_dropout_prob"]
    b.linear(f"{at}.attention.output.dense", d, d, True)
    b.dropout(share, d)
    b.norm(f"{at}.attention.output.LayerNorm", d, "layer")
    b.linear(f"{at}.intermediate.dense", wide, d, True)
    b.activation(c["hidden_act"], wide)
    b.linear(f"{at}.output.dense", d, wide, True)
    b.dropout(share, d)
    b.norm(f"{at}.output.LayerNorm", d, "layer")


def _transform(b: Builder, dense: str, norm: str, c: Mapping[str, Any]) -> None:
    d = c["hidden_size"]
    b.linear(dense, d, d, True)
    b.activation("gelu", d)
    b.norm(norm, d, "layer")


def words_head(b: Builder, c: Mapping[str, Any], at: str, width: int, tied_to: str = "") -> None:
    """A masked language model's last layer; what is tied is tied to `at` and to `tied_to`."""
    b.last = f"{at}.decoder"
    b.linear(b.last, c["vocab_size"], width, True)
    if c["tie_word_embeddings"]:
        b.ties[f"{b.last}.bias"] = f"{at}.bias"
        if tied_to:
            b.ties[f"{b.last}.weight"] = f"{tied_to}.weight"


def _two_layers(b: Builder, c: Mapping[str, Any]) -> tuple[str, ...]:
    """A classifier's head of two layers, which reads the first token."""
    b.once("classifier.dense", c["hidden_size"], c["hidden_size"])
    b.once("classifier.out_proj", c[LABELS], c["hidden_size"])
    return ("classifier.dense", "classifier.out_proj")


def encoder(
    b: Builder, c: Mapping[str, Any], name: str, architecture: str, head: tuple[str, ...] = ()
) -> Model:
    """The model that was written down: an encoder, which keeps nothing of earlier tokens."""
    model = b.decoder(
        c,
        name,
        architecture=architecture,
        blocks=c["blocks"],
        head=head,
        width=c["hidden_size"],
        cache=None,
        vocabulary=c["vocab_size"],
        context=c.get("context", c["max_position_embeddings"]),
    )
    return replace(model, causal=False)


FUNCTIONS = {
    "bert": bert,
    "distilbert": distilbert,
    "electra": electra,
    "roberta": roberta,
    "xlm-roberta": xlm_roberta,
}
