"""The architectures that are written as GGUF: keys from a config, and what llama.cpp assumes.

llama.cpp computes some things by its own rule where a config has a value: activations, attention
scales, which layers attend to a window only. A config that says otherwise is refused. Knows
configs; knows no tensor and no file.

Sources, all in ggml-org/llama.cpp: `conversion/base.py`, `conversion/llama.py`,
`conversion/gemma.py` (the keys), `src/models/*.cpp` (what is assumed).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from lora_magic.errors import ExportError, listed

#: What llama.cpp assumes of yarn for these architectures, whose keys for it are not read.
_YARN = {
    "beta_fast": 32,
    "beta_slow": 1,
    "truncate": True,
    "attention_factor": None,
    "mscale": None,
    "mscale_all_dim": None,
}

#: A key's value; GGUF stores whole numbers as uint32, others as float32.
Value = int | float | str

_QKV = ("q_proj", "k_proj", "v_proj")
_ATTENTION = (*_QKV, "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")

#: Base of the rotary frequencies in Gemma 3's window layers, which llama.cpp has no key for.
_LOCAL_THETA = 10_000.0


@dataclass(frozen=True)
class Architecture:
    """One architecture of llama.cpp.

    `interleaved` says that rotary pairs are neighbouring rows of q and k, where transformers has
    the halves of a head; `norm_shift` is added to the weights of norms, which transformers keeps
    less 1. `biases` are the modules that may have one. Of `period` layers one attends to all
    tokens and the others to a window (1: all to all). `tied` says that the head is always the
    embedding. With `wide_layers` layers the attention is scaled by the width of a head's share of
    the hidden size, not by the head's own.
    """

    name: str
    activation: str
    biases: tuple[str, ...] = ()
    ropes: tuple[str, ...] = ("default", "linear", "yarn")
    interleaved: bool = False
    norm_shift: float = 0.0
    period: int = 1
    tied: bool = False
    wide_layers: int = 0
    softcaps: tuple[str, ...] = ()


_SOFTCAPS = ("attn_logit_softcapping", "final_logit_softcapping")
_GELU = "gelu_pytorch_tanh"
_LLAMA = Architecture(
    "llama",
    "silu",
    biases=(*_ATTENTION, *_MLP),
    ropes=("default", "linear", "yarn", "llama3"),
    interleaved=True,
)

#: By the `model_type` of transformers.
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": Architecture("qwen2", "silu", biases=_QKV),
    "qwen3": Architecture("qwen3", "silu"),
    "gemma": Architecture("gemma", _GELU, norm_shift=1.0, tied=True),
    "gemma2": Architecture(
        "gemma2", _GELU, norm_shift=1.0, tied=True, period=2, wide_layers=46, softcaps=_SOFTCAPS
    ),
    "gemma3_text": Architecture(
        "gemma3", _GELU, ropes=("default", "linear"), norm_shift=1.0, period=6, wide_layers=62
    ),
}


def architecture_of(config: Any) -> Architecture:
    """The architecture of a config; raises `ExportError` if llama.cpp would compute otherwise."""
    kind = str(config.model_type)
    if kind not in ARCHITECTURES:
        raise ExportError(
            f"--to gguf: the architecture {kind!r} is not supported; expected one of "
            f"{listed(ARCHITECTURES, 20)}. Type: --to merged"
        )
    found = ARCHITECTURES[kind]
    if faults := list(_faults(config, found)):
        raise ExportError(
            f"--to gguf: llama.cpp's {found.name} differs from this config: "
            f"{'; '.join(faults)}. Type: --to merged"
        )
    return found


def keys(config: Any, architecture: Architecture) -> dict[str, Value]:
    """What llama.cpp reads of a config, by key without the architecture's prefix."""
    head = head_size(config)
    found: dict[str, Value] = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.dimension_count": head,
        **_rope_keys(config),
    }
    if architecture.period > 1:
        found["attention.sliding_window"] = config.sliding_window
    for cap in architecture.softcaps:
        found[cap] = float(getattr(config, cap))
    return found


def rope_factors(config: Any) -> list[float] | None:
    """What each rotary frequency is divided by, where a config has llama3's rule; else None.

    θ_i/θ'_i of the frequencies without and with the rule, [head/2]. transformers computes θ'.
    """
    rope = _rope(config)
    if _kind(rope) != "llama3":
        return None
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    head = head_size(config)
    places = torch.arange(0, head, 2, dtype=torch.int64).float() / head
    plain = 1.0 / (rope["rope_theta"] ** places)
    return [float(factor) for factor in plain / scaled]


def full_window(config: Any) -> int | None:
    """The window of a base whose architecture has none in llama.cpp: longer texts differ."""
    window: int | None = getattr(config, "sliding_window", None)
    has_windows = ARCHITECTURES[config.model_type].period > 1 or not any(_sliding(config))
    return None if has_windows or window is None else window


def window_notes(config: Any, architecture: Architecture) -> tuple[str, ...]:
    """Says from which length on the answers differ, where llama.cpp lacks a base's window."""
    window = full_window(config)
    if window is None or window >= config.max_position_embeddings:
        return ()
    return (
        f"beyond {window:,} tokens answers differ: the base attends to the last {window:,}, "
        f"llama.cpp's {architecture.name} to all",
    )


def head_size(config: Any) -> int:
    """The size of a head: the config's own, else its share of the hidden size."""
    own = getattr(config, "head_dim", None)
    return int(own or config.hidden_size // config.num_attention_heads)


def _rope(config: Any) -> dict[str, Any]:
    """The rotary parameters of layers that attend to all tokens."""
    found: dict[str, Any] = dict(config.rope_parameters)
    return dict(found.get("full_attention", found))


def _local_theta(config: Any) -> float | None:
    local = config.rope_parameters.get("sliding_attention")
    return None if local is None else float(local["rope_theta"])


def _kind(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type") or "default")


def _rope_keys(config: Any) -> dict[str, Value]:
    rope = _rope(config)
    found: dict[str, Value] = {"rope.freq_base": float(rope["rope_theta"])}
    kind = _kind(rope)
    if kind in ("linear", "yarn"):
        found["rope.scaling.type"] = kind
        found["rope.scaling.factor"] = float(rope["factor"])
    if kind == "yarn":
        found["rope.scaling.original_context_length"] = int(
            rope.get("original_max_position_embeddings") or config.max_position_embeddings
        )
    return found


def _sliding(config: Any) -> list[bool]:
    """Which layers attend to a window."""
    if getattr(config, "sliding_window", None) is None:
        return [False] * config.num_hidden_layers
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return [True] * config.num_hidden_layers
    return [kind == "sliding_attention" for kind in kinds]


def _faults(config: Any, architecture: Architecture) -> Iterator[str]:
    """What of a config llama.cpp has no key for, and would compute otherwise."""
    activation = getattr(config, "hidden_activation", None) or getattr(config, "hidden_act", None)
    if activation != architecture.activation:
        yield f"activation {activation}, expected {architecture.activation}"
    if getattr(config, "use_bidirectional_attention", None):
        yield "attention in both directions"
    period = architecture.period
    expected = [(layer + 1) % period != 0 for layer in range(config.num_hidden_layers)]
    if period > 1 and _sliding(config) != expected:
        yield f"layer_types, expected full attention in every layer {period} of {period}"
    for cap in _SOFTCAPS:
        value = getattr(config, cap, None)
        if (value is None) == (cap in architecture.softcaps):
            yield f"{cap} {value}"
    yield from _scale_faults(config, architecture)
    yield from _rope_faults(config, architecture)


def _scale_faults(config: Any, architecture: Architecture) -> Iterator[str]:
    scale = getattr(config, "query_pre_attn_scalar", None)
    if scale is None:
        return
    wide = config.num_hidden_layers == architecture.wide_layers
    expected = config.hidden_size // config.num_attention_heads if wide else head_size(config)
    if not math.isclose(scale, expected):
        yield f"query_pre_attn_scalar {scale}, expected {expected}"


def _rope_faults(config: Any, architecture: Architecture) -> Iterator[str]:
    rope = _rope(config)
    kind = _kind(rope)
    if kind not in architecture.ropes:
        yield f"rope_type {kind}, expected {listed(architecture.ropes)}"
    for name, assumed in _YARN.items() if kind == "yarn" else ():
        if (value := rope.get(name)) not in (None, assumed):
            yield f"{name} {value} of yarn, expected {assumed}"
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        yield f"partial_rotary_factor {rope['partial_rotary_factor']}"
    if head_size(config) % 2:
        yield f"an odd head size, {head_size(config)}"
    if (local := _local_theta(config)) is not None:
        if architecture.period == 1 or local != _LOCAL_THETA:
            yield f"rope_theta {local} in window layers, expected {_LOCAL_THETA}"
        if _kind(config.rope_parameters["sliding_attention"]) != "default":
            yield "scaled rotary positions in window layers"
