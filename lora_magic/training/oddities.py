"""What is odd about rows: repeated, contradictory, cut, left out, out of balance.

Knows rows and their examples; knows no model and no page.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from lora_magic.data.row import Row
from lora_magic.numbers import percent

from .encode import Encoded

#: Row numbers that an oddity names; the rest is counted.
_NAMED = 8

#: The largest label has more than this many times the rows of the smallest: out of balance.
_BALANCE = 4

#: Bars of a histogram at most.
_BARS = 24


@dataclass(frozen=True)
class Oddity:
    """One finding: what it is, of how many rows, the first of their numbers, and how much."""

    what: str
    count: int
    rows: tuple[int, ...] = ()
    more: str = ""

    @property
    def line(self) -> str:
        """`the same as an earlier row: 3 rows (4, 9, 12)`."""
        if not self.rows:
            return f"{self.what}: {self.more}"
        rest = self.count - len(self.rows)
        numbers = ", ".join(map(str, self.rows)) + (f" and {rest:,} more" if rest else "")
        more = f", {self.more}" if self.more else ""
        return f"{self.what}: {self.count:,} row{'s' * (self.count != 1)}{more} ({numbers})"


@dataclass(frozen=True)
class Lengths:
    """The examples' tokens before they are cut, as bars of equal width.

    `counts` are the bars' examples; the first bar begins at `low` tokens, each is `step` wide.
    """

    low: int
    step: int
    counts: tuple[int, ...]
    median: int
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Lengths:
        """At most 24 bars over these lengths, of which there is at least one."""
        ordered = sorted(lengths)
        low, longest = ordered[0], ordered[-1]
        step = -(-(longest - low + 1) // _BARS)
        counts = [0] * ((longest - low) // step + 1)
        for length in ordered:
            counts[(length - low) // step] += 1
        return cls(low, step, tuple(counts), ordered[len(ordered) // 2], longest)


def oddities(rows: Sequence[Row], encoded: Encoded, max_length: int) -> Iterator[Oddity]:
    """What is odd, the gravest first; rows are named by their numbers."""
    yield from _left_out(rows, encoded, max_length)
    cut = {
        example.row: length - max_length
        for example, length in zip(encoded.examples, encoded.lengths, strict=True)
        if length > max_length
    }
    if cut:
        more = f"by up to {max(cut.values()):,} tokens"
        yield _oddity(f"cut at {max_length:,} tokens", rows, cut, more)
    yield from _contradictions(rows, bool(encoded.classes))
    repeated = _repeated(rows)
    if repeated:
        yield _oddity("the same as an earlier row", rows, repeated)
    yield from _labels(rows, encoded)


def _left_out(rows: Sequence[Row], encoded: Encoded, max_length: int) -> Iterator[Oddity]:
    """Rows without an example, and why."""
    read = {example.row for example in encoded.examples}
    missing = [place for place in range(len(rows)) if place not in read]
    empty = [place for place in missing if rows[place].empty]
    if empty:
        yield _oddity("left out as empty", rows, empty)
    rest = sorted(set(missing) - set(empty))
    if rest and encoded.full:
        yield _oddity(f"left out, the prompt alone fills {max_length:,} tokens", rows, rest)
    elif rest:
        yield _oddity("left out, nothing in them is trained", rows, rest)


def _contradictions(rows: Sequence[Row], labelled: bool) -> Iterator[Oddity]:
    """Rows that ask what another row asks, and get another answer."""
    answers: defaultdict[Hashable, set[Hashable]] = defaultdict(set)
    askers: defaultdict[Hashable, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if not row.empty and (row.prompt is not None or row.messages is not None):
            asked, answer = _said(row)
            answers[asked].add(answer)
            askers[asked].append(place)
    several = [asked for asked, given in answers.items() if len(given) > 1]
    places = sorted(place for asked in several for place in askers[asked])
    if places:
        what = f"equal {'texts' if labelled else 'prompts'} with different "
        what += "labels" if labelled else "replies"
        yield _oddity(what, rows, places)


def _labels(rows: Sequence[Row], encoded: Encoded) -> Iterator[Oddity]:
    """Labels out of balance, and labels without a row."""
    if not encoded.classes:
        return
    counts = label_counts(encoded)
    total = sum(counts.values())
    least, most = min(counts.values()), max(counts.values())
    if most > _BALANCE * least:
        shares = ", ".join(f"{name} {percent(n / total)}" for name, n in counts.most_common(6))
        yield Oddity("labels out of balance", total, more=shares)


def label_counts(encoded: Encoded) -> Counter[str]:
    """The examples of each label, 0 for a label without any."""
    counts = Counter(dict.fromkeys(encoded.classes, 0))
    counts.update(encoded.classes[e.label] for e in encoded.examples if e.label is not None)
    return counts


def _said(row: Row) -> tuple[Hashable, Hashable]:
    """What a row asks, and what it answers."""
    if row.messages is not None:
        turns = [(turn.role, turn.content) for turn in row.messages]
        last = max((n for n, (role, _) in enumerate(turns) if role == "assistant"), default=0)
        return (row.system, *turns[:last]), tuple(turns[last:])
    return (row.system, row.prompt, row.second), row.completion


def _repeated(rows: Sequence[Row]) -> list[int]:
    """The places of rows that say what an earlier one says."""
    seen: set[Hashable] = set()
    again = []
    for place, row in enumerate(rows):
        said = _said(row)
        if said in seen and not row.empty:
            again.append(place)
        seen.add(said)
    return again


def _oddity(what: str, rows: Sequence[Row], places: Iterable[int], more: str = "") -> Oddity:
    numbers = [rows[place].line or place + 1 for place in places]
    return Oddity(what, len(numbers), tuple(numbers[:_NAMED]), more)
