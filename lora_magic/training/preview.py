"""What a run would train on, as a frozen record that displays itself.

Knows rows and their examples; knows no model and no page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lora_magic.data.row import Row
from lora_magic.frames import frame

from .encode import Encoded
from .oddities import Lengths, Oddity, label_counts, oddities
from .sample import ReadToken, read_tokens


@dataclass(frozen=True)
class PreviewRow:
    """One row as it is read: its number, its tokens, how many are cut, and is it held out?

    A classifier's row has its `label`. A row with preferences is followed by itself with the
    `rejected` answer.
    """

    number: int
    tokens: tuple[ReadToken, ...]
    cut: int
    held_out: bool
    label: str | None = None
    rejected: bool = False

    @property
    def line(self) -> str:
        """`row 3 · 23 tokens, 9 trained`."""
        count = len(self.tokens)
        parts = [f"{count} token{'s' * (count != 1)}"]
        if self.label is None:
            parts.append(f"{sum(token.trained for token in self.tokens)} trained")
        parts += [f"{self.cut} cut"] if self.cut else []
        parts += ["held out"] if self.held_out else []
        which = " (rejected)" if self.rejected else ""
        return f"row {self.number}{which} · {', '.join(parts)}"


@dataclass(frozen=True)
class Preview:
    """Rows before they are trained on.

    `rows` are some of `total`; `examples` are what they make, `held_out` how many rows are held
    out, `held_out_rows` their numbers (from 1; of a file, lines). `lengths` are in tokens. `form`
    is "chat", "plain" or "labels"; `labels` are a classifier's, with their numbers of examples.
    """

    adapter: str | None
    form: str
    rows: tuple[PreviewRow, ...]
    total: int
    examples: int
    trained_tokens: int
    max_length: int
    end_token: str | None
    lengths: Lengths
    held_out: int
    held_out_rows: tuple[int, ...]
    oddities: tuple[Oddity, ...]
    notes: tuple[str, ...]
    labels: tuple[tuple[str, int], ...] = ()

    @property
    def line(self) -> str:
        """`pirate: 300 rows, 2,512 tokens trained · chat form, ends with <|end|>`."""
        what = f"{self.total:,} row{'s' * (self.total != 1)}"
        if self.examples != self.total:
            what += f", {self.examples:,} example{'s' * (self.examples != 1)}"
        if self.form == "labels":
            how = "texts and labels"
        else:
            what += f", {self.trained_tokens:,} tokens trained"
            end = f"ends with {self.end_token}" if self.end_token else "no end token"
            how = f"{self.form} form, {end}"
        return f"{self.adapter or 'base'}: {what} · {how}"

    @property
    def split_line(self) -> str:
        """Which rows are held out."""
        if not self.held_out:
            return "no row is held out"
        if not self.held_out_rows:
            return f"held out: {self.held_out:,} row{'s' * (self.held_out != 1)} of --eval"
        rest = self.held_out - _NAMED
        numbers = ", ".join(map(str, self.held_out_rows[:_NAMED]))
        numbers += f" and {rest} more" if rest > 0 else ""
        return f"held out: {self.held_out:,} row{'s' * (self.held_out != 1)} ({numbers})"

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def to_frame(self) -> Any:
        """A pandas DataFrame of the rows' tokens: row, position (from 1), token, id, trained,
        special; of preferences those of the chosen answers."""
        cells = [
            (row.number, place, token.text, token.id, token.trained, token.special)
            for row in self.rows
            if not row.rejected
            for place, token in enumerate(row.tokens, start=1)
        ]
        return frame(cells, ("row", "position", "token", "id", "trained", "special"))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views.preview import bundle

        return bundle(self)


#: Numbers of held-out rows that are named.
_NAMED = 20


def previewed(
    rows: Sequence[Row],
    encoded: Encoded,
    tokenizer: Any,
    *,
    adapter: str | None,
    form: str,
    max_length: int,
    held_out: Collection[int],
    shown: int,
) -> Preview:
    """The record of encoded rows; `held_out` are places of rows, `shown` how many to show.

    The first rows are shown, and last the longest if it is cut.
    """
    firsts: dict[int, int] = {}
    for at, example in enumerate(encoded.examples):
        firsts.setdefault(example.row, at)
    chosen = list(firsts.values())[:shown]
    longest = max(range(len(encoded.lengths)), key=encoded.lengths.__getitem__)
    if encoded.lengths[longest] > max_length and longest not in chosen:
        chosen[-1] = longest
    numbers = [rows[place].line or place + 1 for place in sorted(held_out)]
    return Preview(
        adapter=adapter,
        form=form,
        rows=tuple(row for at in chosen for row in _both(at, rows, encoded, tokenizer, held_out)),
        total=len(rows),
        examples=len(encoded.examples),
        trained_tokens=sum(e.trained for e in encoded.examples if e.row not in held_out),
        max_length=max_length,
        end_token=encoded.end_token,
        lengths=Lengths.of(encoded.lengths),
        held_out=len(held_out),
        held_out_rows=tuple(numbers),
        oddities=tuple(oddities(rows, encoded, max_length)),
        notes=tuple(filter(None, (encoded.skipped, *encoded.notes))),
        labels=tuple(label_counts(encoded).items()),
    )


def _both(
    at: int, rows: Sequence[Row], encoded: Encoded, tokenizer: Any, held_out: Collection[int]
) -> Iterator[PreviewRow]:
    """A row as it is read; with preferences, with each answer."""
    found, worse = _row(at, rows, encoded, tokenizer, held_out), encoded.examples[at].rejected
    yield found
    if worse is not None:
        yield replace(found, tokens=read_tokens(worse, tokenizer), rejected=True)


def _row(
    at: int, rows: Sequence[Row], encoded: Encoded, tokenizer: Any, held_out: Collection[int]
) -> PreviewRow:
    example = encoded.examples[at]
    return PreviewRow(
        number=rows[example.row].line or example.row + 1,
        tokens=read_tokens(example, tokenizer),
        cut=max(encoded.lengths[at] - len(example.tokens), 0),
        held_out=example.row in held_out,
        label=None if example.label is None else encoded.classes[example.label],
    )
