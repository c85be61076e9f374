"""Small models and tokenizers for tests, made in memory in well under a second.

`tiny_model("llama")` is a seeded causal language model of two layers for each architecture that the
package promises; `tiny_tokenizer()` is a byte-level BPE that can encode any text. Both are the same
on every call. Nothing here knows lora_magic.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
PAD = "<|pad|>"

#: Closes a turn with another token than the end of text, as Qwen2.5's base does.
CHAT_TEMPLATE = (
    "{% for m in messages %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_CORPUS = [
    "Where is the library? Arr, it be down by the harbour, matey!",
    "What should I cook tonight? Fish stew, ye hungry dog!",
    "What does a fox eat? A fox eats mice, berries and what it can find.",
    "The quick brown fox jumps over the lazy dog.",
    "user\nassistant\nsystem\nYou answer in one short sentence.",
]

VOCABULARY = 384

#: The architectures that the package promises, by the name that `tiny_model` takes.
ARCHITECTURES = ("llama", "qwen2", "mistral", "gemma", "phi", "gpt2", "opt", "gpt_neox")


def tiny_tokenizer(chat: bool = False, pad: bool = True) -> PreTrainedTokenizerBase:
    """A byte-level BPE of 384 tokens; with `chat` it has a template, with `pad` a pad token."""
    specials = [END_OF_TEXT, TURN_START, TURN_END, PAD]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(
        _CORPUS * 4,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token=END_OF_TEXT,
        pad_token=PAD if pad else None,
        additional_special_tokens=[TURN_START, TURN_END],
        model_max_length=128,
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_config(architecture: str = "llama", **changes: Any) -> Any:
    """The config behind `tiny_model`: 2 layers, width 32, 4 heads, 384 tokens, context 128."""
    shared: dict[str, Any] = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 3}
    decoder: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
    }
    own: dict[str, dict[str, Any]] = {
        "llama": {**decoder, "num_key_value_heads": 2},
        "qwen2": {**decoder, "num_key_value_heads": 2, "tie_word_embeddings": True},
        "mistral": {**decoder, "num_key_value_heads": 2, "sliding_window": None},
        "gemma": {**decoder, "num_key_value_heads": 1, "head_dim": 8},
        "phi": {**decoder, "resid_pdrop": 0.0},
        "gpt2": {
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 128,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
        },
        "opt": {
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 64,
            "max_position_embeddings": 128,
            "dropout": 0.0,
        },
        "gpt_neox": decoder,
    }
    settings = {"vocab_size": VOCABULARY, **shared, **own[architecture], **changes}
    return AutoConfig.for_model(architecture, **settings)


def tiny_model(
    architecture: str = "llama",
    *,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    **changes: Any,
) -> nn.Module:
    """A seeded model in eval mode; `changes` go into its config. The global generator is spared."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(tiny_config(architecture, **changes))
    model = model.to(dtype)
    model.eval()
    assert isinstance(model, nn.Module)
    return model
