"""Votes between the answers of two adapters: win rates, exact intervals, and how many more to cast.

Only decisive votes, left or right, enter a win rate; ties, pairs that are both bad and pairs with
identical answers are counted beside it. Knows names and texts; does not know who voted or how.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lora_magic.errors import DataError
from lora_magic.frames import frame
from lora_magic.printable import one_line

if TYPE_CHECKING:
    from pandas import DataFrame

LEFT, RIGHT, TIE, BOTH_BAD = CHOICES = ("left", "right", "tie", "both bad")
#: In place of a vote on two answers that are the same text: nobody is asked.
IDENTICAL = "identical"
#: Two-sided level of the tests and intervals, and the power at which more votes are counted.
LEVEL, POWER = 0.05, 0.8

_COLUMNS = ("prompt", "left", "right", "vote")
_SUMMARY = (
    *("winner", "other", "wins", "losses", "ties", "both_bad", "identical"),
    *("rate", "low", "high", "p", "more"),
)


@dataclass(frozen=True)
class Vote:
    """One prompt, the adapters on the left and on the right, the vote, and the two answers."""

    prompt: str
    left: str
    right: str
    vote: str
    left_text: str
    right_text: str

    @property
    def order(self) -> tuple[str, str] | None:
        """The better and the worse adapter's name; None for a vote that is not decisive."""
        pairs = {LEFT: (self.left, self.right), RIGHT: (self.right, self.left)}
        return pairs.get(self.vote)


@dataclass(frozen=True)
class Pair:
    """The votes between two adapters; `winner` is the one with more of them, or the first by name.

    `rate` is wins / (wins + losses), None without a decisive vote.
    """

    winner: str
    other: str
    wins: int
    losses: int
    ties: int = 0
    both_bad: int = 0
    identical: int = 0

    @property
    def decisive(self) -> int:
        """How many votes name one side as better."""
        return self.wins + self.losses

    @property
    def rate(self) -> float | None:
        """The winner's share of the decisive votes."""
        return self.wins / self.decisive if self.decisive else None

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval of the rate (Clopper and Pearson, 1934), for this pair alone."""
        return interval(self.wins, self.decisive)

    @cached_property
    def p_value(self) -> float:
        """The exact two-sided binomial test of the rate against 1/2; 1.0 without decisive votes."""
        return p_value(self.wins, self.decisive)

    @cached_property
    def more(self) -> int | None:
        """How many more decisive votes are needed at the observed rate; see `votes_needed`.

        0 if the difference is more than noise already; None at a rate of 1/2, where no number is
        enough, and without a decisive vote, where none can be computed.
        """
        if self.rate is None or self.wins == self.losses:
            return None
        if self.p_value <= LEVEL:
            return 0
        return max(1, votes_needed(self.rate) - self.decisive)

    @property
    def line(self) -> str:
        """The result in one sentence."""
        if self.rate is None:
            return f"No decisive vote between {self.winner} and {self.other}."
        low, high = map(_percent, self.interval)
        span = f"95% interval {low} to {high}"
        if self.more is None:
            return (
                f"{self.winner} and {self.other} each won {self.wins} of {self.decisive} decisive "
                f"votes (50%, {span}): no difference seen, and none to find at this rate."
            )
        votes = f"{self.decisive} decisive vote{'s' * (self.decisive != 1)}"
        won = f"{self.winner} won {self.wins} of {votes} against {self.other}"
        share = _percent(self.rate)
        if not self.more:
            return f"{won} ({share}, {span}): more than noise, p = {self.p_value:.2g}."
        return (
            f"{won} ({share}, {span}): could be chance; about {self.more:,} more decisive "
            f"vote{'s' * (self.more != 1)} would tell, if the rate stays."
        )


@dataclass(frozen=True)
class Votes:
    """A blind comparison after the reveal: every vote with the adapters' names.

    `asked` is the number of prompts that had two different answers; fewer votes if the user ended
    it early.
    """

    votes: tuple[Vote, ...]
    asked: int

    def __add__(self, other: Votes) -> Votes:
        """The votes of both, as of two people or of more prompts."""
        if not isinstance(other, Votes):
            return NotImplemented
        return Votes(self.votes + other.votes, self.asked + other.asked)

    @property
    def cast(self) -> int:
        """How many votes were cast."""
        return sum(vote.vote != IDENTICAL for vote in self.votes)

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """The votes of each two adapters, the most decisive votes first."""
        groups: dict[tuple[str, str], list[Vote]] = {}
        for vote in self.votes:
            first, second = sorted((vote.left, vote.right))
            groups.setdefault((first, second), []).append(vote)
        found = [_pair(*names, votes) for names, votes in groups.items()]
        return tuple(sorted(found, key=lambda pair: -pair.decisive))

    @property
    def answers(self) -> DataFrame:
        """The texts that were voted on: columns prompt, left, right."""
        rows = [(vote.prompt, vote.left_text, vote.right_text) for vote in self.votes]
        return frame(rows, ("prompt", "left", "right"))

    @property
    def lines(self) -> tuple[str, ...]:
        """A sentence for the pair, or for those of several that differ by more than noise, then
        what the votes have in common."""
        if len(self.pairs) < 2:
            told = [pair.line for pair in self.pairs]
        else:
            clear = [pair.line for pair in self.pairs if pair.more == 0]
            rest = len(self.pairs) - len(clear)
            which = "any pair" if not clear else "the other pair" if rest == 1 else "the others"
            chance = f"The difference of {which} could be chance." if rest else ""
            told = [self._standing, *clear, chance]
        return tuple(filter(None, (*told, self._undecided, self._early, self._position)))

    @property
    def line(self) -> str:
        """The result in one line."""
        return " ".join(self.lines)

    @property
    def _standing(self) -> str:
        wins, decisive = Counter[str](), Counter[str]()
        for better, worse in filter(None, (vote.order for vote in self.votes)):
            wins[better] += 1
            decisive.update((better, worse))
        shares = sorted(decisive, key=lambda name: (-wins[name] / decisive[name], name))
        told = ", ".join(f"{name} {wins[name]} of {decisive[name]}" for name in shares)
        return f"Decisive votes won: {told or 'none'}."

    @property
    def _undecided(self) -> str:
        kinds = Counter(vote.vote for vote in self.votes)
        ties = f"{kinds[TIE]} tie{'s' * (kinds[TIE] != 1)}" if kinds[TIE] else ""
        bad = f"{kinds[BOTH_BAD]} both bad" if kinds[BOTH_BAD] else ""
        same = f"{kinds[IDENTICAL]} with identical answers, not asked" if kinds[IDENTICAL] else ""
        told = ", ".join(filter(None, (ties, bad, same)))
        return f"Not decisive: {told}." if told else ""

    @property
    def _early(self) -> str:
        return f"Ended after {self.cast} of {self.asked} votes." if self.cast < self.asked else ""

    @property
    def _position(self) -> str:
        """A remark if one side won too often, whichever adapter was there."""
        sides = Counter(vote.vote for vote in self.votes)
        side = LEFT if sides[LEFT] >= sides[RIGHT] else RIGHT
        decisive = sides[LEFT] + sides[RIGHT]
        if p_value(sides[side], decisive) > LEVEL:
            return ""
        return (
            f"The {side} side won {sides[side]} of {decisive} decisive votes, whichever adapter "
            "was there: the position may have had an influence."
        )

    def to_frame(self) -> DataFrame:
        """Columns prompt, left, right (the adapters' names), vote."""
        return frame(
            ([getattr(vote, column) for column in _COLUMNS] for vote in self.votes), _COLUMNS
        )

    def summary(self) -> DataFrame:
        """A row for each pair: counts, win rate, its exact 95 % interval, p, votes still needed."""
        rows = [
            (
                *(p.winner, p.other, p.wins, p.losses, p.ties, p.both_bad, p.identical),
                *(p.rate, *p.interval, p.p_value, p.more),
            )
            for p in self.pairs
        ]
        return frame(rows, _SUMMARY)

    def preferences(self) -> list[dict[str, str]]:
        """The decisive votes as rows to train on: prompt, chosen, rejected.

        Raises `DataError` if there are none.
        """
        rows = [
            {"prompt": vote.prompt, "chosen": chosen, "rejected": rejected}
            for vote in self.votes
            for chosen, rejected in _texts(vote)
        ]
        if not rows:
            raise DataError(
                f"none of the {self.cast} votes is decisive: expected at least one vote for left "
                "or right, which prefers an answer. Vote on more prompts."
            )
        return rows

    def __repr__(self) -> str:
        return "\n".join(map(one_line, self.lines))

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from lora_magic.views import votes as view

        return view.bundle(self)


def interval(wins: int, decisive: int) -> tuple[float, float]:
    """The exact two-sided 95 % interval of wins / decisive; (0, 1) without decisive votes."""
    if not decisive:
        return 0.0, 1.0
    from scipy.stats import binomtest

    found = binomtest(wins, decisive).proportion_ci(confidence_level=1 - LEVEL, method="exact")
    return float(found.low), float(found.high)


def p_value(wins: int, decisive: int) -> float:
    """The exact two-sided binomial test of wins / decisive against 1/2."""
    if not decisive:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(wins, decisive).pvalue)


def power(votes: Sequence[int] | Any, rate: float) -> Any:
    """The power of the exact two-sided test against 1/2 at level 5 %, if wins have this rate.

    P(X ≤ c) + P(X ≥ n − c) for X ~ Binomial(n, rate), where c is the largest number with
    P(X ≤ c) ≤ 2.5 % at a rate of 1/2. `votes` is a number n, or an array of them.
    """
    from scipy.stats import binom

    # `ppf` is the smallest c with P(X ≤ c) ≥ 2.5 %; no binomial at 1/2 meets 2.5 % exactly.
    at_most = binom.ppf(LEVEL / 2, votes, 0.5) - 1
    return binom.cdf(at_most, votes, rate) + binom.sf(votes - at_most - 1, votes, rate)


def votes_needed(rate: float) -> int:
    """The smallest number of decisive votes with a `power` of 80 % at this win rate.

    Raises `ValueError` at 1/2, where no number is enough.
    """
    import numpy

    distance = abs(rate - 0.5)
    if not distance:
        raise ValueError("at a win rate of 1/2 no number of votes is enough")
    # The normal approximation, (z(97.5 %)/2 + z(80 %)·√(p(1 − p)))² / (p − 1/2)², is close enough
    # to leave out most smaller numbers where there are many.
    about = (0.98 + 0.842 * (rate * (1 - rate)) ** 0.5) ** 2 / distance**2
    start = 1 if about < 500 else int(0.9 * about)
    while True:
        numbers = numpy.arange(start, start + max(64, start // 40))
        enough = numpy.flatnonzero(power(numbers, rate) >= POWER)
        if enough.size:
            return int(numbers[enough[0]])
        start = int(numbers[-1]) + 1


def _pair(first: str, second: str, votes: Iterable[Vote]) -> Pair:
    given = list(votes)
    orders = Counter(vote.order for vote in given)
    kinds = Counter(vote.vote for vote in given)
    rest = (kinds[TIE], kinds[BOTH_BAD], kinds[IDENTICAL])
    wins, losses = orders[first, second], orders[second, first]
    if losses > wins:
        return Pair(second, first, losses, wins, *rest)
    return Pair(first, second, wins, losses, *rest)


def _texts(vote: Vote) -> list[tuple[str, str]]:
    """The better and the worse answer, if the vote is decisive."""
    texts = {LEFT: (vote.left_text, vote.right_text), RIGHT: (vote.right_text, vote.left_text)}
    return [texts[vote.vote]] if vote.vote in texts else []


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"
