"""The session's model with the numbers that llama.cpp computes with, on its own weights.

llama.cpp computes in 32 bits. Where a matrix has a narrower format, both sides of its product are
rounded to that format: weights when they are written, inputs when they are multiplied. The same
rounding here leaves the order of sums, and inputs that fall on the other side of a rounding step.
How much that can be is measured by computing without it: see `LlamaCpp`.

Knows torch's functions and the number formats; knows no file and no tensor's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

#: Rows of a matrix that are widened at a time: a head has hundreds of thousands.
_ROWS = 16_384

#: Entries that share one scale in q8_0.
BLOCK = 32


def rounded(values: Tensor, quantise: str) -> Tensor:
    """These values, [..., k], as a format of `QUANTISATIONS` holds them, in their own dtype.

    q8_0: each 32 entries of a row are whole multiples, -127 to 127, of one scale d = max|x| / 127,
    which is kept in 16 bits (ggml, `quantize_row_q8_0_ref`). Rows of another length stay in f16.
    """
    if quantise == "f32":
        return values
    given = values.float().contiguous()
    if quantise == "f16" or given.shape[-1] % BLOCK:
        return given.half().to(values.dtype)
    blocks = given.view(*given.shape[:-1], -1, BLOCK)
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    inverse = torch.where(scale > 0, 1 / scale, 0.0)
    # Halves are rounded away from zero, as by C's roundf; torch.round goes to the even one.
    whole = (blocks * inverse).abs().add(0.5).floor() * blocks.sign()
    held: Tensor = whole * scale.half().float()
    return held.view(given.shape).to(values.dtype)


class LlamaCpp(TorchFunctionMode):
    """While active, a model computes as llama.cpp does from a file in the format `quantise`.

    Narrow tensors are widened as they are used, so no copy of the model is needed. Matrices and the
    inputs that they multiply are rounded, and the tanh form of GELU is taken from llama.cpp's table
    of 16-bit numbers. With `exact` only the weights are rounded, and the sums are in float64: the
    answers of the file in the limit of exact arithmetic.
    """

    def __init__(self, quantise: str, exact: torch.dtype | None = None) -> None:
        super().__init__()
        self.quantise, self.exact = quantise, exact
        narrow = [torch.float16, torch.bfloat16]
        self._wide = exact or torch.float32
        self._narrow = tuple(narrow if exact in (None, torch.float32) else [*narrow, torch.float32])

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is functional.linear:
            return self._linear(*args, **(kwargs or {}))
        if function is functional.embedding:
            found = function(*args, **(kwargs or {}))
            return rounded(self._widened(found), self.quantise)
        given = self._widened(args)
        named = {name: self._widened(value) for name, value in (kwargs or {}).items()}
        table = function is functional.gelu and named.get("approximate") == "tanh"
        return _gelu(*given) if table and not self.exact else function(*given, **named)

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        value = self._widened(input)
        value = value if self.exact else rounded(value, self.quantise)
        parts = [
            functional.linear(value, rounded(self._widened(rows), self.quantise))
            for rows in (weight[at : at + _ROWS] for at in range(0, len(weight), _ROWS))
        ]
        found = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
        return found if bias is None else found + self._widened(bias)

    def _widened(self, given: Any) -> Any:
        """The same with every narrow tensor, and every narrow dtype, replaced by a wide one."""
        if isinstance(given, Tensor):
            return given.to(self._wide) if given.dtype in self._narrow else given
        if isinstance(given, torch.dtype):
            return self._wide if given in self._narrow else given
        if type(given) in (tuple, list):
            return type(given)(self._widened(one) for one in given)
        return given


def _gelu(value: Tensor) -> Tensor:
    """tanh-GELU of 16-bit inputs in 16 bits, exact beyond ±10 (ggml, `ggml_vec_gelu_f32`)."""
    table = functional.gelu(value.half().float(), approximate="tanh").half().float()
    return torch.where(value <= -10, 0.0, torch.where(value >= 10, value, table))
