"""Whether this CPU computes a training step faster in bfloat16 than in float32: a short trial.

Knows torch and a clock; knows no model. A CPU with AMX multiplies large matrices in bfloat16 three
to nine times as fast, but a step has norms, activations and an adapter in float32 too, and on a CPU
without such instructions bfloat16 is slower: so it is measured on a small block with all of these.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

_TOKENS = 128
_RANK = 8
#: A wider block takes longer and gains no less.
_WIDEST = 1024
_TIMES = 3

Step = Callable[[], object]


@cache
def gain(width: int) -> float:
    """The CPU time of a step in float32 over that in bfloat16, at a model's width.

    Takes about a tenth of a second, once for each width in a process.
    """
    width = min(width, _WIDEST)
    return compared(step(torch.float32, width), step(torch.bfloat16, width))


def compared(
    one: Step, other: Step, times: int = _TIMES, clock: Callable[[], float] = time.process_time
) -> float:
    """The time of `one` over that of `other`: the shortest of several, in turn.

    CPU time, since other processes take wall time. 0 if the clock is too coarse to tell.
    """
    one(), other()  # prepares kernels
    best = [float("inf"), float("inf")]
    for _ in range(times):
        for place, work in enumerate((one, other)):
            began = clock()
            work()
            best[place] = min(best[place], clock() - began)
    return best[0] / best[1] if best[1] > 0 else 0.0


def step(dtype: torch.dtype, width: int) -> Step:
    """Forward and backward of one block: a norm, a gated MLP, and a LoRA in float32 on each layer.

    The generators are left as they are.
    """
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        found: Tensor = torch.randn(*shape, generator=generator)
        return found.div_(math.sqrt(shape[-1]))

    weights = [drawn(width, width).to(dtype) for _ in range(3)]
    down = [drawn(_RANK, width).requires_grad_() for _ in range(3)]
    up = [drawn(width, _RANK).requires_grad_() for _ in range(3)]
    rows = drawn(_TOKENS, width).to(dtype).requires_grad_()

    def adapted(x: Tensor, number: int) -> Tensor:
        update = linear(linear(x.float(), down[number]), up[number])
        return (linear(x, weights[number]).float() + update).to(dtype)

    def forward() -> Tensor:
        wide = rows.float()
        normed = (wide * wide.square().mean(-1, keepdim=True).add(1e-6).rsqrt()).to(dtype)
        return rows + adapted(silu(adapted(normed, 0)) * adapted(normed, 1), 2)

    def both() -> object:
        with torch.enable_grad():
            return torch.autograd.grad(forward().float().sum(), [rows, *down, *up])

    return both
