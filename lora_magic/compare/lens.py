"""What an adapter learned, as tokens: the record of two readings.

Knows names and numbers; does not know how they were measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lora_magic import numbers
from lora_magic.frames import frame
from lora_magic.printable import one_line

if TYPE_CHECKING:
    from pandas import DataFrame

#: The values of `reading`: from its answers, from its states, and a random direction beside them.
ANSWERS, STATES, RANDOM = "answers", "states", "random"
#: Most tokens of each reading, and in each layer.
SHOWN = 20
_COLUMNS = ("adapter", "reading", "token", "word", "score", "rank", "layer")
#: Words of the first reading in the line.
_IN_LINE = 5


@dataclass(frozen=True)
class LensToken:
    """One token of a reading, `rank` 1 being the highest `score`.

    `word` is the token completed to a word as the adapter would go on, of the answers; of a
    direction it is the token without blanks. The score is nats per token of the answers; of a
    direction it is a logit, whose scale means nothing. `layer` counts from 0, as in the paths of
    modules, and is None for the answers.
    """

    reading: str
    token: str
    word: str
    score: float
    rank: int
    layer: int | None = None


@dataclass(frozen=True)
class LensLayer:
    """How far the adapter moves the states after a layer: ‖mean Δh‖ over the mean of ‖h‖."""

    layer: int
    change: float


@dataclass(frozen=True)
class Lens:
    """What an adapter makes more likely, as tokens, in two readings that are never mixed.

    From its answers (reading "answers"): the mean of p_a·max(0, ln p_a/p_b) over the first tokens
    of its own greedy answers, p_a being the adapter's probability of a token and p_b the base's,
    after the same tokens. From its states ("states"): the mean difference of the hidden states over
    the positions before the answer, read through final norm and head, for every layer; beside it
    the same for a random direction of equal length ("random").

    Of the `asked` questions `answered` were, with `positions` tokens. `no_words` and `no_states`
    say why a reading is missing, or "". `stopped` says that the user ended it.
    """

    adapter: str
    tokens: tuple[LensToken, ...]
    layers: tuple[LensLayer, ...]
    asked: int
    answered: int = 0
    positions: int = 0
    no_words: str = ""
    no_states: str = ""
    seconds: float = 0.0
    stopped: bool = False

    def of(self, reading: str, layer: int | None = None) -> tuple[LensToken, ...]:
        """The tokens of a reading, of a layer where it has several, the highest score first."""
        return tuple(one for one in self.tokens if (one.reading, one.layer) == (reading, layer))

    @property
    def words(self) -> tuple[str, ...]:
        """What the adapter says more often than the base in its answers, the most telling first."""
        return tuple(one.word for one in self.of(ANSWERS))

    @property
    def line(self) -> str:
        """One line: the first words, and what was measured."""
        first = ", ".join(f"“{word}”" for word in self.words[:_IN_LINE])
        found = f"more often than the base it says {first} …" if first else self.no_words
        if not self.answered:
            return f"{self.adapter}: {found}"
        of = f" of {self.asked:,}" if self.answered < self.asked else ""
        stopped = " · stopped by you" if self.stopped else ""
        questions = f"{self.answered:,}{of} question{'s' * (self.asked != 1)}"
        return (
            f"{self.adapter}: {found} · {questions}, {self.positions:,} tokens of its answers · "
            f"{numbers.duration(self.seconds)}{stopped}"
        )

    def to_frame(self) -> DataFrame:
        """Columns adapter, reading (answers, states, random), token, word, score (nats per token;
        logits of a direction), rank (from 1) and layer (none for the answers)."""
        rows = [
            (self.adapter, one.reading, one.token, one.word, one.score, one.rank, one.layer)
            for one in self.tokens
        ]
        return frame(rows, _COLUMNS, {"score": "float64", "rank": "int64", "layer": "Int64"})

    def __repr__(self) -> str:
        return one_line(self.line)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import lens as view

        return view.bundle(self)


def ranked(
    reading: str, found: Sequence[tuple[str, str, float]], layer: int | None = None
) -> list[LensToken]:
    """Tokens, words and scores, the highest score first, with their ranks."""
    return [
        LensToken(reading, token, word, score, rank, layer)
        for rank, (token, word, score) in enumerate(found, start=1)
    ]
