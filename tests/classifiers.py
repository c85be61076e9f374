"""Small classifiers, and what they are made from: encoders and decoders, each with its own head.

`tiny_classifier("bert")` is a seeded classifier in eval mode; `saved` writes a model and its
tokenizer to a folder. All are the same on every call. Nothing here knows lora_magic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from tests.tiny import TURN_END, TURN_START, VOCABULARY, tiny_config, tiny_tokenizer

ENCODERS = ("bert", "roberta")
DECODERS = ("gpt2", "llama")
CLASSIFIERS = (*ENCODERS, *DECODERS)

LOADERS: dict[str, Any] = {
    "body": AutoModel,
    "masked": AutoModelForMaskedLM,
    "causal": AutoModelForCausalLM,
    "classifier": AutoModelForSequenceClassification,
}


def classifier_config(architecture: str, **changes: Any) -> Any:
    """2 layers, width 32; no dropout. RoBERTa counts positions from its padding's id plus one."""
    if architecture in DECODERS:
        return tiny_config(architecture, **changes)
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 132 if architecture == "roberta" else 128,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": 0.2,
        "pad_token_id": 3,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    return AutoConfig.for_model(architecture, **{**settings, **changes})


def tiny_of(kind: str, architecture: str, seed: int = 0, **changes: Any) -> nn.Module:
    """A seeded "body", "masked" or "causal" model, or a "classifier"; the generator is spared."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LOADERS[kind].from_config(classifier_config(architecture, **changes))
    assert isinstance(model, nn.Module)
    return model.eval()


def tiny_classifier(architecture: str, labels: int = 2, seed: int = 0, **changes: Any) -> Any:
    """A classifier whose head is large enough to tell texts apart."""
    model = tiny_of("classifier", architecture, seed, num_labels=labels, **changes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("score.weight", "classifier.weight", "out_proj.weight")):
                parameter.normal_(0, 0.5, generator=generator)
    return model


def closing_tokenizer() -> PreTrainedTokenizerBase:
    """One that opens and closes each text with a token, as an encoder's does."""
    tokenizer = tiny_tokenizer()
    ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in (TURN_START, TURN_END)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{TURN_START} $A {TURN_END}", special_tokens=ids
    )
    return tokenizer


def saved(model: Any, folder: Path, tokenizer: Any = None) -> str:
    """The folder, after the model and a tokenizer are saved in it."""
    model.save_pretrained(folder)
    (tokenizer or tiny_tokenizer()).save_pretrained(folder)
    return str(folder)


def logits_alone(model: Any, tokenizer: Any, text: str) -> Tensor:
    """A text's logits in float64, read alone and without a mask."""
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.no_grad():
        found: Tensor = model(input_ids=ids).logits[0].double()
    return found
