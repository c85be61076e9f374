"""Objects that hold data, by the library that made them: frames, tables, arrays, datasets.

A library is recognised only if it is already imported, since otherwise no object of its can exist.
Knows how each gives its columns or items; knows no rows.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from lora_magic.errors import DataError, listed, sentence

from .files import frame_table
from .row import RowErrors
from .table import Record, Table

EXPECTED = (
    "expected a DataFrame, a list of dicts, pairs or texts, a dataset, or the path of a "
    ".csv, .tsv, .jsonl, .json or .parquet file"
)

#: Rows of a dataset that are converted at a time.
_BATCH = 1_000


@dataclass(frozen=True)
class Stream:
    """Items that come one by one, perhaps without an end; `names` as in `Table`."""

    items: Iterable[Any]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)


def opened(data: Any) -> Table | list[Any] | Stream:
    """What a person's object holds: a table, a list of items, or a stream.

    Raises `DataError` that says what to pass instead of anything else.
    """
    for reads in (_pandas, _polars, _arrow, _numpy, _dataset):
        found = reads(data)
        if found is not None:
            return found
    if callable(getattr(data, "preferences", None)):
        return list(data.preferences())  # votes
    if isinstance(data, Mapping):
        return _columns(data)
    if isinstance(data, Sequence) and not isinstance(data, str | bytes | bytearray):
        return list(data)
    indexed = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    if indexed and not isinstance(data, str | bytes | bytearray):
        return list(_unbroken(data[place] for place in range(len(data))))  # torch's data sets
    raise DataError(f"data of type {type(data).__name__}: {EXPECTED}.{_remedy(data)}")


def _remedy(data: object) -> str:
    for method in ("to_pandas", "toPandas", "to_arrow"):
        if hasattr(data, method):
            return f" Pass data.{method}()."
    if isinstance(data, Iterator):
        return (
            " It can be read only once: pass list(data), or if it has no end "
            "list(itertools.islice(data, 1000))."
        )
    listable = hasattr(data, "__iter__") and not isinstance(data, bytes | bytearray)
    return " Pass list(data)." if listable else ""


def is_a(data: object, library: str, *kinds: str) -> bool:
    """Is it one of a library's classes? False if the library is not imported."""
    found = [getattr(sys.modules.get(library), kind, None) for kind in kinds]
    return any(isinstance(kind, type) and isinstance(data, kind) for kind in found)


def _pandas(data: Any) -> Table | list[Any] | None:
    if is_a(data, "pandas", "DataFrame"):
        return frame_table(data)
    return data.tolist() if is_a(data, "pandas", "Series", "Index") else None


def _polars(data: Any) -> Table | list[Any] | None:
    if is_a(data, "polars", "LazyFrame"):
        raise DataError(f"a LazyFrame has no rows yet: {EXPECTED}. Pass data.collect().")
    if is_a(data, "polars", "DataFrame"):
        return Table.by_column(data.columns, lambda place: data.to_series(place).to_list())
    return data.to_list() if is_a(data, "polars", "Series") else None


def _arrow(data: Any) -> Table | list[Any] | None:
    if is_a(data, "pyarrow", "Table", "RecordBatch"):
        return Table.by_column(data.schema.names, lambda place: data.column(place).to_pylist())
    if is_a(data, "pyarrow", "RecordBatchReader"):
        raise DataError(
            f"a RecordBatchReader can be read only once: {EXPECTED}. Pass data.read_all()."
        )
    return data.to_pylist() if is_a(data, "pyarrow", "ChunkedArray", "Array") else None


def _numpy(data: Any) -> Table | list[Any] | None:
    if not is_a(data, "numpy", "ndarray"):
        return None
    if data.dtype.names:
        return Table.by_column(
            data.dtype.names, lambda place: data[data.dtype.names[place]].tolist()
        )
    wide = data.ndim == 2 and data.shape[1] == 2
    if data.ndim != 1 and not wide:
        raise DataError(
            f"an array of shape {data.shape}, expected one column of texts, or two of prompts and "
            "completions. Pass a DataFrame with named columns: pandas.DataFrame(data, columns=[…])."
        )
    if data.dtype.kind not in "USOT":
        raise DataError(f"an array of {data.dtype}, expected texts.")
    return list(data.tolist())


def _columns(data: Mapping[Any, Any]) -> Table:
    """A dict of columns."""
    for name, values in data.items():
        if isinstance(values, list) and values and all(isinstance(v, Mapping) for v in values):
            raise DataError(
                f"a dict with a list of dicts under {name!r}: pass that, as in data[{name!r}]."
            )
    cells = {name: _cells(values) for name, values in data.items()}
    if not cells or None in cells.values():
        raise DataError(
            f"a dict with the keys {listed(map(str, data))}, expected a list of dicts, or a dict "
            "of columns. Pass one row as [data], and pairs as list(data.items())."
        )
    lengths = {str(name): len(values or ()) for name, values in cells.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"a dict of columns of different lengths: {told}; make them equal.")
    values = [column or [] for column in cells.values()]
    return Table.by_column([*cells], values.__getitem__)


def _cells(values: Any) -> list[Any] | None:
    for method in ("tolist", "to_list", "to_pylist"):
        if hasattr(values, method):
            found = getattr(values, method)()
            return found if isinstance(found, list) else None
    sequence = isinstance(values, Sequence) and not isinstance(values, str | bytes)
    return list(values) if sequence else None


def _dataset(data: Any) -> Table | Stream | None:
    if is_a(data, "datasets", "DatasetDict", "IterableDatasetDict"):
        splits = list(data)
        if not splits:
            raise DataError("the dataset has no splits.")
        raise DataError(
            f"the dataset has splits {listed(splits)}: pass one, as in data[{splits[0]!r}]."
        )
    if is_a(data, "datasets", "IterableDataset"):
        return Stream(_unbroken(data), _class_names(data))
    if not is_a(data, "datasets", "Dataset"):
        return None
    # A transform that the person has set makes the rows; any other format changes only their types.
    own = data.format["type"] == "custom"

    def read(names: Sequence[str]) -> Iterator[tuple[int, Record]]:
        wanted = data if own else data.with_format(None).select_columns(list(names))
        numbers = count(1)
        for batch in _unbroken(wanted.iter(_BATCH)):
            for cells in zip(*batch.values(), strict=True):
                yield next(numbers), dict(zip(batch, cells, strict=True))

    columns = tuple(next(_unbroken(data.iter(1)), {}) if own else data.column_names)
    return Table(columns, read, errors=RowErrors("row"), names={} if own else _class_names(data))


def _unbroken(items: Iterable[Any]) -> Iterator[Any]:
    """The items; an error of what makes them (a connection, a transform) is a `DataError`."""
    try:
        yield from items
    except Exception as error:
        raise DataError(
            f"the data failed with {type(error).__name__}: {sentence(error)}. Try it with: "
            "next(iter(data))"
        ) from error


def _class_names(data: Any) -> dict[str, Sequence[str]]:
    """The names of a dataset's labels, for each column of class `ClassLabel`."""
    found: dict[str, Sequence[str]] = {}
    for column, feature in (data.features or {}).items():
        if type(feature).__name__ == "ClassLabel":
            found[column] = list(feature.names)
    return found
