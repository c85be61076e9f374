"""A decoder of which a family says what its modules are called and what differs from Llama.

Knows what all decoders have: words' vectors, a list of blocks of the same parts, an output layer.
The tables of `llama`, `gpt`, `experts`, `mamba` and `hybrid` hold the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any, NamedTuple

from lora_magic.adapters.shapes import Cache
from lora_magic.cost import ops
from lora_magic.cost.builder import LABELS, Builder
from lora_magic.cost.model import Model
from lora_magic.errors import BaseModelError

from . import filled, head_size, sizes

Config = Mapping[str, Any]

#: Writes down a part of a block: (decoder, the block's path, the block's number).
Part = Callable[["Decoder", str, int], object]

LLAMA = {
    **sizes(32, 4096, 32, None, 11008, 32000, 2048),
    "head_dim": None,
    "hidden_act": "silu",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "sliding_window": None,
}


def turned(share: float, key: str = "partial_rotary_factor") -> Callable[[Config, int, int], int]:
    """How many numbers of a head rotary positions turn: a share, by default this one."""

    def numbers(config: Config, size: int, layer: int) -> int:
        given = (config.get("rope_parameters") or {}).get("partial_rotary_factor")
        return int(size * (given or config.get(key) or share))

    return numbers


class Kind(NamedTuple):
    """What one architecture has otherwise than Llama.

    `names` are second names of values. A bias is True, False or the name of the value that says
    so; `inner`, `act`, `context`, `dropout` (after a part) and `attention_dropout` are names of
    values too, and `narrow` that of the width of the words' vectors, if it is another. `parts` are
    those of a block in the order of its modules: "attention", "mlp" and names of norms; `mixer` and
    `feed` write other ones than grouped queries and a feed-forward. `begin` writes what comes
    between the words' vectors and the blocks. `divided` heads share the width whatever `head_dim`
    is, and `rotary` is how many numbers of one are turned.
    `qkvo` and `up` are the linear layers of those by name, `out` and `down` the last of each;
    `linear` is how they are made. `normed` names the norms of queries and keys, if the value
    `normed_if` says so, and `per` what they normalise: each head with the same weights ("head"),
    with its own ("own") or by a list of norms ("list"), or all heads at once ("all"). Where the
    parts are `parallel` they read one norm. `kv` gives the heads of keys and values, `kept` those
    that attention and cache have, if others; an "eager" attention is by its matrix of weights.
    """

    architecture: str
    defaults: Config
    names: Mapping[str, str] = {}
    embed: str = "model.embed_tokens"
    blocks: str = "model.layers"
    last: str = "model.norm"
    narrow: str = ""
    begin: Callable[[Decoder], object] = lambda decoder: None
    parts: tuple[str, ...] = ("attention", "mlp", "input_layernorm", "post_attention_layernorm")
    mixer: Part = lambda decoder, at, layer: decoder.attention(at, layer)
    feed: Part = lambda decoder, at, layer: decoder.feed_forward(at)
    attention: str = "self_attn"
    mlp: str = "mlp"
    qkvo: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    out: str = "o_proj"
    up: tuple[str, ...] = ("gate_proj", "up_proj")
    down: str = "down_proj"
    linear: Mapping[str, Any] = {}
    qkv_bias: bool | str = "attention_bias"
    o_bias: bool | str = "attention_bias"
    mlp_bias: bool | str = False
    head_bias: bool = False
    norm: str = "rms"
    affine: bool | str = True
    normed: str = ""
    normed_if: str = ""
    per: str = "head"
    inner: str = "intermediate_size"
    act: str = "hidden_act"
    context: str = "max_position_embeddings"
    dropout: str = ""
    attention_dropout: str = "attention_dropout"
    divided: bool = False
    kv: Callable[[Config, int], int] = lambda config, heads: config["num_key_value_heads"] or heads
    kept: Callable[[Config, int], int] | None = None
    parallel: bool | str | Callable[[Config], bool] = False
    rotary: Callable[[Config, int, int], int] = turned(1.0)
    how: str = ""
    window: Callable[[Config, int], int | None] = lambda config, layer: None
    cached: bool | Callable[[Config], bool] = True
    classifies: bool = True
    classifier: str = ""


def each(config: Config, heads: int) -> int:
    """Every head of queries has its own keys and values."""
    return heads


def still(config: Config, size: int, layer: int) -> int:
    """No rotary positions."""
    return 0


class Decoder:
    """Writes down one model of a kind."""

    def __init__(self, kind: Kind, config: Config, name: str) -> None:
        self.kind, self.name, self.builder = kind, name, Builder()
        self.config = c = filled(config, kind.defaults, kind.names)
        self.width: int = c["hidden_size"]
        self.narrow: int = (c[kind.narrow] if kind.narrow else None) or self.width
        self.parallel = self.says(kind.parallel)

    @cached_property
    def heads(self) -> int:
        """The heads of queries."""
        found: int = self.config["num_attention_heads"]
        return found

    @cached_property
    def size(self) -> int:
        """The width of a head; raises `BaseModelError` if the heads do not divide the width."""
        given = None if self.kind.divided else self.config["head_dim"]
        return given or head_size(self.name, self.width, self.heads)

    def says(self, value: bool | str | Callable[[Config], bool]) -> bool:
        """A switch, the value of the config that it names, or what it makes of the config."""
        if callable(value):
            return value(self.config)
        return bool(self.config[value]) if isinstance(value, str) else value

    def model(self) -> Model:
        """The whole model; raises `BaseModelError` if there is no such classifier."""
        b, c, kind = self.builder, self.config, self.kind
        if c.get(LABELS) and not kind.classifies:
            raise BaseModelError(
                f"{self.name}: transformers has no classifier beside {kind.architecture}; omit "
                "--task classification."
            )
        b.embedding(kind.embed, c["vocab_size"], self.narrow)
        kind.begin(self)
        for layer in range(c["num_hidden_layers"]):
            b.within(layer)
            self._block(f"{kind.blocks}.{layer}", layer)
        b.within(-1)
        if kind.last:
            self.norm(kind.last)
        labels = c.get(LABELS)
        return b.decoder(
            c,
            self.name,
            architecture=(labels and kind.classifier) or kind.architecture,
            head=self._output(labels),
            blocks=kind.blocks,
            width=self.width,
            cache=self._cache(),
            vocabulary=c["vocab_size"],
            context=c[kind.context] if kind.context else 0,
        )

    def _output(self, labels: int | None) -> tuple[str, ...]:
        """The last layer: `lm_head`, tied or not, or a classifier's, whose path is returned."""
        b, width = self.builder, self.narrow
        if labels:
            b.linear("score", labels, width)
            return ("score",)
        b.linear("lm_head", self.config["vocab_size"], width, self.kind.head_bias)
        b.last = "lm_head"
        if self.config["tie_word_embeddings"]:
            b.ties["lm_head.weight"] = f"{self.kind.embed}.weight"
        return ()

    def _cache(self) -> Cache | None:
        if not self.says(self.kind.cached):
            return None
        return Cache(self.config["num_hidden_layers"], self._kept, self.size)

    @property
    def _kept(self) -> int:
        return (self.kind.kept or self.kind.kv)(self.config, self.heads)

    def _block(self, at: str, layer: int) -> None:
        for part in self.kind.parts:
            if part == "attention":
                self.kind.mixer(self, at, layer)
            elif part == "mlp":
                self.kind.feed(self, at, layer)
            elif not (self.parallel and part == "post_attention_layernorm"):
                self.norm(f"{at}.{part}")

    def norm(self, path: str) -> None:
        """A norm of the residual stream."""
        affine = self.says(self.kind.affine)
        self.builder.norm(path, self.width, self.kind.norm, weight=affine)

    def attention(self, block: str, layer: int) -> None:
        """softmax(QKᵀ)V with the layers before and after it, and norms of queries and keys."""
        b, c, kind, at = self.builder, self.config, self.kind, f"{block}.{self.kind.attention}"
        queries, keys = self.heads * self.size, kind.kv(c, self.heads) * self.size
        outputs = {"q_": queries, "k_": keys, "v_": keys}
        for part in kind.qkvo:
            if part == kind.out:
                self._linear(f"{at}.{part}", self.width, queries, kind.o_bias)
                continue
            given = outputs.get(part[:2], queries + 2 * keys)
            reads = "attention" if self.parallel or part[:2] in outputs else ""
            self._linear(f"{at}.{part}", given, self.width, kind.qkv_bias, reads)
        if kind.normed and c.get(kind.normed_if, True):
            for norm, size in zip(kind.normed.split(","), (queries, keys), strict=True):
                self._head_norm(f"{at}.{norm}", size)
        if numbers := kind.rotary(c, self.size, layer) * (self.heads + self._kept):
            b.step(ops.ROTARY, reads=numbers, gives=numbers)
        how = "capped" if c.get("attn_logit_softcapping") else kind.how
        share, window = c[kind.attention_dropout], kind.window(c, layer)
        b.attention(self.heads, self._kept, self.size, window=window, share=share, how=how)
        self._dropout()

    def _linear(
        self, path: str, outputs: int, inputs: int, bias: bool | str, reads: str = ""
    ) -> None:
        says = self.says(bias)
        self.builder.linear(path, outputs, inputs, says, reads=reads, **self.kind.linear)

    def _head_norm(self, path: str, width: int) -> None:
        """The norm of queries or of keys."""
        b, size, kind = self.builder, self.size, self.kind
        heads = width // size
        if kind.per == "list":
            for head in range(heads):
                b.norm(f"{path}.norms.{head}", size, "mean")
            return
        shape = {"head": (size,), "own": (heads, size), "all": (width,)}[kind.per]
        b.norm(path, width, kind.norm, shape=shape)

    def feed_forward(self, block: str) -> None:
        """The feed-forward of a block."""
        kind, given = self.kind, self.config.get(self.kind.inner)
        inner: Any = given if kind.defaults.get(kind.inner) else given or 4 * self.width
        self.gated(f"{block}.{kind.mlp}" if kind.mlp else block, inner)
        self._dropout()

    def gated(self, at: str, inner: int) -> None:
        """down(act(gate(x)) · up(x)); or down(act(up(x))) where there is one layer before."""
        b, kind, fused = self.builder, self.kind, self.kind.up == ("gate_up_proj",)
        for part in kind.up:
            reads = "attention" if self.parallel else "mlp"
            outputs = 2 * inner if fused else inner
            self._linear(f"{at}.{part}", outputs, self.width, kind.mlp_bias, reads)
        b.activation(self.config[kind.act], inner)
        if fused or len(kind.up) == 2:
            b.product(inner)
        self._linear(f"{at}.{kind.down}", self.width, inner, kind.mlp_bias)

    def _dropout(self) -> None:
        if self.kind.dropout:
            self.builder.dropout(self.config[self.kind.dropout], self.width)


def functions(kinds: Mapping[str, Kind]) -> dict[str, Callable[[Config, str], Model]]:
    """Model type → the function of a config and a name that gives the model of that kind."""
    return {model_type: partial(made, kind) for model_type, kind in kinds.items()}


def made(kind: Kind, config: Config, name: str) -> Model:
    """The model of a config of a kind."""
    return Decoder(kind, config, name).model()
