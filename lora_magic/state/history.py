"""The ledger as records: a session's entries or all of them, and how two runs differ.

Knows entries; knows no session and no model. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_magic.errors import StateError, listed, near
from lora_magic.frames import frame
from lora_magic.reading import UnreadableError

from .ledger import FILE, Entry, Ledger, read

COLUMNS = (
    *("session", "number", "when", "verb", "adapter", "state", "method", "rank", "spec", "parents"),
    *("data", "rows", "held_out", "steps", "loss", "held_out_loss", "seed", "seconds", "result"),
    *("base", "fingerprint", "workers", "engine"),
)

#: Fields of two entries that are compared, by the part of the table that shows them.
_PARTS = ("spec", "settings", "data", "outcome", "versions")
_SHOWN_AS = {"settings": "run", "outcome": "result", "versions": "version"}


@dataclass(frozen=True)
class History:
    """Entries of the ledger, the oldest first; `session` is the one that asked.

    `earlier` counts the entries of other sessions that are not among them. `unreadable` are the
    numbers of the ledger's lines that are no entry, such as one that a killed process has torn;
    `trouble` says why the file could not be read at all.
    """

    entries: tuple[Entry, ...]
    session: str
    earlier: int = 0
    unreadable: tuple[int, ...] = ()
    trouble: str = ""

    @property
    def line(self) -> str:
        """How many entries, and what is not shown."""
        count, sessions = len(self.entries), {entry.session for entry in self.entries}
        where = f"of {len(sessions)} session{'s' * (len(sessions) != 1)}"
        where = "in this session" if sessions <= {self.session} else where
        line = f"{count} entr{'y' if count == 1 else 'ies'} {where}"
        if self.earlier:
            line += f"; {self.earlier} of other sessions: %lora history --all"
        return "; ".join([line, *self.notes])

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read, if anything."""
        lost, notes = len(self.unreadable), []
        if lost:
            numbers = listed(map(str, self.unreadable))
            notes.append(f"{FILE}: line{'s' * (lost != 1)} {numbers} cannot be read, left out")
        return (*notes, *([self.trouble] if self.trouble else []))

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row for each entry; `loss` is the last step's, in nats.

        `workers` and `engine` are None but for a run that several processes shared.
        """
        return frame(map(_row, self.entries), COLUMNS)

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import history

        return history.bundle(self)


@dataclass(frozen=True)
class Difference:
    """Where the last runs of two adapters differ: rows of (part, field, first's, second's value).

    Equal fields are left out. `same_data` says whether both were trained on the same rows in the
    same order, by their sha256.
    """

    names: tuple[str, str]
    entries: tuple[Entry, Entry]
    rows: tuple[tuple[str, str, Any, Any], ...]

    @property
    def same_data(self) -> bool:
        """Were the rows the same?"""
        one, two = (entry.data.get("sha256") for entry in self.entries)
        return one == two and one is not None

    @property
    def line(self) -> str:
        """`pirate (entry 3) and calm (entry 5): same data; they differ in 4 fields`."""
        (one, two), (first, second) = self.names, self.entries
        data, count = "same data" if self.same_data else "other data", len(self.rows)
        differ = f"they differ in {count} field{'s' * (count != 1)}" if count else "all else equal"
        numbers = (first.number, second.number)
        if first.session != second.session:
            numbers = (first.id, second.id)  # type: ignore[assignment]  # a number or an id
        return f"{one} (entry {numbers[0]}) and {two} (entry {numbers[1]}): {data}; {differ}"

    def to_frame(self) -> Any:
        """A pandas DataFrame with columns part, field, first and second."""
        return frame(self.rows, ("part", "field", "first", "second"))

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        from lora_magic.views import history

        return history.difference(self)


def history(ledger: Ledger, home: Path, names: Sequence[str], every: bool) -> History | Difference:
    """The session's entries, with `every` those of all sessions in the home folder.

    One name leaves the entries about that adapter; two compare the last runs of two adapters.
    Raises `StateError` for a name without entries, or without a run.
    """
    found, bad, trouble = _all(ledger, home)
    if len(names) > 2:
        raise StateError(
            f"history {','.join(names)}: expected one adapter, or two to compare; got {len(names)}."
        )
    if len(names) == 2:
        return _difference((names[0], names[1]), found)
    chosen = [entry for entry in found if every or entry.session == ledger.session]
    rest = sum(entry.session != ledger.session for entry in found) if not every else 0
    if names:
        everywhere = {name for entry in found for name in _adapters(entry)}
        about = [entry for entry in chosen if names[0] in _adapters(entry)]
        if not about and names[0] in everywhere:
            about = [entry for entry in found if names[0] in _adapters(entry)]
        if not about:
            raise _unknown(names[0], everywhere)
        chosen, rest = about, 0
    return History(tuple(chosen), ledger.session, rest, tuple(bad), trouble)


def _all(ledger: Ledger, home: Path) -> tuple[list[Entry], list[int], str]:
    """The file's entries and those that only this session remembers."""
    bad: list[int] = []
    found: list[Entry] = []
    trouble = ""
    try:
        found, bad = read(home / FILE)
    except UnreadableError as error:
        trouble = f"{home / FILE} cannot be read: {error}"
    known = {entry.id for entry in found}
    return [*found, *(e for e in ledger.entries if e.id not in known)], bad, trouble


def _adapters(entry: Entry) -> set[str]:
    named = {part.partition("=")[0] for part in (entry.adapter or "").split(",")}
    return {*named, *(name for name, _ in entry.parents)} - {""}


def _unknown(name: str, known: set[str]) -> StateError:
    names = sorted(known)
    return StateError(
        f"history: no entry about {name!r}; there are some about {listed(names)}."
        f"{near(name, names)} To see all, type: %lora history --all"
    )


def _difference(names: tuple[str, str], found: Sequence[Entry]) -> Difference:
    runs = {entry.adapter: entry for entry in found if entry.verb in ("train", "sweep")}
    for name in names:
        if name not in runs:
            trained = sorted(str(known) for known in runs)
            raise StateError(
                f"history: no run of {name!r} is recorded; there are runs of {listed(trained)}."
                f"{near(name, trained)} To see all, type: %lora history --all"
            )
    first, second = (runs[name] for name in names)
    rows = [
        (_SHOWN_AS.get(part, part), key, one.get(key), two.get(key))
        for part in _PARTS
        for one, two in [_part(first, second, part)]
        for key in dict.fromkeys([*one, *two])
        if one.get(key) != two.get(key)
    ]
    for key in ("state", "base", "fingerprint"):
        pair = getattr(first, key), getattr(second, key)
        if pair[0] != pair[1]:
            rows.append(("result" if key == "state" else "base", key, *pair))
    return Difference(names, (first, second), tuple(rows))


def _part(first: Entry, second: Entry, part: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return getattr(first, part), getattr(second, part)


def _row(entry: Entry) -> tuple[Any, ...]:
    spec, data, outcome, run = entry.spec, entry.data, entry.outcome, entry.settings
    told = " ".join(f"{key}={value}" for key, value in spec.items() if value not in _UNSET)
    parents = " ".join(f"{name}:{made}" for name, made in entry.parents)
    return (
        *(entry.session, entry.number, entry.when, entry.verb, entry.adapter, entry.state),
        *(spec.get("method"), spec.get("rank"), told, parents),
        *(data.get("sha256"), data.get("rows"), data.get("held_out")),
        *(outcome.get("steps"), outcome.get("last_loss"), outcome.get("held_out_after")),
        *(entry.seed, entry.seconds, entry.result, entry.base, entry.fingerprint),
        *(run.get("workers"), run.get("engine")),
    )


#: Values of a spec that say nothing: the field was not set, or the method does not read it.
_UNSET: tuple[object, ...] = (0, "", "none", "default", [])
