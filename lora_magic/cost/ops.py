"""What a model computes for each token, step by step: what memory and time follow from.

Knows names and numbers. `builder` writes these down beside the modules; `activations` reads what
each one keeps for the backward pass, `compute` how many operations it takes.
"""

from __future__ import annotations

from typing import NamedTuple

EMBED, NORM, LINEAR, ATTENTION, ACTIVATION, PRODUCT, DROPOUT, ROTARY, SCAN, EXPERTS = (
    "embed",
    "norm",
    "linear",
    "attention",
    "activation",
    "product",
    "dropout",
    "rotary",
    "scan",
    "experts",
)


class Op(NamedTuple):
    """One step: it reads `reads` numbers of each token and gives `gives`.

    `path` is its module, if it has one. `how` is the kind of norm ("rms", "layer"), of activation
    ("silu", "gelu", "gelu_new", "relu" …) or of scan. `input` names the tensor that it reads: steps
    of one block with the same name share it. `block` counts the blocks from 0, -1 outside them. An
    attention has `heads`, `kv_heads`, `size` (of a head) and, with a sliding window, `window`; an
    experts step has `active` ones for each token, and `inner`, an expert's width.
    `share` is a dropout's, or that of an attention's dropout. An attention is computed by torch's
    own function; with `how` "eager" its weights are a matrix, with "capped" of capped scores.
    """

    kind: str
    reads: int = 0
    gives: int = 0
    path: str = ""
    how: str = ""
    input: str = ""
    block: int = -1
    heads: int = 0
    kv_heads: int = 0
    size: int = 0
    window: int | None = None
    active: int = 0
    inner: int = 0
    share: float = 0.0
