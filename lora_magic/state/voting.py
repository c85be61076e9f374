"""Blind votes: whose answer is on which side is hidden until the end.

A ballot holds the answers, the sides and the votes, and belongs to its session, which returns the
same one when the same comparison is begun again; so an interrupted vote continues. It is kept until
the kernel ends, not on disk, where the sides could be read before the reveal. Knows the session's
state and texts; knows no notebook.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, cycle
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from lora_magic.adapters.spec import BASE_NAME
from lora_magic.base.fingerprint import bits_sum
from lora_magic.compare.comparison import Comparison
from lora_magic.compare.limits import check_flags
from lora_magic.errors import CommandError, Interrupted, StateError, near
from lora_magic.evaluation.votes import CHOICES, IDENTICAL, Vote, Votes
from lora_magic.printable import clean, one_line

from . import comparing, queries

if TYPE_CHECKING:
    from pandas import DataFrame

    from .comparing import OnUnfinished
    from .session_state import SessionState

#: Where the sides come from: the operating system, so that nobody can predict them.
sides: Callable[[], Random] = SystemRandom
#: The line of a ballot whose adapters were trained again after the last one.
CHANGED = "The base or an adapter has changed since the last votes: a new ballot."


@dataclass(frozen=True, repr=False)
class Ask:
    """One prompt with its two answers, in the order in which they are shown.

    Its repr shows no field, since a traceback or a debugger may print it before the reveal.
    """

    prompt: str
    left: str
    right: str
    left_text: str
    right_text: str

    def voted(self, vote: str) -> Vote:
        """The vote on it, with the names."""
        return Vote(self.prompt, self.left, self.right, vote, self.left_text, self.right_text)


class Ballot:
    """A blind comparison under way: one prompt after the other, two answers, one vote each.

    `prompt`, `left` and `right` are the current texts; `vote` is "left", "right", "tie" or "both
    bad", `back` takes the last vote back, `finish` ends early. After the last vote, or `finish`,
    `result` returns the `Votes` with the adapters' names, and no vote can be changed.
    """

    def __init__(self, asks: Sequence[Ask], notes: Sequence[str] = ()) -> None:
        self._asks = [ask for ask in asks if ask.left_text != ask.right_text]
        self._same = [ask for ask in asks if ask.left_text == ask.right_text]
        self._votes: list[str] = []
        self._finished = not self._asks
        self._lock = threading.RLock()
        self._listeners: list[WeakMethod[Callable[[], None]]] = []
        same = len(self._same)
        told = f"{same} prompt{'s' * (same != 1)} with identical answers left out."
        self.notes = (*notes, *([told] if same else []))

    @property
    def asked(self) -> int:
        """How many prompts there are to vote on: those with two different answers."""
        return len(self._asks)

    @property
    def cast(self) -> int:
        """How many votes are cast."""
        return len(self._votes)

    @property
    def done(self) -> bool:
        """Has the user voted on all prompts, or ended early?"""
        return self._finished

    @property
    def prompt(self) -> str:
        """The current prompt."""
        return self._current.prompt

    @property
    def left(self) -> str:
        """The answer on the left."""
        return self._current.left_text

    @property
    def right(self) -> str:
        """The answer on the right."""
        return self._current.right_text

    @property
    def _current(self) -> Ask:
        self._refuse_if_done("show")
        return self._asks[self.cast]

    @property
    def progress(self) -> str:
        """How far it is, in one line without names."""
        count = f"{self.cast} of {self.asked} vote{'s' * (self.asked != 1)}"
        return " ".join((f"Blind comparison: {count}.", *self.notes))

    def vote(self, choice: str) -> None:
        """Vote on the current prompt: "left", "right", "tie" or "both bad".

        Raises `CommandError` for another choice, `StateError` after the end.
        """
        with self._lock:
            self._refuse_if_done("vote")
            if choice not in CHOICES:
                hint = near(choice, CHOICES) if isinstance(choice, str) else ""
                raise CommandError(f"vote {choice!r}: expected one of {', '.join(CHOICES)}.{hint}")
            self._votes.append(choice)
            self._finished = self.cast == self.asked
        self._changed()

    def back(self) -> None:
        """Take the last vote back and show its prompt again.

        Raises `StateError` before the first vote and after the end.
        """
        with self._lock:
            self._refuse_if_done("go back")
            if not self._votes:
                raise StateError("this is the first prompt: there is no vote to take back.")
            self._votes.pop()
        self._changed()

    def finish(self) -> Votes:
        """End now, and return the result of the votes cast so far, with the names.

        Raises `StateError` before the first vote.
        """
        with self._lock:
            if not self._votes and not self._finished:
                raise StateError("no vote is cast yet: vote on at least one prompt before the end.")
            self._finished = True
        self._changed()
        return self.result()

    def result(self) -> Votes:
        """The votes with the adapters' names; raises `StateError` before the end."""
        if not self.done:
            raise StateError(
                f"{self.cast} of {self.asked} votes are cast, and names are shown at the end: vote "
                "on, or end now with .finish()"
            )
        cast = [ask.voted(vote) for ask, vote in zip(self._asks, self._votes, strict=False)]
        same = [ask.voted(IDENTICAL) for ask in self._same]
        return Votes((*cast, *same), self.asked)

    def to_frame(self) -> DataFrame:
        """The frame of the result; raises `StateError` before the end."""
        return self.result().to_frame()

    def preferences(self) -> list[dict[str, str]]:
        """The rows of the result to train on; raises `StateError` before the end."""
        return self.result().preferences()

    def listen(self, changed: Callable[[], None]) -> None:
        """Call this method after every vote, as long as its object lives."""
        self._listeners.append(WeakMethod(changed))

    def _changed(self) -> None:
        for reference in list(self._listeners):
            method = reference()
            if method is None:
                self._listeners.remove(reference)
            else:
                method()

    def _refuse_if_done(self, doing: str) -> None:
        if self.done:
            raise StateError(
                f"cannot {doing}: this blind comparison has ended and the names are known; see "
                ".result()"
            )

    def __repr__(self) -> str:
        if self.done:
            return repr(self.result())
        texts = (f"> {self.prompt}", f"[left]\n{self.left}", f"[right]\n{self.right}")
        how = (
            'To vote: ballot = _, then ballot.vote("left"), or "right", "tie", "both bad"; '
            "ballot.back() takes the last vote back."
        )
        return "\n\n".join((one_line(self.progress), *map(clean, texts), how))


#: Begun ballots by what was compared, each with the weights that answered.
Ballots = dict[tuple[Any, ...], tuple[tuple[Any, ...], Ballot]]


def begin(
    ballots: Ballots,
    state: SessionState,
    prompts: Sequence[Any],
    adapters: str | Sequence[str] | None,
    sampling: Mapping[str, Any],
    watch: OnUnfinished | None,
    rows: Sequence[str] | None = None,
) -> Ballot:
    """The ballot of these prompts, or rows of data, and adapters: new, or the one begun before.

    With more than two adapters each prompt shows two of them, every pair equally often. Without
    `adapters` the base and all that were trained are compared. Raises `CommandError` for one
    adapter alone, `StateError` for a classifier, whatever a comparison raises, and `Interrupted` if
    `watch` ends the answers early.
    """
    names = _names(state, adapters)
    check_flags(**sampling)
    texts, left_out = comparing.once(prompts, rows)
    asked = (tuple(texts), tuple(sorted(names)), *sampling.values())
    weights = _weights(state, sorted(names))
    before, ballot = ballots.get(asked, (None, None))
    if ballot is not None and before == weights:
        return ballot
    answered = comparing.answers(state, texts, names, sampling, watch)
    assert isinstance(answered, Comparison)
    if answered.stopped:
        raise Interrupted(
            "compare --blind was stopped before all answers were complete, so no vote has begun; "
            "run it again."
        )
    notes = [CHANGED] if ballot is not None else []
    notes += [f"{note[0].upper()}{note[1:]}." for note in left_out]
    pairs = len(names) * (len(names) - 1) // 2
    if pairs > len(texts):
        notes.append(f"{len(texts)} of {pairs} pairs of adapters are shown: add prompts for more.")
    ballot = Ballot(_asks(answered, texts, names, sides()), notes)
    ballots[asked] = weights, ballot
    return ballot


def _names(state: SessionState, adapters: str | Sequence[str] | None) -> list[str]:
    """The adapters to compare, the base among them only if it is named, or if none is."""
    if state.base.task.classifies:
        raise StateError(
            "compare --blind: a classifier answers with label probabilities, which show no "
            "preference; omit --blind to compare them."
        )
    found = [variant.name for variant in queries.variants(state, adapters)]
    if adapters is not None:
        named = queries.adapter_names(adapters)
        found = [name for name in found if name in named]
    if len(found) > 1:
        return found
    other = found[0] if found[0] != BASE_NAME else next(iter(queries.compared(state)), None)
    if other is None:
        raise StateError("compare --blind: no adapter is attached; type: %lora attach NAME")
    raise CommandError(
        f"compare --blind: a vote needs two adapters, got {found[0]} alone; type: %lora compare "
        f"--blind --adapters {BASE_NAME},{other} {queries.prompt_of(state.view())}"
    )


def _weights(state: SessionState, names: Sequence[str]) -> tuple[Any, ...]:
    """What the answers depend on beside prompts and sampling: it changes with any weight."""
    found: list[Any] = [state.base.fingerprint.digest]
    for name in names:
        parts = [part.partition("=")[0] for part in name.split(",")]
        for one in (state.attached[part] for part in parts if part in state.attached):
            sums = {path: bits_sum(tensor) for path, tensor in one.tensors()}
            found.append((one.spec, sums))
        found.append((name, state.form_of(name)))
    return tuple(found)


def _asks(
    answered: Comparison, prompts: Sequence[str], names: Sequence[str], random: Random
) -> list[Ask]:
    """A pair of answers for each prompt: pairs in turn, in a random order, on random sides."""
    texts = {(pane.prompt, pane.adapter): pane.text for pane in answered.panes}
    pairs = list(combinations(names, 2))
    random.shuffle(pairs)
    found = []
    for prompt, pair in zip(prompts, cycle(pairs), strict=False):
        left, right = random.sample(pair, 2)
        found.append(Ask(prompt, left, right, texts[prompt, left], texts[prompt, right]))
    return found
