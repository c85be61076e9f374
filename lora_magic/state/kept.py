"""The rows that a verb is given: typed below it, kept under a name, or data.

Knows text and the readers of rows; imports no torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from keyword import iskeyword
from typing import Any

from lora_magic.data import rows, sources
from lora_magic.data.records import Function
from lora_magic.data.row import Row, Rows
from lora_magic.errors import CommandError, LoraMagicError
from lora_magic.paths import path_of


@dataclass(frozen=True)
class KeptRows:
    """Typed rows under a name, as text: a classifier reads the same text in another way.

    `count` says how many of which kind there are.
    """

    name: str
    text: str
    format: str | None
    count: str

    @property
    def line(self) -> str:
        """A one-line receipt: `rows: 12 pairs kept as greetings`."""
        return f"rows: {self.count} kept as {self.name}"

    def __repr__(self) -> str:
        return self.line

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import receipt

        return receipt.bundle(line=self.line)


def keep(name: str, text: str, format: str | None, *, labelled: bool) -> KeptRows:
    """Typed rows, read once to see that they can be.

    Raises `CommandError` for a name that no variable can have, `DataError` for unreadable rows.
    """
    if not isinstance(name, str) or not name.isidentifier() or iskeyword(name):
        raise CommandError(
            f"{name!r} cannot name rows: expected a name as of a variable (letters, digits, _), "
            "as in %%lora data greetings"
        )
    found = rows.read_text(text, format, labelled=labelled)
    return KeptRows(name, text, format, _counted(found, labelled))


def _counted(found: tuple[Row, ...], labelled: bool) -> str:
    kinds = {"conversation": 0, "pair": 0, "text": 0}
    for row in found:
        paired = "text" if row.prompt is None else "pair"
        kinds["conversation" if row.messages is not None else paired] += 1
    nouns = {"pair": "labelled text"} if labelled else {}
    return ", ".join(
        f"{count} {nouns.get(kind, kind)}{'s' * (count != 1)}"
        for kind, count in kinds.items()
        if count
    )


def rows_given(
    kept: Mapping[str, KeptRows],
    verb: str,
    data: Any,
    text: str | None,
    *,
    columns: str | None = None,
    map_: Function | None = None,
    format: str | None = None,
    most: int | None = None,
    prompts: bool = False,
    **reading: Any,
) -> Rows:
    """The rows of `text`, of kept rows (by name or themselves), or of data.

    Raises `CommandError` for both text and data, and what the readers raise.
    """
    if text is not None and any(given is not None for given in (data, columns, map_)):
        raise CommandError(f"{verb}: both text and data (or columns, or map) are given; pass one.")
    if isinstance(data, str) and data in kept:
        data = kept[data]
    if isinstance(data, KeptRows):
        if columns is not None or map_ is not None:
            flag = "--map" if columns is None else "--columns"
            raise CommandError(f"{flag}: the rows kept as {data.name} have no columns.")
        text, format = data.text, format or data.format
    if text is not None:
        return rows.read_text(text, format, **reading)
    reading |= {"columns": columns, "map_": map_, "format": format}
    reading |= {"most": most, "prompts": prompts}
    found = sources.read_data(data, **reading)
    if isinstance(data, str | os.PathLike) and map_ is None:
        found.again = partial(sources.read_data, path_of(data, "--data").absolute(), **reading)
    return found


def other_rows(
    flag: str,
    read: Callable[..., Rows],
    columns: str | None,
    map_: Function | None,
    **reading: Any,
) -> Rows:
    """The rows of `--eval` or `--guard`, which may be of another form than the data.

    They are read by the `columns` or the function `map_` of the data where that is possible, else
    by their own columns. Every error begins with the flag.
    """
    given = columns is not None or map_ is not None
    errors: list[LoraMagicError] = []
    for way in [{"columns": columns, "map_": map_}] * given + [{}]:
        try:
            return read(**way, **reading)
        except LoraMagicError as error:
            errors.append(error)
    found = errors[-1] if map_ is None else errors[0]
    said = str(found).replace("--data", flag).replace("to train on", "to measure")
    raise type(found)(said if said.startswith(flag) else f"{flag}: {said}") from None
