"""Texts and the probability of each label: one table per text, a column for each adapter.

Knows predictions; does not know how they were made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.printable import clean, one_line
from lora_magic.views import comparison
from lora_magic.views.comparison import note_of
from lora_magic.views.html import Markup, joined, paragraphs, tag
from lora_magic.views.style import LINE, frame
from lora_magic.views.style import line as one
from lora_magic.views.table import rows_of, table
from lora_magic.views.text import plain_table

if TYPE_CHECKING:
    from lora_magic.compare.prediction import Prediction

#: More labels than these are counted and not shown.
SHOWN = 12

_WIDTH = 12


def bundle(
    predictions: Sequence[Prediction],
    line: str = "",
    left_out: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> dict[str, object]:
    """The MIME bundle of predictions: a table for each text, with many adapters several."""
    every = [(text, list(found)) for text, found in groupby(predictions, lambda one: one.prompt)]
    groups = every[: comparison.SHOWN]
    parts = [part for text, columns in groups for part in _group(text, columns)]
    hidden = comparison.not_shown(len(every) - len(groups))
    rest = [note for note in (hidden, *notes, comparison.left_out(left_out)) if note]
    below = (one(note, muted=True) for note in rest)
    page = frame(*parts, *below, label="Labels and their probabilities")
    plain = [_plain(text, row) for text, columns in groups for row in rows_of(columns)]
    return {
        "text/plain": "\n\n".join(filter(None, [one_line(line), *plain, *rest])),
        "text/html": str(page),
    }


def _group(text: str, columns: Sequence[Prediction]) -> list[Markup]:
    return [
        tag("p", tag("strong", paragraphs(text)), style=f"{LINE};margin-top:.5rem"),
        *map(_table, rows_of(columns)),
        *(note_of(note) for note in _notes(columns)),
    ]


def _table(columns: Sequence[Prediction]) -> Markup:
    header = ["label", *(column.adapter for column in columns)]
    rows, rest = _rows(columns)
    cells = [[label, *(_cell(share, chosen) for share, chosen in row)] for label, row in rows]
    caption = "Probability of each label" + (f"; {rest} less likely labels omitted" if rest else "")
    return table(caption, header, cells, left=len(header))


def _cell(share: float, chosen: bool) -> Markup:
    """A bar that screen readers skip, and the number, in bold if it is the chosen label's."""
    bar = tag("span", _bar(share), aria_hidden="true")
    label = _label(share, chosen)
    return joined([bar, " ", tag("strong", label) if chosen else label])


def _label(share: float, chosen: bool) -> str:
    return numbers.percent(share) + (" ✓" if chosen else "")


def _plain(text: str, columns: Sequence[Prediction]) -> str:
    rows, rest = _rows(columns)
    header = ["", *(column.adapter for column in columns)]
    cells = [
        [label, *(f"{_bar(share)} {_label(share, chosen)}" for share, chosen in row)]
        for label, row in rows
    ]
    parts = [f"> {clean(text)}", plain_table(header, cells, left=len(header), indent="  ")]
    parts += [f"  and {rest} less likely labels"] if rest else []
    parts += [f"  Note: {one_line(note)}" for note in _notes(columns)]
    return "\n".join(parts)


def _rows(columns: Sequence[Prediction]) -> tuple[list[tuple[str, list[tuple[float, bool]]]], int]:
    """The likeliest labels with their share in every column; and how many are omitted."""
    shares = [dict(zip(one.labels, one.probabilities, strict=True)) for one in columns]
    labels = list(shares[0])
    if len(labels) > SHOWN:
        most = sorted(labels, key=lambda label: -max(share[label] for share in shares))
        seen = {*most[:SHOWN], *(column.label for column in columns)}
        labels = [label for label in labels if label in seen]
    rows = [
        (
            label,
            [
                (share[label], label == one.label)
                for share, one in zip(shares, columns, strict=True)
            ],
        )
        for label in labels
    ]
    return rows, len(shares[0]) - len(labels)


def _notes(columns: Sequence[Prediction]) -> list[str]:
    return [f"{column.adapter}: {column.note}" for column in columns if column.note]


def _bar(share: float) -> str:
    full = round(_WIDTH * share) if math.isfinite(share) else 0
    return "█" * full + "░" * (_WIDTH - full)
