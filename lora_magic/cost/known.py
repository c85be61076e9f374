"""Well-known models by name, with their published sizes, and models of sizes that a person types.

Knows numbers only. A size is as published in the model's paper or its own config.json.
"""

from __future__ import annotations

from typing import Any

from lora_magic.errors import BaseModelError, near

from .architectures import sizes

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

#: The size of a head that most models have, and the most heads that are tried.
_HEAD, _MOST_HEADS = 128, 1024

#: The most that a config may count, and the most layers, heads and experts: each is written down.
MOST, MOST_EACH = 10**9, 10_000

#: The most digits of a size.
_DIGITS = 12

_EXAMPLE = "for example: %lora plan layers=32,width=4096"


def _llama(
    layers: int,
    width: int,
    heads: int,
    kv: int,
    inner: int,
    words: int,
    context: int,
    kind: str = "llama",
    **more: Any,
) -> dict[str, Any]:
    found = sizes(layers, width, heads, kv, inner, words, context)
    return {"model_type": kind, **found, "dtype": "bfloat16", **more}


def _gpt2(layers: int, width: int, heads: int) -> dict[str, Any]:
    sizes = {"n_layer": layers, "n_embd": width, "n_head": heads}
    return {"model_type": "gpt2", **sizes, "dtype": "float32"}


def _opt(layers: int, width: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "opt",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "ffn_dim": 4 * width,
        "dtype": "float16",
        **more,
    }


def _gpt3(layers: int, width: int, heads: int) -> dict[str, Any]:
    """GPT-3 (Brown et al. 2020, table 2.1), with q, k and v apart as in OPT, in fp16.

    OPT's table of positions has 2 rows beyond its context; GPT-3's has 2,048 in all.
    """
    own = {"vocab_size": 50257, "max_position_embeddings": 2046, CONTEXT: 2048}
    return _opt(layers, width, heads, **own, dropout=0.0, activation_function="gelu_new")


def _llama3(layers: int, width: int, heads: int, inner: int, **more: Any) -> dict[str, Any]:
    return _llama(layers, width, heads, 8, inner, 128256, **{"context": 131072, **more})


def _qwen(
    layers: int, width: int, heads: int, kv: int, inner: int, tied: bool, kind: str, **more: Any
) -> dict[str, Any]:
    own = {"words": 151936, "context": 32768, "tie_word_embeddings": tied, **more}
    return _llama(layers, width, heads, kv, inner, kind=kind, **own)


def _gemma(
    layers: int, width: int, heads: int, kv: int, inner: int, kind: str, **more: Any
) -> dict[str, Any]:
    own = {"words": 256000, "context": 8192, "head_dim": 256, **more}
    return _llama(layers, width, heads, kv, inner, kind=kind, **own)


def _pythia(layers: int, width: int, heads: int, words: int) -> dict[str, Any]:
    found = _llama(layers, width, heads, heads, 4 * width, words, 2048, "gpt_neox")
    return {**found, "dtype": "float16"}


def _bert(
    kind: str, layers: int, width: int, heads: int, words: int, **more: Any
) -> dict[str, Any]:
    found = _llama(layers, width, heads, heads, 4 * width, words, 512, kind, **more)
    del found["num_key_value_heads"]
    return {**found, "dtype": "float32", **more}


def _t5(layers: int, width: int, heads: int, inner: int, size: int = 64) -> dict[str, Any]:
    return {
        "model_type": "t5",
        "num_layers": layers,
        "d_model": width,
        "num_heads": heads,
        "d_kv": size,
        "d_ff": inner,
        "vocab_size": 32128,
        "n_positions": 512,
        "dtype": "float32",
    }


_ROBERTA = {"max_position_embeddings": 514, "type_vocab_size": 1}

_DEBERTA = {
    "type_vocab_size": 0,
    "relative_attention": True,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "conv_kernel_size": 3,
    "conv_act": "gelu",
}

_EXPERTS = {"num_experts_per_tok": 8, "num_experts": 128, "head_dim": 128}

#: Name → the values of its config.
KNOWN: dict[str, dict[str, Any]] = {
    "gpt2": _gpt2(12, 768, 12),
    "gpt2-medium": _gpt2(24, 1024, 16),
    "gpt2-large": _gpt2(36, 1280, 20),
    "gpt2-xl": _gpt2(48, 1600, 25),
    "gpt3-175b": _gpt3(96, 12288, 96),
    "gpt3-6.7b": _gpt3(32, 4096, 32),
    "opt-125m": _opt(12, 768, 12),
    "opt-1.3b": _opt(24, 2048, 32),
    "opt-6.7b": _opt(32, 4096, 32),
    "opt-66b": _opt(64, 9216, 72),
    "llama-7b": _llama(32, 4096, 32, 32, 11008, 32000, 2048),
    "llama-13b": _llama(40, 5120, 40, 40, 13824, 32000, 2048),
    "llama-33b": _llama(60, 6656, 52, 52, 17920, 32000, 2048),
    "llama-65b": _llama(80, 8192, 64, 64, 22016, 32000, 2048),
    "llama-2-7b": _llama(32, 4096, 32, 32, 11008, 32000, 4096),
    "llama-2-13b": _llama(40, 5120, 40, 40, 13824, 32000, 4096),
    "llama-2-70b": _llama(80, 8192, 64, 8, 28672, 32000, 4096),
    "llama-3-8b": _llama3(32, 4096, 32, 14336, context=8192),
    "llama-3-70b": _llama3(80, 8192, 64, 28672, context=8192),
    "llama-3.1-8b": _llama3(32, 4096, 32, 14336),
    "llama-3.1-70b": _llama3(80, 8192, 64, 28672),
    "llama-3.1-405b": _llama3(126, 16384, 128, 53248),
    "llama-3.2-1b": _llama3(16, 2048, 32, 8192, head_dim=64, tie_word_embeddings=True),
    "llama-3.2-3b": _llama3(28, 3072, 24, 8192, head_dim=128, tie_word_embeddings=True),
    "llama-3.3-70b": _llama3(80, 8192, 64, 28672),
    "tinyllama-1.1b": _llama(22, 2048, 32, 4, 5632, 32000, 2048),
    "smollm2-135m": _llama(30, 576, 9, 3, 1536, 49152, 8192, tie_word_embeddings=True),
    "smollm2-360m": _llama(32, 960, 15, 5, 2560, 49152, 8192, tie_word_embeddings=True),
    "smollm2-1.7b": _llama(24, 2048, 32, 32, 8192, 49152, 8192, tie_word_embeddings=True),
    "mistral-7b": _llama(32, 4096, 32, 8, 14336, 32000, 32768, "mistral"),
    "mixtral-8x7b": _llama(32, 4096, 32, 8, 14336, 32000, 32768, "mixtral", num_local_experts=8),
    "mixtral-8x22b": _llama(56, 6144, 48, 8, 16384, 32768, 65536, "mixtral", num_local_experts=8),
    "qwen2.5-0.5b": _qwen(24, 896, 14, 2, 4864, True, "qwen2"),
    "qwen2.5-1.5b": _qwen(28, 1536, 12, 2, 8960, True, "qwen2"),
    "qwen2.5-3b": _qwen(36, 2048, 16, 2, 11008, True, "qwen2"),
    "qwen2.5-7b": _qwen(28, 3584, 28, 4, 18944, False, "qwen2", words=152064),
    "qwen2.5-14b": _qwen(48, 5120, 40, 8, 13824, False, "qwen2", words=152064),
    "qwen2.5-32b": _qwen(64, 5120, 40, 8, 27648, False, "qwen2", words=152064),
    "qwen2.5-72b": _qwen(80, 8192, 64, 8, 29568, False, "qwen2", words=152064),
    "qwen3-0.6b": _qwen(28, 1024, 16, 8, 3072, True, "qwen3"),
    "qwen3-1.7b": _qwen(28, 2048, 16, 8, 6144, True, "qwen3"),
    "qwen3-4b": _qwen(36, 2560, 32, 8, 9728, True, "qwen3"),
    "qwen3-8b": _qwen(36, 4096, 32, 8, 12288, False, "qwen3"),
    "qwen3-14b": _qwen(40, 5120, 40, 8, 17408, False, "qwen3"),
    "qwen3-32b": _qwen(64, 5120, 64, 8, 25600, False, "qwen3"),
    "qwen3-30b-a3b": _qwen(
        48, 2048, 32, 4, 6144, False, "qwen3_moe", moe_intermediate_size=768, **_EXPERTS
    ),
    "qwen3-235b-a22b": _qwen(
        94, 4096, 64, 4, 12288, False, "qwen3_moe", moe_intermediate_size=1536, **_EXPERTS
    ),
    "gemma-2b": _gemma(18, 2048, 8, 1, 16384, "gemma"),
    "gemma-7b": _gemma(28, 3072, 16, 16, 24576, "gemma"),
    "gemma-2-2b": _gemma(26, 2304, 8, 4, 9216, "gemma2"),
    "gemma-2-9b": _gemma(42, 3584, 16, 8, 14336, "gemma2"),
    "gemma-2-27b": _gemma(46, 4608, 32, 16, 36864, "gemma2", head_dim=128),
    "gemma-3-1b": _gemma(
        26, 1152, 4, 1, 6912, "gemma3_text", words=262144, context=32768, sliding_window=512
    ),
    "phi-2": _llama(32, 2560, 32, 32, 10240, 51200, 2048, "phi"),
    "phi-3-mini": _llama(32, 3072, 32, 32, 8192, 32064, 4096, "phi3"),
    "pythia-70m": _pythia(6, 512, 8, 50304),
    "pythia-410m": _pythia(24, 1024, 16, 50304),
    "pythia-1.4b": _pythia(24, 2048, 16, 50304),
    "pythia-6.9b": _pythia(32, 4096, 32, 50432),
    "bert-base": _bert("bert", 12, 768, 12, 30522),
    "bert-large": _bert("bert", 24, 1024, 16, 30522),
    "roberta-base": _bert("roberta", 12, 768, 12, 50265, **_ROBERTA),
    "roberta-large": _bert("roberta", 24, 1024, 16, 50265, **_ROBERTA),
    "deberta-v2-xxl": _bert("deberta-v2", 48, 1536, 24, 128100, **_DEBERTA),
    "t5-small": _t5(6, 512, 8, 2048),
    "t5-base": _t5(12, 768, 12, 3072),
    "t5-large": _t5(24, 1024, 16, 4096),
    "t5-3b": _t5(24, 1024, 32, 16384, 128),
    "t5-11b": _t5(24, 1024, 128, 65536, 128),
}


def from_sizes(text: str) -> dict[str, Any]:
    """The config of "layers=32,width=4096" and, if one likes, the other words of `SIZES` and tied.

    A Llama: heads of about 128, as many of keys and values, an inner width of 8/3 of the width,
    rounded up to a multiple of 256, 32,000 tokens, a context of 4,096. Raises `BaseModelError`.
    """
    given: dict[str, Any] = {}
    for part in text.replace(",", " ").split():
        key, _, value = part.partition("=")
        if key == "tied" and value.lower() in ("", "true", "1"):
            given["tie_word_embeddings"] = True
            continue
        number = value.replace("_", "")
        whole = number.isascii() and number.isdecimal() and len(number) <= _DIGITS
        most = MOST_EACH if key in ("layers", "heads", "kv_heads") else MOST
        if key not in SIZES or not whole or not 0 < int(number) <= most:
            raise BaseModelError(
                f"{part[:40]!r} among the sizes: expected a whole number from 1 to {most:,} for "
                f"{key}, {_EXAMPLE}"
                if key in SIZES
                else f"{part[:40]!r} among the sizes: expected {', '.join(SIZES)} or tied, "
                f"{_EXAMPLE}.{near(key, [*SIZES, 'tied'])}"
            )
        given[SIZES[key]] = int(number)
    missing = [key for key in ("layers", "width") if SIZES[key] not in given]
    if missing:
        raise BaseModelError(f"{text!r} lacks {' and '.join(missing)}, {_EXAMPLE}")
    width = given["hidden_size"]
    heads = given.get("num_attention_heads") or _heads(width)
    inner = min(-(-(8 * width // 3) // 256) * 256, MOST)
    return {
        **_llama(given["num_hidden_layers"], width, heads, heads, inner, 32000, 4096),
        **given,
    }


def _heads(width: int) -> int:
    """The most heads of at least 128 that divide a width."""
    most = min(max(1, width // _HEAD), _MOST_HEADS)
    return next(heads for heads in range(most, 0, -1) if width % heads == 0)
