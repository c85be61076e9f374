"""Tables of results as pandas frames, if pandas is installed.

Knows pandas; does not know what the rows mean. Every room may import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lora_magic.errors import StateError

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(rows: Iterable[Any], columns: Sequence[str] | None = None) -> DataFrame:
    """A DataFrame of these rows. Raises `StateError` without pandas."""
    try:
        import pandas
    except ImportError:
        raise StateError("a table needs pandas; type: %pip install pandas") from None
    return pandas.DataFrame(list(rows), columns=columns)
