"""The ledger: what each verb changed, one line of JSON each, appended to the home folder.

A line is written at once, so a kill leaves all earlier ones, and at most the last is torn. It holds
names, numbers and hashes, never a row and never a prompt. Knows what a session looked like before
and after a verb; does not know what the verb does. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import uuid
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_magic import reading
from lora_magic.adapters import fields as typed
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.checks import is_number, is_whole
from lora_magic.errors import LoraMagicError, TrainingStopped
from lora_magic.printable import message, one_line

from . import home as homes

if TYPE_CHECKING:
    from lora_magic.adapters.live_adapter import Record
    from lora_magic.base.prompt import PromptForm
    from lora_magic.training.spec import TrainSpec
    from lora_magic.training.summary import RunSummary

    from .session_state import SessionState

FILE = "ledger.jsonl"

#: The verbs that are recorded if they changed something. `swap` is one: it makes nothing, but it
#: decides which adapter answers from then on, and which one `merge` and `save` take by default.
RECORDED = frozenset(
    {
        *("load", "use", "reset", "attach", "detach", "train", "sweep", "swap", "merge", "unmerge"),
        *("blend", "compress", "save", "open", "export"),
    }
)

#: These change files or weights even where nothing that the session knows is different afterwards.
_ALWAYS = frozenset({"train", "save", "export"})

#: A run's state in the ledger.
DONE, STOPPED, FAILED = "done", "stopped", "failed"


@dataclass(frozen=True)
class Entry:
    """One verb: `id` is unique, `number` counts the session's entries from 1.

    `when` is the time of its end (ISO 8601, UTC), `seconds` how long it took. `parents` are the
    adapters that it began with, each with the id of the entry that last changed it. `spec` is an
    `AdapterSpec`, `settings` a run's `TrainSpec`, prompt form and workers, if it had several, as
    plain values; `data` has the sha256 of the rows and their counts, `outcome` a run's steps,
    losses (nats per token) and what it forgot. `result` is the receipt's line.
    """

    session: str
    number: int
    when: str
    verb: str
    adapter: str | None = None
    state: str = DONE
    result: str = ""
    seconds: float = 0.0
    parents: tuple[tuple[str, str], ...] = ()
    spec: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    outcome: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    base: str | None = None
    fingerprint: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`3f2a9c1b/4`: the session and the number."""
        return f"{self.session}/{self.number}"


@dataclass(eq=False)
class Run:
    """A run that a verb has begun: what the ledger knows of it even if it fails.

    If it is `resumed`, that is the number of steps that it had finished before. `workers` says how
    many processes shared it, if several did (`Workers.recorded`). `error` is its own, if the verb
    went on with the runs of other adapters.
    """

    adapter: str
    settings: TrainSpec
    form: PromptForm | None
    data_hash: str
    rows: int
    resumed: int = 0
    workers: Mapping[str, Any] = field(default_factory=dict)
    summary: RunSummary | None = None
    error: LoraMagicError | None = None


@dataclass(frozen=True, eq=False)
class Scene:
    """What a session holds, as names, numbers and identities: it keeps no model alive."""

    key: tuple[object, ...]
    base: tuple[str, str] | None
    attached: Mapping[str, tuple[int, AdapterSpec, tuple[str, ...], Record]]
    active: str
    merged: str | None

    @classmethod
    def of(cls, state: SessionState) -> Scene:
        """What the session holds now."""
        base = None
        if not state.empty:
            base = one_line(state.base.name), state.base.fingerprint.digest
        attached = {
            name: (id(a), a.spec, a.parents, a.recorded()) for name, a in state.attached.items()
        }
        return cls(state.key, base, attached, state.active, state.merged)

    def differs(self, other: Scene) -> bool:
        """Has something changed?"""
        return any(
            getattr(self, name) != getattr(other, name)
            for name in ("key", "base", "attached", "active", "merged")
        )


@dataclass(frozen=True, eq=False)
class Done:
    """A verb that has ended: its name, what it was called with, the scenes and its value or error.

    `run` is the training run that it began, if it did; `named` its first argument.
    """

    verb: str
    named: object
    more: bool
    before: Scene
    after: Scene
    seconds: float
    run: Run | None = None
    value: Any = None
    error: BaseException | None = None

    @property
    def counts(self) -> bool:
        """Did it change something? A run that failed is recorded too, a search for a rate not."""
        if self.error is not None or self.verb == "train":
            return self.run is not None
        return self.verb in _ALWAYS or self.before.differs(self.after)

    @property
    def adapter(self) -> str | None:
        """The adapter that it was about; several as `a=0.7,b=0.3`."""
        if self.run is not None:
            return self.run.adapter
        if self.verb in ("load", "use", "reset"):
            return None
        if self.verb in ("attach", "open", "blend", "export"):
            return str(self.value.name)
        if self.verb == "merge":
            return str(self.value.adapter)
        if self.verb == "compress":
            return str(self.value.new)
        if self.verb == "swap":
            return self.after.active
        if self.verb == "unmerge":
            return self.before.merged
        return self.named if isinstance(self.named, str) else self.before.active

    @property
    def made(self) -> list[str]:
        """The adapters that did not exist before it."""
        known = {name: found[0] for name, found in self.before.attached.items()}
        return [name for name, found in self.after.attached.items() if known.get(name) != found[0]]

    @property
    def began_with(self) -> list[str]:
        """The adapters that its result follows from."""
        name = self.adapter
        if name is None or self.verb in ("attach", "open"):
            return []
        if name in self.made:
            return list(self.after.attached[name][2])
        return [part.partition("=")[0] for part in name.split(",")]

    @property
    def spec(self) -> AdapterSpec | None:
        """The spec of the one adapter that it was about."""
        name = self.adapter or ""
        found = self.after.attached.get(name) or self.before.attached.get(name)
        return None if found is None else found[1]

    @property
    def state(self) -> str:
        """A run's state; every other recorded verb is done."""
        if self.run is None:
            return DONE
        if self.run.summary is None:
            # A sweep may be stopped before it has chosen an adapter.
            return STOPPED if isinstance(self.error, TrainingStopped) else FAILED
        return STOPPED if self.run.summary.stopped else DONE

    @property
    def result(self) -> str:
        """The receipt's line; an error's only if it is ours, since others may quote a row."""
        summary = self.run.summary if self.run else None
        resumed = (
            f"resumed after step {self.run.resumed}: " if self.run and self.run.resumed else ""
        )
        if summary is not None and self.verb != "sweep":
            return resumed + summary.line
        if self.error is not None:
            known = isinstance(self.error, LoraMagicError)
            kind = type(self.error).__name__
            return resumed + (message(str(self.error)) if known else f"failed: {kind}")
        return message(str(getattr(self.value, "line", "")))


class Ledger:
    """The entries of one session, which it also appends to the home folder.

    What could not be written is kept, and written with the next entry that can be. `written` is
    false for a session whose entries belong into no file.
    """

    def __init__(self, written: bool = True) -> None:
        self.session = uuid.uuid4().hex[:8]
        self._lines: list[bytes] = []
        self._entries: list[Entry] = []
        self.written = written
        self._unwritten = b""
        self._made: dict[str, str] = {}
        self._changed: dict[str, str] = {}
        self._told: set[str] = set()

    @property
    def entries(self) -> list[Entry]:
        """The entries of this session: what a later kernel reads of each line."""
        # Read when they are looked at, since a toggle of adapters records one each time.
        self._entries += map(_read, self._lines[len(self._entries) :])
        return self._entries

    def add(self, done: Done, home: Path) -> None:
        """Record a verb, if it changed something."""
        if done.counts:
            self._add(done)
            self._write(home)

    def could_not_write(self, home: Path, error: Exception) -> None:
        """Warn that the ledger is only in memory."""
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        self._tell(
            f"{home / FILE} could not be written ({why}); what was done is done, and this session "
            "remembers it (%lora history)."
        )

    def _add(self, done: Done) -> None:
        entry = self._entry(done)
        line = json.dumps(_plain(asdict(entry)), allow_nan=False).encode()
        self._lines.append(line)
        self._unwritten += line + b"\n"
        for name in done.made:
            self._made[name] = self._changed[name] = entry.id
        if done.run is not None and done.run.summary is not None:
            self._changed[done.run.adapter] = entry.id
        for known in (self._made, self._changed):
            for name in known.keys() - done.after.attached.keys():
                del known[name]

    def _entry(self, done: Done) -> Entry:
        fresh = done.verb == "train" and not done.more and not (done.run and done.run.resumed)
        known = self._made if fresh else self._changed
        spec, base = done.spec, done.after.base or done.before.base
        run = done.run
        settings = {} if run is None else {**asdict(run.settings), **_form(run.form), **run.workers}
        return Entry(
            session=self.session,
            number=len(self._lines) + 1,
            when=datetime.now(UTC).isoformat(timespec="milliseconds"),
            verb=done.verb,
            adapter=done.adapter,
            state=done.state,
            result=done.result,
            seconds=round(done.seconds, 6),
            parents=tuple((name, known.get(name, "")) for name in done.began_with),
            spec={} if spec is None else asdict(spec),
            settings=settings,
            data={} if run is None else _data(run),
            outcome={} if run is None else _outcome(run),
            seed=settings.get("seed", None if spec is None else spec.seed),
            base=base and base[0],
            fingerprint=base and base[1],
            versions=_versions(),
        )

    def _write(self, home: Path) -> None:
        """Append what is not written yet, and tell of another kernel in this folder."""
        if not self.written:
            return
        other = homes.shared_with(home)
        home.mkdir(parents=True, exist_ok=True)
        append(home / FILE, self._unwritten)
        self._unwritten = b""
        if other is not None:
            self._tell(
                f"{other} uses the home folder {home} too; both are recorded in its ledger, and a "
                "checkpoint or adapter of the same name is overwritten. For a folder of its own: "
                "%lora load MODEL --home FOLDER"
            )

    def _tell(self, line: str) -> None:
        """Warn once of each thing."""
        if line not in self._told:
            self._told.add(line)
            # Where warnings are errors, this one would undo a verb that is done.
            with suppress(Warning):
                warnings.warn(line, RuntimeWarning, stacklevel=2)


def append(path: Path, lines: bytes) -> None:
    """Append whole lines in one write, which other processes' writes cannot mix with.

    A line that a killed process has torn is ended first, so that only that one is lost. Raises
    `OSError`.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
    opened = os.open(path, flags | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError("it is not a file")
        end = os.lseek(opened, 0, os.SEEK_END)
        if end:
            os.lseek(opened, end - 1, os.SEEK_SET)
            if os.read(opened, 1) != b"\n":
                lines = b"\n" + lines
        if os.write(opened, lines) < len(lines):
            raise OSError("the disk is full")
    finally:
        os.close(opened)


def read(path: Path) -> tuple[list[Entry], list[int]]:
    """The entries of a file, and the numbers of the lines that are none. No file has no entries.

    Raises `UnreadableError` for what is not a regular file, or cannot be opened.
    """
    if not os.path.lexists(path):
        return [], []
    found: dict[str, Entry] = {}
    bad = []
    for number, line in enumerate(reading.read_bytes(path).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = _read(line)
        except (ValueError, UnicodeDecodeError):
            bad.append(number)
        else:
            found[entry.id] = entry
    return list(found.values()), bad


def _read(line: bytes) -> Entry:
    values = reading.parse_json(line.decode())
    if isinstance(values, dict):
        # A later version may record more.
        values = {f.name: values[f.name] for f in fields(Entry) if f.name in values}
    return typed.record(Entry, values)


def _form(form: PromptForm | None) -> dict[str, Any]:
    """The prompt form; of the system message only a hash."""
    if form is None:
        return {}
    system = form.system and hashlib.sha256(form.system.encode()).hexdigest()
    return {"template": form.kind, "system_sha256": system}


def _data(run: Run) -> dict[str, Any]:
    data: dict[str, Any] = {"sha256": run.data_hash, "rows": run.rows}
    if (done := run.summary) is not None:
        data |= {"trained": done.examples, "held_out": done.held_out}
        data |= {"cut": done.cut, "empty": done.empty}
    return data


def _outcome(run: Run) -> dict[str, Any]:
    resumed, summary = {"resumed_after": run.resumed} if run.resumed else {}, run.summary
    if summary is None:
        return dict(resumed)
    names = ("steps", "planned_steps", "first_loss", "last_loss", "held_out_before")
    kept = dict(fact for one in (summary.guard, summary.forgetting) if one for fact in one.facts)
    told = {name: getattr(summary, name) for name in (*names, "held_out_after")}
    return {**resumed, **told, **kept}


@cache
def _versions() -> dict[str, str]:
    """Python's version and those of the libraries that a result depends on."""
    # Slow to import, and a plan needs none of it.
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for library in ("lora_magic", "torch", "transformers", "peft"):
        with suppress(PackageNotFoundError):
            found[library] = version(library)
    return found


def _plain(value: Any) -> Any:
    """A value as JSON knows it: a number that is not finite is null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | str):
        return value
    if is_whole(value):
        return int(value)
    if is_number(value):
        number = float(value)
        return number if abs(number) < float("inf") else None
    return str(value)
