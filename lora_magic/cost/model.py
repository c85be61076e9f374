"""A model as a plan sees it: its shapes, what it computes for each token, and where it is from.

Knows shapes and steps; knows no file and no adapter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lora_magic.adapters.shapes import Shapes

from .ops import Op


@dataclass(frozen=True, eq=False)
class Model:
    """A model of which nothing is read but its config.

    `name` is how it was asked for; `stored` the number format of its checkpoint ("bf16" …), None if
    it is not known; `context` its longest text in tokens; `causal` whether it is a decoder.
    `active` is how many parameters a token passes, `None` for all. `note` says what is not exact.
    """

    name: str
    shapes: Shapes
    ops: tuple[Op, ...] = ()
    vocabulary: int = 0
    context: int = 0
    stored: str | None = None
    causal: bool = True
    inactive: int = 0
    head: tuple[str, ...] = ()
    note: str = ""

    @cached_property
    def parameters(self) -> int:
        """All parameters, tied ones once."""
        return self.shapes.total

    @property
    def active(self) -> int:
        """The parameters that one token passes: all but the experts that are not chosen."""
        return self.parameters - self.inactive
