"""Llama and those built like it: rotary positions, a norm before each part, grouped queries.

Knows the names of their modules and the defaults of their configs: what differs between them is in
`_KINDS`. Knows no experts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from lora_magic.cost import ops
from lora_magic.cost.builder import LABELS, Builder
from lora_magic.cost.model import Model

from . import filled, head_size, sizes

_LLAMA = {
    **sizes(32, 4096, 32, None, 11008, 32000, 2048),
    "head_dim": None,
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "sliding_window": None,
}

_QWEN = {
    **_LLAMA,
    **sizes(32, 4096, 32, 32, 22016, 151936, 32768),
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}

_GEMMA = {
    **_LLAMA,
    **sizes(28, 3072, 16, 16, 24576, 256000, 8192),
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
}

_GEMMA2 = {
    **_GEMMA,
    **sizes(26, 2304, 8, 4, 9216, 256000, 8192),
    "sliding_window": 4096,
    "attn_logit_softcapping": 50.0,
}


class Kind(NamedTuple):
    """What one architecture has otherwise than Llama.

    A bias is True, False or the name of the value that says so. `norms` are those of a block, in
    the order of its modules; `normed` names the norms of queries and keys, if the value
    `normed_if` says so, and `per` what they normalise: each head with the same weights ("head") or
    with its own ("own"), or all heads at once ("all"). `fused` layers compute q, k and v, or gate
    and up, at once; an "eager" attention is always by its matrix of weights.
    """

    architecture: str
    defaults: Mapping[str, Any]
    qkv_bias: bool | str = "attention_bias"
    o_bias: bool | str = "attention_bias"
    mlp_bias: bool | str = False
    head_bias: bool = False
    norm: str = "rms"
    norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    last: str = "norm"
    normed: str = ""
    normed_if: str = ""
    per: str = "head"
    out: str = "o_proj"
    up: tuple[str, ...] = ("gate_proj", "up_proj")
    down: str = "down_proj"
    fused: bool = False
    parallel: bool | str = False
    rotary: float = 1.0
    dropout: str = ""
    classifies: bool = True
    attention: str = ""
    window: Callable[[Mapping[str, Any], int], int | None] = lambda config, layer: None


def _everywhere(config: Mapping[str, Any], layer: int) -> int | None:
    """The same sliding window in every layer."""
    window: int | None = config["sliding_window"]
    return window


def _typed(usual: Callable[[Mapping[str, Any], int], bool]) -> Callable[..., int | None]:
    """A sliding window in the layers that `layer_types` names, or else in the `usual` ones."""

    def window(config: Mapping[str, Any], layer: int) -> int | None:
        types = config.get("layer_types")
        slides = types[layer] == "sliding_attention" if types else usual(config, layer)
        return config["sliding_window"] if slides and config.get("use_sliding_window", 1) else None

    return window


_late = _typed(lambda config, layer: layer >= config["max_window_layers"])
_second = _typed(lambda config, layer: layer % 2 == 0)
_local = _typed(lambda config, layer: (layer + 1) % config["sliding_window_pattern"] > 0)
_unturned = _typed(lambda config, layer: not _turned(config, layer))


def _turned(config: Mapping[str, Any], layer: int) -> bool:
    """Whether a layer of SmolLM3 has rotary positions: all but each fourth one."""
    given = config.get("no_rope_layers")
    return bool(given[layer] if given else (layer + 1) % config["no_rope_layer_interval"])


_FOUR_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)

_KINDS: dict[str, Kind] = {
    "llama": Kind("LlamaForCausalLM", _LLAMA, mlp_bias="mlp_bias"),
    "mistral": Kind(
        "MistralForCausalLM",
        {
            **_LLAMA,
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
    "gemma": Kind("GemmaForCausalLM", _GEMMA),
    "gemma2": Kind(
        "Gemma2ForCausalLM", _GEMMA2, norms=_FOUR_NORMS, window=_second, attention="eager"
    ),
    "gemma3_text": Kind(
        "Gemma3ForCausalLM",
        {
            **_GEMMA2,
            **sizes(26, 2304, 8, 4, 9216, 262208, 131072),
            "attn_logit_softcapping": None,
            "sliding_window_pattern": 6,
        },
        norms=_FOUR_NORMS,
        normed="q_norm,k_norm",
        window=_local,
    ),
    "olmo2": Kind(
        "Olmo2ForCausalLM",
        {**_LLAMA, "vocab_size": 50304},
        norms=("post_attention_layernorm", "post_feedforward_layernorm"),
        normed="q_norm,k_norm",
        per="all",
    ),
    "granite": Kind("GraniteForCausalLM", _LLAMA, mlp_bias="mlp_bias", classifies=False),
    "smollm3": Kind(
        "SmolLM3ForCausalLM",
        {
            **_LLAMA,
            **sizes(36, 2048, 16, 4, 11008, 128256, 32768),
            "use_sliding_window": False,
            "no_rope_layer_interval": 4,
            "tie_word_embeddings": True,
        },
        mlp_bias="mlp_bias",
        window=_unturned,
    ),
    "cohere": Kind(
        "CohereForCausalLM",
        {
            **_LLAMA,
            **sizes(40, 8192, 64, None, 22528, 256000, 8192),
            "use_qk_norm": False,
            "tie_word_embeddings": True,
        },
        norm="mean",
        norms=("input_layernorm",),
        normed="q_norm,k_norm",
        normed_if="use_qk_norm",
        per="own",
        parallel=True,
        classifies=False,
    ),
    "stablelm": Kind(
        "StableLmForCausalLM",
        {
            **_LLAMA,
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
        rotary=0.25,
        dropout="hidden_dropout",
    ),
    "phi": Kind(
        "PhiForCausalLM",
        {
            **_LLAMA,
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
        norms=("input_layernorm",),
        last="final_layernorm",
        normed="q_layernorm,k_layernorm",
        normed_if="qk_layernorm",
        out="dense",
        up=("fc1",),
        down="fc2",
        parallel=True,
        rotary=0.5,
        dropout="resid_pdrop",
    ),
    "phi3": Kind(
        "Phi3ForCausalLM",
        {**_LLAMA, **sizes(32, 3072, 32, None, 8192, 32064, 4096), "resid_pdrop": 0.0},
        qkv_bias=False,
        o_bias=False,
        up=("gate_up_proj",),
        fused=True,
        dropout="resid_pdrop",
        window=_everywhere,
    ),
    "starcoder2": Kind(
        "Starcoder2ForCausalLM",
        {
            **_LLAMA,
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

#: Those whose heads always share the width: a `head_dim` in their config has no effect.
_DIVIDED = ("stablelm",)


class _Decoder:
    """Writes down one model of a kind."""

    def __init__(self, model_type: str, config: Mapping[str, Any], name: str) -> None:
        self.kind = kind = _KINDS[model_type]
        other = {"hidden_activation": "hidden_act"} if kind.defaults.get("head_dim") else {}
        self.config = c = filled(config, kind.defaults, other)
        self.name, self.width, self.heads = name, c["hidden_size"], c["num_attention_heads"]
        self.kv = c["num_key_value_heads"] or self.heads
        given = None if model_type in _DIVIDED else c["head_dim"]
        self.size = given or head_size(name, self.width, self.heads)
        self.builder = Builder()
        self.parallel = self._is(kind.parallel)

    def model(self) -> Model:
        """The whole model."""
        b, c, kind, d = self.builder, self.config, self.kind, self.width
        b.embedding("model.embed_tokens", c["vocab_size"], d)
        layers = c["num_hidden_layers"]
        for layer in range(layers):
            b.within(layer)
            self._attention(f"model.layers.{layer}.self_attn", layer)
            self._feed_forward(f"model.layers.{layer}.mlp")
            for norm in kind.norms:
                if not (self.parallel and norm == "post_attention_layernorm"):
                    b.norm(f"model.layers.{layer}.{norm}", d, kind.norm)
        b.within(-1)
        b.norm(f"model.{kind.last}", d, kind.norm)
        return b.causal(
            c,
            self.name,
            architecture=self._architecture(),
            embedding="model.embed_tokens",
            blocks="model.layers",
            width=d,
            cache=b.cache(layers, self.kv, self.size),
            context=c["max_position_embeddings"],
            bias=kind.head_bias,
            classifies=kind.classifies,
        )

    def _architecture(self) -> str:
        # The classifier of Gemma 3's texts has another name than that of its texts and images.
        named = self.kind.architecture
        return "Gemma3TextForCausalLM" if named[:6] == "Gemma3" and LABELS in self.config else named

    def _attention(self, at: str, layer: int) -> None:
        b, c, kind, d = self.builder, self.config, self.kind, self.width
        queries, keys, bias = self.heads * self.size, self.kv * self.size, self._is(kind.qkv_bias)
        out = partial(b.linear, f"{at}.{kind.out}", d, queries, self._is(kind.o_bias))
        if kind.fused:
            out()
            b.linear(f"{at}.qkv_proj", queries + 2 * keys, d, bias)
        else:
            for part, outputs in (("q", queries), ("k", keys), ("v", keys)):
                b.linear(f"{at}.{part}_proj", outputs, d, bias, reads="attention")
            out()
        if kind.normed and c.get(kind.normed_if, True):
            for norm, heads in zip(kind.normed.split(","), (self.heads, self.kv), strict=True):
                self._head_norm(f"{at}.{norm}", heads)
        if layer_has_rotary(c, layer):
            turned = (self.heads + self.kv) * int(self.size * self._turned_part())
            b.step(ops.ROTARY, reads=turned, gives=turned)
        window = kind.window(c, layer)
        how = "capped" if c.get("attn_logit_softcapping") else kind.attention
        share = c["attention_dropout"]
        b.attention(self.heads, self.kv, self.size, window=window, share=share, how=how)
        self._dropout()

    def _head_norm(self, path: str, heads: int) -> None:
        """The norm of queries or of keys."""
        b, size, kind = self.builder, self.size, self.kind
        if kind.per == "list":
            for head in range(heads):
                b.norm(f"{path}.norms.{head}", size, "mean")
            return
        shape = {"head": (size,), "own": (heads, size), "all": (heads * size,)}[kind.per]
        b.norm(path, heads * size, kind.norm, shape=shape)

    def _feed_forward(self, at: str) -> None:
        b, c, kind, d = self.builder, self.config, self.kind, self.width
        inner, bias = c["intermediate_size"], self._is(kind.mlp_bias)
        gated = kind.fused or len(kind.up) == 2
        for part in kind.up:
            outputs = 2 * inner if kind.fused else inner
            b.linear(
                f"{at}.{part}", outputs, d, bias, reads="attention" if self.parallel else "mlp"
            )
        b.activation(c["hidden_act"], inner)
        if gated:
            b.product(inner)
        b.linear(f"{at}.{kind.down}", d, inner, bias)
        self._dropout()

    def _dropout(self) -> None:
        if self.kind.dropout:
            self.builder.dropout(self.config[self.kind.dropout], self.width)

    def _turned_part(self) -> float:
        """The share of a head that rotary positions turn."""
        c = self.config
        given = (c.get("rope_parameters") or {}).get("partial_rotary_factor")
        share: float = given or c.get("partial_rotary_factor") or self.kind.rotary
        return share

    def _is(self, value: bool | str) -> bool:
        return bool(self.config[value]) if isinstance(value, str) else value


def layer_has_rotary(config: Mapping[str, Any], layer: int) -> bool:
    """Whether a layer turns queries and keys; only SmolLM3 has layers that do not."""
    return "no_rope_layer_interval" not in config or _turned(config, layer)


def _made(model_type: str, config: Mapping[str, Any], name: str) -> Model:
    return _Decoder(model_type, config, name).model()


FUNCTIONS = {model_type: partial(_made, model_type) for model_type in _KINDS}
