"""Tables of results as pandas frames, if pandas is installed.

Knows pandas; does not know what the rows mean. Every room may import it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lora_magic.errors import StateError

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(
    rows: Iterable[Any],
    columns: Sequence[str] | None = None,
    types: Mapping[str, str] | None = None,
) -> DataFrame:
    """A DataFrame of these rows. Raises `StateError` without pandas.

    With `types` the named columns have these types, and the others are objects, so that None stays
    None.
    """
    try:
        import pandas
    except ImportError:
        raise StateError("a table needs pandas; type: %pip install pandas") from None
    if types is None:
        return pandas.DataFrame(list(rows), columns=columns)
    return pandas.DataFrame(list(rows), columns=columns, dtype=object).astype(dict(types))
