"""Rows as a model reads them, token by token, and what is odd about the data.

Trained tokens are underlined and tinted, in plain text between ⟦ and ⟧; special tokens are bold.
Knows a preview's numbers and texts; knows no tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from lora_magic.numbers import count, percent
from lora_magic.printable import clean, one_line
from lora_magic.views import svg
from lora_magic.views.axis import Scale, ticks
from lora_magic.views.html import Markup, tag
from lora_magic.views.style import BLUE, MARK, MUTED, ORANGE, SMALL, figure, frame, heading
from lora_magic.views.style import line as one
from lora_magic.views.table import table

if TYPE_CHECKING:
    from lora_magic.training.oddities import Lengths
    from lora_magic.training.preview import Preview, PreviewRow
    from lora_magic.training.sample import ReadToken

OPENS, CLOSES = "⟦", "⟧"
#: Tokens of one part of a row, trained or not, that are shown in full; of longer ones the ends.
_WHOLE, _HEAD, _TAIL = 90, 40, 40
_WIDTH, _HEIGHT = 420.0, 96.0
_BLOCKS = "▁▂▃▄▅▆▇█"
_ROW = (
    "margin:.15rem 0 .6rem 0;line-height:1.9;font-size:.875em;overflow-wrap:anywhere;"
    "font-family:var(--jp-code-font-family, monospace)"
)
_EDGE = "border-left:1px solid #7A7A7A"


class _Gap(NamedTuple):
    """Tokens that are left out of a long part, trained or not."""

    left_out: int
    trained: bool


def bundle(preview: Preview) -> dict[str, object]:
    """A preview's MIME bundle."""
    return {"text/plain": _plain(preview), "text/html": str(_page(preview))}


def _findings(preview: Preview) -> list[str]:
    """What is odd, what else to know, and which rows are held out."""
    odd = [oddity.line for oddity in preview.oddities] or ["nothing odd found in the rows"]
    return [*odd, *preview.notes, preview.split_line]


def _page(preview: Preview) -> Markup:
    rows = [part for row in preview.rows for part in _row(row, preview.form)]
    found = [one(f"• {line}") for line in _findings(preview)]
    return frame(
        heading(preview.line),
        _legend(preview),
        *rows,
        _histogram(preview.lengths, preview.max_length),
        _labels(preview) if preview.labels else "",
        tag("p", tag("strong", "The data"), style="margin:.5rem 0 .25rem 0"),
        *found,
        label="Preview of the rows",
    )


def _legend(preview: Preview) -> Markup:
    shown = f"{len(preview.rows)} of {count(preview.total)} rows, as the model reads them; "
    trained = (
        ("the label is what is learned; ",)
        if preview.form == "labels"
        else (tag("mark", "trained", style=MARK), ", ")
    )
    special = tag("b", "special token")
    rest = "; · is a space, ↵ a newline, a thin line parts two tokens"
    return tag("p", shown, *trained, special, rest, style=f"margin:0 0 .4rem 0;{SMALL};{MUTED}")


def _row(row: PreviewRow, form: str) -> Iterator[Markup]:
    yield one(row.line, muted=True)
    tokens: list[Markup] = []
    for trained, group in groupby(_shown(row.tokens), _is_trained):
        run = map(_token, group)
        tokens += [tag("mark", *run, style=MARK)] if trained else run
    if form == "labels":
        tokens += [tag("span", "  →  "), tag("mark", row.label or "", style=MARK)]
    yield tag("p", *tokens, style=_ROW)


def _token(part: ReadToken | _Gap) -> Markup:
    if isinstance(part, _Gap):
        return tag("em", f" … {part.left_out} tokens … ")
    text = visible(part.text) or "–"
    return tag("span", tag("b", text) if part.special else text, style=_EDGE)


def visible(text: str) -> str:
    """A token's text with its white space made visible."""
    return clean(text).replace("\n", "↵").replace("\t", "⇥").replace(" ", "·")


def _shown(tokens: Sequence[ReadToken]) -> Iterator[ReadToken | _Gap]:
    """The tokens, and for the middle of a long part how many are left out."""
    for trained, group in groupby(tokens, lambda token: token.trained):
        part = list(group)
        if len(part) <= _WHOLE:
            yield from part
        else:
            yield from part[:_HEAD]
            yield _Gap(len(part) - _HEAD - _TAIL, trained)
            yield from part[-_TAIL:]


def _histogram(lengths: Lengths, most: int) -> Markup:
    """How many examples have how many tokens, with a line where they are cut."""
    end = lengths.low + lengths.step * len(lengths.counts)
    limit = most if lengths.longest > most else None
    across = Scale(lengths.low, end, 48, 48 + _WIDTH)
    top = max(lengths.counts)
    up = Scale(0, top, 12 + _HEIGHT, 12)
    marks = sorted({round(value) for value, _ in ticks(0, top, 3)})
    shapes = svg.axes(
        across,
        up,
        [(value, count(value)) for value in marks],
        [(value, text) for value, text in ticks(lengths.low, end, 6) if value == round(value)],
    )
    for place, number in enumerate(lengths.counts):
        if number:
            left = across(lengths.low + place * lengths.step)
            wide = across(lengths.low + (place + 1) * lengths.step) - left
            high = up(0) - up(number)
            shapes.append(svg.box(left + 0.5, up(number), max(wide - 1, 1), high, fill=BLUE))
    if limit is not None:
        x = across(limit)
        shapes.append(svg.path([(x, 6), (x, up(0))], ORANGE, 2, stroke_dasharray="4 3"))
    said = f"tokens: {count(lengths.low)} to {count(lengths.longest)}, median {lengths.median}"
    cut = f"; the dashed line is where rows are cut ({count(most)} tokens)" if limit else ""
    picture = svg.image(48 + _WIDTH + 24, 12 + _HEIGHT + 26, f"Examples by their {said}", *shapes)
    return figure(picture, f"Examples by their {said}{cut}")


def _labels(preview: Preview) -> Markup:
    total = sum(number for _, number in preview.labels) or 1
    cells = [(one_line(name), count(n), percent(n / total)) for name, n in preview.labels]
    return table("Labels", ("Label", "Rows", "Share"), cells)


def _plain(preview: Preview) -> str:
    marked = "" if preview.form == "labels" else f", trained between {OPENS} and {CLOSES}"
    lines = [
        one_line(preview.line),
        f"{len(preview.rows)} of {count(preview.total)} rows, | between two tokens{marked}:",
    ]
    for row in preview.rows:
        lines += [f"  {row.line}", f"    {_plain_row(row)}"]
    lengths = preview.lengths
    limit = f"at most {count(preview.max_length)}"
    lines.append(
        f"tokens {lengths.low} {_bars(lengths.counts)} {lengths.longest}, median {lengths.median}, "
        f"{limit}"
    )
    if preview.labels:
        lines.append("labels " + ", ".join(f"{one_line(n)} {c}" for n, c in preview.labels))
    return "\n".join([*lines, *map(one_line, _findings(preview))])


def _plain_row(row: PreviewRow) -> str:
    parts = []
    for trained, group in groupby(_shown(row.tokens), _is_trained):
        text = "|".join(_plain_token(part) for part in group)
        parts.append(f"{OPENS}{text}{CLOSES}" if trained else text)
    label = "" if row.label is None else f" → {OPENS}{one_line(row.label)}{CLOSES}"
    return "|".join(parts) + label


def _is_trained(part: ReadToken | _Gap) -> bool:
    return part.trained


def _plain_token(part: ReadToken | _Gap) -> str:
    if isinstance(part, _Gap):
        return f"… {part.left_out} tokens …"
    return one_line(visible(part.text)) or "–"


def _bars(counts: Sequence[int]) -> str:
    top = max(counts)
    return "".join(_BLOCKS[-(-number * 7 // top)] if number else " " for number in counts)
