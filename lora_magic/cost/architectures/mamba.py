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

#: The names of Mamba's values, and those of the models that have attention too.
_NAMES = {
    "state_size": "mamba_d_state",
    "conv_kernel": "mamba_d_conv",
    "use_conv_bias": "mamba_conv_bias",
    "use_bias": "mamba_proj_bias",
    "time_step_rank": "mamba_dt_rank",
    "expand": "mamba_expand",
    "num_heads": "mamba_n_heads",
    "n_groups": "mamba_n_groups",
}

_MAMBA = {
    "vocab_size": 50280,
    "hidden_size": 768,
    "num_hidden_layers": 32,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
    "mamba_dt_rank": "auto",
}

_MAMBA2 = {
    **_MAMBA,
    "vocab_size": 32768,
    "hidden_size": 4096,
    "num_hidden_layers": 64,
    "tie_word_embeddings": False,
    "mamba_d_state": 128,
    "mamba_n_heads": 128,
    "mamba_n_groups": 8,
}


def mamba(config: Mapping[str, Any], name: str, architecture: str = "MambaForCausalLM") -> Model:
    """`MambaForCausalLM`."""
    c, b = filled(config, _MAMBA, _NAMES), Builder()
    inner = c.get("intermediate_size") or int(c["mamba_expand"] * c["hidden_size"])
    return _decoder(b, c, name, architecture, lambda at: scanned(b, at, c, inner))


def falcon_mamba(config: Mapping[str, Any], name: str) -> Model:
    """`FalconMambaForCausalLM`."""
    return mamba(config, name, "FalconMambaForCausalLM")


def mamba2(config: Mapping[str, Any], name: str) -> Model:
    """`Mamba2ForCausalLM`."""
    c, b = filled(config, _MAMBA2, _NAMES), Builder()
    inner, bias = int(c["mamba_expand"] * c["hidden_size"]), c["mamba_proj_bias"]
    return _decoder(b, c, name, "Mamba2ForCausalLM", lambda at: scanned2(b, at, c, inner, bias))


def scanned(b: Builder, at: str, c: Mapping[str, Any], inner: int) -> int:
    """A mixer of Mamba's first kind: each of `inner` channels has a state of its own.

    Returns the rank of its time steps.
    """
    d, state, rank = c["hidden_size"], c["mamba_d_state"], c["mamba_dt_rank"]
    rank = -(-d // 16) if rank == "auto" else rank
    counted(time_step_rank=rank)
    b.add(at, parameters=(("A_log", (inner, state)), ("D", (inner,))))
    b.convolution(f"{at}.conv1d", inner, 1, c["mamba_d_conv"], c["mamba_conv_bias"])
    b.activation(c["hidden_act"], inner)
    b.linear(f"{at}.in_proj", 2 * inner, d, c["mamba_proj_bias"])
    b.linear(f"{at}.x_proj", rank + 2 * state, inner)
    b.linear(f"{at}.dt_proj", inner, rank, True)
    b.step(ops.SCAN, reads=2 * inner + 2 * state, gives=inner, how="mamba", size=state, path=at)
    b.product(inner)
    b.linear(f"{at}.out_proj", d, inner, c["mamba_proj_bias"])
    return int(rank)


def scanned2(
    b: Builder, at: str, c: Mapping[str, Any], inner: int, out_bias: bool, norm: bool = True
) -> None:
    """A mixer of Mamba's second kind: channels of a head share one decay."""
    d, state, heads = c["hidden_size"], c["mamba_d_state"], c["mamba_n_heads"]
    counted(groups=c["mamba_n_groups"], state=state)
    wide = inner + 2 * c["mamba_n_groups"] * state
    b.add(at, parameters=tuple((name, (heads,)) for name in ("dt_bias", "A_log", "D")))
    b.convolution(f"{at}.conv1d", wide, 1, c["mamba_d_conv"], c["mamba_conv_bias"])
    b.activation(c["hidden_act"], wide)
    b.linear(f"{at}.in_proj", inner + wide + heads, d, c["mamba_proj_bias"])
    steps = {"reads": wide + heads, "gives": inner, "heads": heads, "size": state}
    b.step(ops.SCAN, how="mamba2", path=at, **steps)
    b.product(inner)
    if norm:
        b.norm(f"{at}.norm", inner)
    b.linear(f"{at}.out_proj", d, inner, out_bias)


def _decoder(
    b: Builder, c: Mapping[str, Any], name: str, architecture: str, mixer: Callable[[str], object]
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
