"""Named records with their numbers: what a file or a frame gives, before their columns mean
anything.

A column that is not read is never converted: it may hold images or vectors. Knows no file, no
library and no shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lora_magic.errors import DataError, listed

from .row import RowErrors

Record = Mapping[str, Any]
Numbered = tuple[int, Record]


@dataclass(frozen=True)
class Table:
    """Columns, and the records of those that are asked for; `noun` says what numbers count.

    `errors` has the faults found so far. `notes` are told with the rows. `names` are the labels'
    names of a column whose values are their numbers (a dataset's `ClassLabel`).
    `hint` is told if the columns mean nothing.
    """

    columns: tuple[str, ...]
    read: Callable[[Sequence[str]], Iterable[Numbered]]
    noun: str = "row"
    errors: RowErrors = field(default_factory=RowErrors)
    notes: tuple[str, ...] = ()
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    hint: str = ""

    @classmethod
    def of(
        cls, records: Iterable[Numbered], noun: str = "row", errors: RowErrors | None = None
    ) -> Table:
        """A table of records, with every column that any of them has."""
        kept = [(number, by_text(record)) for number, record in records]
        columns = dict.fromkeys(key for _, record in kept for key in record)
        return cls(tuple(columns), lambda names: kept, noun, errors or RowErrors(noun))

    @classmethod
    def by_column(
        cls, columns: Sequence[Any], values: Callable[[int], Sequence[Any]], noun: str = "row"
    ) -> Table:
        """A table of columns; `values` gives the cells of the column in a place, from 0."""
        own = tuple(map(str, columns))
        check_names("", own)

        def read(names: Sequence[str]) -> Iterator[Numbered]:
            cells = [values(own.index(name)) for name in names]
            for number, row in enumerate(zip(*cells, strict=True), start=1):
                yield number, dict(zip(names, row, strict=True))

        return cls(own, read, noun, RowErrors(noun))

    def records(self, names: Sequence[str] | None = None) -> Iterator[Numbered]:
        """The records, with at least the columns `names` (default: all)."""
        for number, record in self.read(self.columns if names is None else names):
            yield number, self._named(record) if self.names else record

    def _named(self, record: Record) -> Record:
        changed = dict(record)
        for column, names in self.names.items():
            place = record.get(column)
            if isinstance(place, int) and 0 <= place < len(names):
                changed[column] = names[place]
        return changed


def by_text(record: Mapping[Any, Any]) -> Record:
    """A record whose columns have texts for names: a list of dicts may have numbers."""
    if all(isinstance(key, str) for key in record):
        return record
    return {str(key): value for key, value in record.items()}


def check_names(where: str, names: Sequence[str]) -> None:
    """Raise `DataError` that begins with `where` if two columns have one name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{where}two columns are named {listed(map(repr, twice))}; rename one.")
