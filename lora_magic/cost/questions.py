"""What people ask beside "does it fit": a row each, with the line to type.

Knows a model, the chosen way and the other methods; knows no machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model import Model
from .plan import Row, Way

if TYPE_CHECKING:
    from .estimate import Work


def rows(model: Model, work: Work, chosen: Way) -> tuple[Row, ...]:
    """The rows, in order."""
    return ()
