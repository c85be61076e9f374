"""One matrix of any shape against the two factors of a LoRA: arithmetic, without a model.

Knows shapes only; imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lora_magic.base.recipe import SMALL
from lora_magic.checks import is_whole
from lora_magic.errors import AdapterError
from lora_magic.frames import frame
from lora_magic.numbers import percent, reduction

if TYPE_CHECKING:
    from pandas import DataFrame

#: The largest d, k that can be typed.
LARGEST = 10**9
_SHAPE = re.compile(r"\s*(\d+)\s*[xX×*,]\s*(\d+)\s*")


@dataclass(frozen=True)
class MatrixCount:
    """W [d, k] with d `outputs` and k `inputs`, against B [d, r] and A [r, k] with r `rank`.

    Only r·(d + k) instead of d·k parameters are trained (arXiv 2106.09685, section 4.1).
    """

    outputs: int
    inputs: int
    rank: int

    @property
    def whole(self) -> int:
        """d·k."""
        return self.outputs * self.inputs

    @property
    def factors(self) -> int:
        """r·(d + k)."""
        return self.rank * (self.outputs + self.inputs)

    @property
    def share(self) -> float:
        """r·(d + k) over d·k."""
        return self.factors / self.whole

    @property
    def shape(self) -> str:
        """`4096x11008`, as it is typed."""
        return f"{self.outputs}x{self.inputs}"

    @property
    def line(self) -> str:
        """The answer in one line."""
        return (
            f"W {self.outputs:,} × {self.inputs:,}: A and B of rank {self.rank:,} have "
            f"{self.factors:,} of its {self.whole:,} parameters ({compared(self.share)})"
        )

    @property
    def command(self) -> str:
        """What to type for this record."""
        return f"%lora ratio --matrix {self.shape} --rank {self.rank}"

    def __repr__(self) -> str:
        return self.line

    def to_frame(self) -> DataFrame:
        """One row for W, A and B: part, rows, columns, parameters."""
        d, k, r = self.outputs, self.inputs, self.rank
        rows = [("W", d, k, d * k), ("A", r, k, r * k), ("B", d, r, d * r)]
        return frame(rows, ["part", "rows", "columns", "parameters"])

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        from lora_magic.views import ratio

        return ratio.matrix_bundle(self)


def matrix_count(shape: object, rank: object = None) -> MatrixCount:
    """The count of a shape such as "4096x11008", "4096,11008", "4096×11008", or a pair.

    `rank` defaults to that of a new adapter on a small base, or to the largest of a tiny matrix.
    Raises `AdapterError` for a shape that cannot be read, and for a rank above the smaller side.
    """
    outputs, inputs = _sides(shape)
    most = min(outputs, inputs)
    r = min(SMALL.rank, most) if rank is None else rank
    if not is_whole(r) or not 1 <= r <= most:  # type: ignore[operator]  # a number
        raise AdapterError(
            f"--rank {r!r}: a matrix of {outputs} × {inputs} has ranks from 1 to {most}; type: "
            f"%lora ratio --matrix {outputs}x{inputs} --rank {min(SMALL.rank, most)}"
        )
    return MatrixCount(outputs, inputs, r)  # type: ignore[arg-type]  # checked above


def alone(shape: object, rank: object, others: Mapping[str, object]) -> MatrixCount:
    """`matrix_count`; raises `AdapterError` if anything about an adapter is given too."""
    given = [name for name, value in others.items() if value is not None]
    if given:
        name = given[0] if given[0] == "NAME" else f"--{given[0].replace('_', '-')}"
        raise AdapterError(
            f"--matrix is a matrix without an adapter, so omit {name}; type: %lora ratio --matrix "
            "4096x11008 --rank 8"
        )
    return matrix_count(shape, rank)


def compared(share: float) -> str:
    """A share of a whole, as `0.391%, 99.61% fewer, 1 in 256`, or `100%, all of them`."""
    if share > 1:
        return f"{percent(share)}, more than the whole"
    if share == 1:
        return f"{percent(share)}, all of them"
    times = 1 / share
    told = f"1 in {times:,.0f}" if times >= 1.5 else "nearly all of them"
    return f"{percent(share)}, {reduction(share)}, {told}"


def _sides(shape: object) -> tuple[int, int]:
    sides: tuple[Any, ...] = tuple(shape) if isinstance(shape, list | tuple) else ()
    if isinstance(shape, str) and (found := _SHAPE.fullmatch(shape)) and len(shape) < 64:
        sides = tuple(map(int, found.groups()))
    if len(sides) != 2 or not all(is_whole(n) and 1 <= n <= LARGEST for n in sides):
        raise AdapterError(
            f"--matrix {shape!r}: expected outputs and inputs from 1 to {LARGEST:,}; type: %lora "
            "ratio --matrix 4096x11008 --rank 8"
        )
    return sides[0], sides[1]
