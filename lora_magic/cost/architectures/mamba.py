"""Mamba and Mamba 2: a state of fixed size instead of attention.

Knows the names of their modules and the defaults of their configs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_magic.cost import ops
from lora_magic.cost.builder import Builder

from . import counted
from .decoder import Decoder, Kind, functions

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


def _mixer(d: Decoder, at: str, layer: int) -> None:
    c = d.config
    inner = c.get("intermediate_size") or int(c["mamba_expand"] * d.width)
    scanned(d.builder, f"{at}.mixer", c, inner)


def _mixer2(d: Decoder, at: str, layer: int) -> None:
    c = d.config
    inner = int(c["mamba_expand"] * d.width)
    scanned2(d.builder, f"{at}.mixer", c, inner, c["mamba_proj_bias"])


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


_KIND = Kind(
    "MambaForCausalLM",
    _MAMBA,
    _NAMES,
    embed="backbone.embeddings",
    blocks="backbone.layers",
    last="backbone.norm_f",
    parts=("norm", "attention"),
    mixer=_mixer,
    context="",
    cached=False,
    classifies=False,
)

FUNCTIONS = functions(
    {
        "mamba": _KIND,
        "falcon_mamba": _KIND._replace(architecture="FalconMambaForCausalLM"),
        "mamba2": _KIND._replace(architecture="Mamba2ForCausalLM", defaults=_MAMBA2, mixer=_mixer2),
    }
)
