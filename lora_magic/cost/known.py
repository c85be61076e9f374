"""Well-known models by name, with their published sizes, and models of sizes that a person types.

Knows numbers only. A size is as published in the model's paper or its own config.json.
"""

from __future__ import annotations

from typing import Any

from lora_magic.base import DEMO
from lora_magic.errors import BaseModelError, near

#: The key of a context that is not the number of rows of a table of positions.
CONTEXT = "context of the plan"

#: The words of sizes, and what they are in a config of Llama's.
SIZES = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "inner": "intermediate_size",
    "vocabulary": "vocab_size",
    "context": "max_position_embeddings",
}

#: The sizes of a head that most models have.
_HEAD = 128


def _llama(
    layers: int, width: int, heads: int, kv: int, inner: int, words: int, context: int, **more: Any
) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": inner,
        "vocab_size": words,
        "max_position_embeddings": context,
        "dtype": "bfloat16",
        **more,
    }


def _gpt2(layers: int, width: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "n_layer": layers,
        "n_embd": width,
        "n_head": heads,
        "dtype": "float32",
    }


def _gpt3(layers: int, width: int, heads: int) -> dict[str, Any]:
    """GPT-3 (Brown et al. 2020, table 2.1), with q, k and v apart as in OPT, in fp16.

    OPT's table of positions has 2 rows beyond the context; GPT-3's has none.
    """
    return {
        "model_type": "opt",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "ffn_dim": 4 * width,
        "vocab_size": 50257,
        "max_position_embeddings": 2048 - 2,
        CONTEXT: 2048,
        "dropout": 0.0,
        "activation_function": "gelu",
        "dtype": "float16",
    }


def _qwen2(
    layers: int, width: int, heads: int, kv: int, inner: int, words: int, tied: bool
) -> dict[str, Any]:
    found = _llama(layers, width, heads, kv, inner, words, 32768)
    return {**found, "model_type": "qwen2", "tie_word_embeddings": tied}


#: Name → the values of its config.
KNOWN: dict[str, dict[str, Any]] = {
    "gpt2": _gpt2(12, 768, 12),
    "gpt2-medium": _gpt2(24, 1024, 16),
    "gpt2-large": _gpt2(36, 1280, 20),
    "gpt2-xl": _gpt2(48, 1600, 25),
    "gpt3-175b": _gpt3(96, 12288, 96),
    "gpt3-13b": _gpt3(40, 5120, 40),
    "gpt3-6.7b": _gpt3(32, 4096, 32),
    "llama-2-7b": _llama(32, 4096, 32, 32, 11008, 32000, 4096),
    "llama-2-13b": _llama(40, 5120, 40, 40, 13824, 32000, 4096),
    "llama-2-70b": _llama(80, 8192, 64, 8, 28672, 32000, 4096),
    "llama-3-8b": _llama(32, 4096, 32, 8, 14336, 128256, 8192),
    "llama-3-70b": _llama(80, 8192, 64, 8, 28672, 128256, 8192),
    "llama-3.1-405b": _llama(126, 16384, 128, 8, 53248, 128256, 131072),
    "qwen2.5-0.5b": _qwen2(24, 896, 14, 2, 4864, 151936, True),
    "qwen2.5-1.5b": _qwen2(28, 1536, 12, 2, 8960, 151936, True),
    "qwen2.5-3b": _qwen2(36, 2048, 16, 2, 11008, 151936, True),
    "qwen2.5-7b": _qwen2(28, 3584, 28, 4, 18944, 152064, False),
    "qwen2.5-14b": _qwen2(48, 5120, 40, 8, 13824, 152064, False),
    "qwen2.5-32b": _qwen2(64, 5120, 40, 8, 27648, 152064, False),
    "qwen2.5-72b": _qwen2(80, 8192, 64, 8, 29568, 152064, False),
}


def from_sizes(text: str) -> dict[str, Any]:
    """The config of "layers=32,width=4096[,heads=…,kv_heads=…,inner=…,vocabulary=…,tied]".

    A Llama: heads of 128, as many keys and values, an inner width of 8/3 of the width, rounded up
    to a multiple of 256, 32,000 tokens, a context of 4,096. Raises `BaseModelError`.
    """
    given: dict[str, Any] = {}
    for part in text.replace(" ", "").split(","):
        key, _, value = part.partition("=")
        if key == "tied" and value.lower() in ("", "true", "1"):
            given["tie_word_embeddings"] = True
            continue
        if key not in SIZES or not value.isdecimal():
            options = [*SIZES, "tied"]
            raise BaseModelError(
                f"{part!r} among the sizes: expected a whole number of {', '.join(SIZES)}, or "
                f"tied; for example: %lora plan layers=32,width=4096.{near(key, options)}"
            )
        given[SIZES[key]] = int(value)
    layers, width = given.get("num_hidden_layers"), given.get("hidden_size")
    if not layers or not width:
        raise BaseModelError(
            f"{text!r}: expected layers and width, for example: %lora plan layers=32,width=4096"
        )
    heads = given.get("num_attention_heads") or max(1, width // _HEAD)
    inner = -(-(8 * width // 3) // 256) * 256
    return {**_llama(layers, width, heads, heads, inner, 32000, 4096), **given}


__all__ = ["CONTEXT", "DEMO", "KNOWN", "SIZES", "from_sizes"]
