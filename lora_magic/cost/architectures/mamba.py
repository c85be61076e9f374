"""Mamba and Mamba 2: a state of fixed size instead of attention.

Knows the names of their modules and the defaults of their configs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lora_magic.cost import ops
from lora_magic.cost.builder import Builder
from lora_magic.cost.model import Model

from . import counted, filled

_MAMBA = {
    "vocab_size": 50280,
    "hidden_size": 768,
    "state_size": 16,
    "num_hidden_layers": 32,
    "expand": 2,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "hidden_act": "silu",
    "time_step_rank": "auto",
    "tie_word_embeddings": True,
}

_MAMBA2 = {
    **_MAMBA,
    "num_heads": 128,
    "vocab_size": 32768,
    "hidden_size": 4096,
    "state_size": 128,
    "num_hidden_layers": 64,
    "n_groups": 8,
    "tie_word_embeddings": False,
}


def mamba(config: Mapping[str, Any], name: str) -> Model:
    """`MambaForCausalLM`."""
    return _mamba(config, name, "MambaForCausalLM")


def falcon_mamba(config: Mapping[str, Any], name: str) -> Model:
    """`FalconMambaForCausalLM`."""
    return _mamba(config, name, "FalconMambaForCausalLM")


def _mamba(config: Mapping[str, Any], name: str, architecture: str) -> Model:
    c = filled(config, _MAMBA)
    d, b = c["hidden_size"], Builder()

    def mixer(at: str) -> None:
        scanned(
            b,
            at,
            d,
            c.get("intermediate_size") or int(c["expand"] * d),
            state=c["state_size"],
            rank=c["time_step_rank"],
            kernel=c["conv_kernel"],
            conv_bias=c["use_conv_bias"],
            bias=c["use_bias"],
            how=c["hidden_act"],
        )

    return _decoder(b, c, name, architecture, mixer)


def mamba2(config: Mapping[str, Any], name: str) -> Model:
    """`Mamba2ForCausalLM`."""
    c = filled(config, _MAMBA2)
    d, b = c["hidden_size"], Builder()

    def mixer(at: str) -> None:
        scanned2(
            b,
            at,
            d,
            int(c["expand"] * d),
            heads=c["num_heads"],
            groups=c["n_groups"],
            state=c["state_size"],
            kernel=c["conv_kernel"],
            conv_bias=c["use_conv_bias"],
            bias=c["use_bias"],
            out_bias=c["use_bias"],
            how=c["hidden_act"],
        )

    return _decoder(b, c, name, "Mamba2ForCausalLM", mixer)


def scanned(
    b: Builder,
    at: str,
    d: int,
    inner: int,
    *,
    state: int,
    rank: Any,
    kernel: int,
    conv_bias: bool,
    bias: bool,
    how: str,
) -> int:
    """A mixer of Mamba's first kind: each of `inner` channels has a state of its own.

    Returns the rank of its time steps.
    """
    steps = -(-d // 16) if rank == "auto" else rank
    counted(time_step_rank=steps)
    b.add(at, parameters=(("A_log", (inner, state)), ("D", (inner,))))
    b.convolution(f"{at}.conv1d", inner, 1, kernel, conv_bias)
    b.activation(how, inner)
    b.linear(f"{at}.in_proj", 2 * inner, d, bias)
    b.linear(f"{at}.x_proj", steps + 2 * state, inner)
    b.linear(f"{at}.dt_proj", inner, steps, True)
    b.step(ops.SCAN, reads=2 * inner + 2 * state, gives=inner, how="mamba", size=state, path=at)
    b.product(inner)
    b.linear(f"{at}.out_proj", d, inner, bias)
    return steps


def scanned2(
    b: Builder,
    at: str,
    d: int,
    inner: int,
    *,
    heads: int,
    groups: int,
    state: int,
    kernel: int,
    conv_bias: bool,
    bias: bool,
    out_bias: bool,
    how: str,
    norm: bool = True,
) -> None:
    """A mixer of Mamba's second kind: channels of a head share one decay."""
    counted(groups=groups, state=state)
    wide = inner + 2 * groups * state
    own = tuple((name, (heads,)) for name in ("dt_bias", "A_log", "D"))
    b.add(at, parameters=own)
    b.convolution(f"{at}.conv1d", wide, 1, kernel, conv_bias)
    b.activation(how, wide)
    b.linear(f"{at}.in_proj", inner + wide + heads, d, bias)
    b.step(
        ops.SCAN, reads=wide + heads, gives=inner, how="mamba2", heads=heads, size=state, path=at
    )
    b.product(inner)
    if norm:
        b.norm(f"{at}.norm", inner)
    b.linear(f"{at}.out_proj", d, inner, out_bias)


def _decoder(
    b: Builder, c: Mapping[str, Any], name: str, architecture: str, mixer: Callable[[str], None]
) -> Model:
    d = c["hidden_size"]
    b.embedding("backbone.embeddings", c["vocab_size"], d)
    for layer in range(c["num_hidden_layers"]):
        b.within(layer)
        b.norm(f"backbone.layers.{layer}.norm", d)
        mixer(f"backbone.layers.{layer}.mixer")
    b.within(-1)
    b.norm("backbone.norm_f", d)
    return b.causal(
        c,
        name,
        architecture=architecture,
        embedding="backbone.embeddings",
        blocks="backbone.layers",
        width=d,
        cache=None,
        context=0,
        classifies=False,
    )


FUNCTIONS = {"mamba": mamba, "falcon_mamba": falcon_mamba, "mamba2": mamba2}
