"""Llama and those built like it: rotary positions, a norm before each part, grouped queries.

Knows the names of their modules and the defaults of their configs: what differs between them is in
`_KINDS`. Knows no experts.
"""

from __future__ import annotations

from collections.abc import Callable

from . import sizes
from .decoder import LLAMA, Config, Kind, functions, turned

_QWEN = {
    **LLAMA,
    **sizes(32, 4096, 32, 32, 22016, 151936, 32768),
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}

_GEMMA = {
    **LLAMA,
    **sizes(28, 3072, 16, 16, 24576, 256000, 8192),
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
}

_ACT = {"hidden_activation": "hidden_act"}

_GEMMA2 = {
    **_GEMMA,
    **sizes(26, 2304, 8, 4, 9216, 256000, 8192),
    "sliding_window": 4096,
    "attn_logit_softcapping": 50.0,
}


def _everywhere(config: Config, layer: int) -> int | None:
    """The same sliding window in every layer."""
    window: int | None = config["sliding_window"]
    return window


def _typed(usual: Callable[[Config, int], bool]) -> Callable[..., int | None]:
    """A sliding window in the layers that `layer_types` names, or else in the `usual` ones."""

    def window(config: Config, layer: int) -> int | None:
        types = config.get("layer_types")
        slides = types[layer] == "sliding_attention" if types else usual(config, layer)
        return config["sliding_window"] if slides and config.get("use_sliding_window", 1) else None

    return window


_late = _typed(lambda config, layer: layer >= config["max_window_layers"])
_second = _typed(lambda config, layer: layer % 2 == 0)
_local = _typed(lambda config, layer: (layer + 1) % config["sliding_window_pattern"] > 0)
_unturned = _typed(lambda config, layer: not _rotates(config, layer))


def _rotates(config: Config, layer: int) -> bool:
    """Whether a layer of SmolLM3 has rotary positions: all but each fourth one."""
    given = config.get("no_rope_layers")
    return bool(given[layer] if given else (layer + 1) % config["no_rope_layer_interval"])


_FOUR_NORMS = (
    "attention",
    "mlp",
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)

_KINDS: dict[str, Kind] = {
    "llama": Kind("LlamaForCausalLM", LLAMA, mlp_bias="mlp_bias"),
    "mistral": Kind(
        "MistralForCausalLM",
        {
            **LLAMA,
            **sizes(32, 4096, 32, 8, 14336, 32000, 4096 * 32),
            "sliding_window": 4096,
        },
        qkv_bias=False,
        o_bias=False,
        window=_everywhere,
    ),
    "qwen2": Kind("Qwen2ForCausalLM", _QWEN, qkv_bias=True, o_bias=False, window=_late),
    "qwen3": Kind(
        "Qwen3ForCausalLM", {**_QWEN, "head_dim": 128}, normed="q_norm,k_norm", window=_late
    ),
    "gemma": Kind("GemmaForCausalLM", _GEMMA, _ACT),
    "gemma2": Kind(
        "Gemma2ForCausalLM", _GEMMA2, _ACT, parts=_FOUR_NORMS, window=_second, how="eager"
    ),
    "gemma3_text": Kind(
        "Gemma3ForCausalLM",
        {
            **_GEMMA2,
            **sizes(26, 2304, 8, 4, 9216, 262208, 131072),
            "attn_logit_softcapping": None,
            "sliding_window_pattern": 6,
        },
        _ACT,
        parts=_FOUR_NORMS,
        normed="q_norm,k_norm",
        window=_local,
        # The classifier of its texts has another name than that of texts and images.
        classifier="Gemma3TextForCausalLM",
    ),
    "olmo2": Kind(
        "Olmo2ForCausalLM",
        {**LLAMA, "vocab_size": 50304},
        parts=("attention", "mlp", "post_attention_layernorm", "post_feedforward_layernorm"),
        normed="q_norm,k_norm",
        per="all",
    ),
    "granite": Kind("GraniteForCausalLM", LLAMA, mlp_bias="mlp_bias", classifies=False),
    "smollm3": Kind(
        "SmolLM3ForCausalLM",
        {
            **LLAMA,
            **sizes(36, 2048, 16, 4, 11008, 128256, 32768),
            "use_sliding_window": False,
            "no_rope_layer_interval": 4,
            "tie_word_embeddings": True,
        },
        mlp_bias="mlp_bias",
        window=_unturned,
        rotary=lambda c, size, layer: size * _rotates(c, layer),
    ),
    "cohere": Kind(
        "CohereForCausalLM",
        {
            **LLAMA,
            **sizes(40, 8192, 64, None, 22528, 256000, 8192),
            "use_qk_norm": False,
            "tie_word_embeddings": True,
        },
        norm="mean",
        parts=("attention", "mlp", "input_layernorm"),
        normed="q_norm,k_norm",
        normed_if="use_qk_norm",
        per="own",
        parallel=True,
        classifies=False,
    ),
    "stablelm": Kind(
        "StableLmForCausalLM",
        {
            **LLAMA,
            **sizes(32, 2560, 32, 32, 6912, 50304, 4096),
            "use_qkv_bias": False,
            "qk_layernorm": False,
            "use_parallel_residual": False,
            "hidden_dropout": 0.0,
        },
        qkv_bias="use_qkv_bias",
        o_bias=False,
        norm="layer",
        normed="q_layernorm,k_layernorm",
        normed_if="qk_layernorm",
        per="list",
        parallel="use_parallel_residual",
        rotary=turned(0.25),
        divided=True,
        dropout="hidden_dropout",
    ),
    "phi": Kind(
        "PhiForCausalLM",
        {
            **LLAMA,
            **sizes(24, 2048, 32, None, 8192, 51200, 2048),
            "hidden_act": "gelu_new",
            "resid_pdrop": 0.0,
            "qk_layernorm": False,
        },
        qkv_bias=True,
        o_bias=True,
        mlp_bias=True,
        head_bias=True,
        norm="layer",
        parts=("attention", "mlp", "input_layernorm"),
        last="model.final_layernorm",
        normed="q_layernorm,k_layernorm",
        normed_if="qk_layernorm",
        qkvo=("q_proj", "k_proj", "v_proj", "dense"),
        out="dense",
        up=("fc1",),
        down="fc2",
        parallel=True,
        rotary=turned(0.5),
        dropout="resid_pdrop",
    ),
    "phi3": Kind(
        "Phi3ForCausalLM",
        {**LLAMA, **sizes(32, 3072, 32, None, 8192, 32064, 4096), "resid_pdrop": 0.0},
        qkv_bias=False,
        o_bias=False,
        up=("gate_up_proj",),
        qkvo=("o_proj", "qkv_proj"),
        dropout="resid_pdrop",
        window=_everywhere,
    ),
    "starcoder2": Kind(
        "Starcoder2ForCausalLM",
        {
            **LLAMA,
            **sizes(30, 3072, 24, 2, 12288, 49152, 4096),
            "hidden_act": "gelu_pytorch_tanh",
            "use_bias": True,
            "residual_dropout": 0.0,
            "tie_word_embeddings": True,
        },
        qkv_bias="use_bias",
        o_bias="use_bias",
        mlp_bias="use_bias",
        norm="layer",
        up=("c_fc",),
        down="c_proj",
        dropout="residual_dropout",
        window=_everywhere,
    ),
}

FUNCTIONS = functions(_KINDS)
