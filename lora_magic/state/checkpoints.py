"""Checkpoints of unfinished runs in the home folder: `checkpoints/NAME`, one for each adapter.

A checkpoint has the run's snapshot, and what a run must be to continue from it: base, spec,
settings, prompt form and the sha256 of the rows; never the rows, and no path. It replaces the last
one in one step. It is removed when a run of that adapter ends, and at no other time: `detach` and
`reset` keep it, as the end of a kernel does. Knows folders and adapters; knows no step of a run.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
import warnings
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from lora_magic import reading
from lora_magic.adapters import attach, card
from lora_magic.adapters.files import read_tensors
from lora_magic.adapters.live_adapter import History, LiveAdapter
from lora_magic.adapters.replace import leftovers, locked, replace, settle
from lora_magic.adapters.spec import AdapterSpec
from lora_magic.base.device import out_of_memory
from lora_magic.base.model import BaseModel
from lora_magic.base.prompt import PromptForm
from lora_magic.checks import is_number
from lora_magic.errors import AdapterError, CommandError, TrainingError, listed
from lora_magic.training import checkpoint
from lora_magic.training.encode import Encoded
from lora_magic.training.progress import Snapshot
from lora_magic.training.spec import TrainSpec

from .session_state import SessionState

FOLDER = "checkpoints"

#: Seconds between two checkpoints.
EVERY = 60.0

#: A checkpoint that takes long is written less often: it takes at most this share of the time.
_SHARE = 0.05

ABOUT_FILE, STATE_FILE, TENSORS_FILE = "checkpoint.json", "state.json", "state.safetensors"
_FILES = (ABOUT_FILE, STATE_FILE, TENSORS_FILE)

#: The field of checkpoint.json with the sha256 of the other two files.
_SUMS = "sha256"

_FORMAT = 1
_ABOUT_BYTES = 1_000_000

#: Most bytes for each byte of an adapter: its weights twice, moments, AdaLoRA's means, and room.
_TIMES, _MORE = 16, 64_000_000

#: Settings that do not change what is learned until the run ends.
_FREE = {"minutes", "report_to"}

#: The flags of settings that have another name.
_FLAG_OF = {"learning_rate": "lr", "more": "continue"}


@dataclass(frozen=True)
class About:
    """What a run is: another run may not continue from its checkpoint.

    `spec` and `settings` are those of the adapter and of the run as planned, `form` the prompt form
    (None for a classifier), `before` the adapter's history before the run, `more` whether it began
    with trained weights. `start` is the sha256 of the adapter's initial state, which `attach` made
    from the spec if `attached`; `data` that of the rows, `tokens` that of what they became. `flags`
    are those given. `guard` is the sha256 of the measured rows of `--guard`, "" without, and
    `guard_before` their loss before the run. The run has finished `step` of `steps` steps, on
    `machine`.
    """

    name: str
    base: str
    fingerprint: str
    spec: AdapterSpec
    settings: TrainSpec
    form: PromptForm | None
    before: History
    more: bool
    attached: bool
    start: str
    data: str
    tokens: str
    flags: dict[str, str]
    versions: dict[str, str]
    machine: str
    guard: str = ""
    guard_before: float | None = None
    step: int = 0
    steps: int = 0
    format: int = _FORMAT


def about(
    state: SessionState,
    adapter: LiveAdapter,
    encoded: Encoded,
    settings: TrainSpec,
    form: PromptForm | None,
    *,
    more: bool,
    flags: Mapping[str, Any],
) -> About:
    """What a run that begins now is."""
    base, history = state.base, adapter.start_history
    return About(
        name=adapter.name,
        # On another machine the same base may be in another folder.
        base=Path(base.name).name if Path(base.name).is_absolute() else base.name,
        fingerprint=base.fingerprint.digest,
        spec=adapter.spec,
        settings=settings,
        form=form,
        before=adapter.history if more else history,
        more=more,
        attached=not (adapter.source or adapter.parents or history != History()),
        start=_digest(adapter.start),
        data=encoded.data_hash,
        tokens=_tokens(encoded),
        flags={name: _told(value) for name, value in flags.items() if value is not None},
        versions=card.versions(),
        machine=_machine(base),
    )


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        raw = tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(f"{name} {tuple(tensors[name].shape)}".encode())
        digest.update(raw.numpy().tobytes())
    return digest.hexdigest()


def _tokens(encoded: Encoded) -> str:
    digest = hashlib.sha256()
    for example in encoded.examples:
        label = () if example.label is None else (example.label,)
        for ids in (example.tokens, example.labels, label):
            digest.update(array("q", [len(ids), *ids]).tobytes())
    return digest.hexdigest()


def _told(value: Any) -> str:
    """A flag's value for a message; no part of the rows."""
    return str(value) if isinstance(value, str | bool) or is_number(value) else type(value).__name__


def _machine(base: BaseModel) -> str:
    if base.device.type == "cuda":
        return torch.cuda.get_device_name(base.device)
    return str(base.device.type)


# Reading


@dataclass(frozen=True)
class Found:
    """A checkpoint in a folder, before its snapshot is read."""

    folder: Path
    about: About
    sums: Mapping[str, str]

    def adapter(self, state: SessionState) -> LiveAdapter:
        """The adapter of the run: the attached one, else a new one by the checkpoint's spec.

        It is not kept yet. Raises `TrainingError` for another base, spec or initial state.
        """
        own, base = self.about, state.base
        if own.fingerprint != base.fingerprint.digest:
            raise TrainingError(
                f"{own.name}: the checkpoint is of a run on {own.base} with the weights "
                f"{own.fingerprint}, and those of {base.name} are {base.fingerprint.digest}; load "
                "that base, or run the cell without --resume."
            )
        found = state.attached.get(own.name)
        if found is None and not own.attached:
            raise TrainingError(
                f"{own.name} was opened or made from others before the run; make it again under "
                "this name, then run the cell again with --resume."
            )
        if found is not None and found.spec != own.spec:
            raise TrainingError(
                f"{own.name} is attached with another spec than the checkpoint's "
                f"({found.spec.difference(own.spec)}); detach it, and run the cell again: "
                f"%lora detach {own.name} --discard"
            )
        if found is not None and _digest(found.start) != own.start and not _is_made(found, own):
            raise TrainingError(
                f"{own.name} has other initial weights than the checkpoint's run began with; "
                f"detach it, and run the cell again: %lora detach {own.name} --discard"
            )
        return found or attach.create(base, state.slots, own.name, own.spec)

    def refuse_another(self, now: About) -> None:
        """Raise `TrainingError` with all that differs in the run that is to continue."""
        was, faults = self.about, []
        if was.data != now.data:
            faults.append(f"the rows differ (sha256 {was.data[:12]} was, {now.data[:12]} is)")
        if was.guard != now.guard:
            had, has = (about.guard[:12] or "none" for about in (was, now))
            faults.append(f"the rows of --guard differ (sha256 {had} was, {has} is)")
        if was.more != now.more:
            faults.append(f"--continue was {_on(was.more)}, is {_on(now.more)}")
        faults += self._settings(now)
        if not faults and was.tokens != now.tokens:
            faults.append("the tokenizer or its template turns the rows into other tokens")
        if faults:
            raise TrainingError(
                f"{now.name}: the run differs from that of the checkpoint: {'; '.join(faults)}. "
                "Type what was, or run the cell without --resume."
            )

    def _settings(self, now: About) -> list[str]:
        """The flags that make a difference; without any, the settings if the rows are the same."""
        was = self.about
        one, two = ({**asdict(a.settings), **_form_fields(a.form)} for a in (was, now))
        changed = [name for name in one if one[name] != two[name] and name not in _FREE]
        if not changed:
            return []
        names = sorted((was.flags.keys() | now.flags.keys()) - _FREE)
        found = [
            f"--{name.replace('_', '-')} was {was.flags.get(name, 'not given')[:60]}, "
            f"is {now.flags.get(name, 'not given')[:60]}"
            for name in names
            if was.flags.get(name) != now.flags.get(name)
        ]
        if found or was.data != now.data:
            return found
        return [f"{name} was {one[name]}, is {two[name]}" for name in changed]

    def remarks(self, now: About) -> tuple[str, ...]:
        """Why the run will not end with exactly the bits that it would have had."""
        was = self.about
        names = [n for n in was.versions if was.versions[n] != now.versions.get(n)]
        found = [f"{n} was {was.versions[n]}, is {now.versions.get(n, 'missing')}" for n in names]
        if was.machine != now.machine:
            found.append(f"it ran on {was.machine}, now on {now.machine}")
        if was.start != now.start:
            found.append("this machine computes other initial weights")
        return tuple(found)

    def snapshot(self, adapter: LiveAdapter) -> Snapshot:
        """The run as it was. Raises `TrainingError` for files that are damaged or do not fit."""
        most = _MORE + _TIMES * sum(t.numel() * t.element_size() for _, t in adapter.tensors())
        try:
            values = reading.read_json(self.folder / STATE_FILE)
            tensors = read_tensors(self.folder / TENSORS_FILE, most)
            sums = {name: _sum(self.folder / name) for name in (STATE_FILE, TENSORS_FILE)}
            if sums != self.sums:
                raise ValueError("its files are not of one checkpoint")
            return checkpoint.record(Snapshot, values, tensors)
        except (OSError, ValueError, AdapterError, RecursionError) as error:
            raise _unusable(self.folder, error) from error


def _on(flag: bool) -> str:
    return "given" if flag else "not given"


def _form_fields(form: PromptForm | None) -> dict[str, Any]:
    return {f"prompt form {k}": v for k, v in asdict(form).items()} if form else {}


def _is_made(found: LiveAdapter, own: About) -> bool:
    """Did `attach` make both? Then only the machine can be the reason of other initial weights."""
    made = not (found.source or found.parents or found.start_history != History())
    return own.attached and made


def _unusable(folder: Path, error: object) -> TrainingError:
    return TrainingError(
        f"{folder} cannot be resumed ({str(error)[:300].rstrip('.')}); run the cell without "
        "--resume."
    )


def find(home: Path, name: str) -> Found:
    """The checkpoint of an adapter's run.

    Raises `CommandError` if there is none, and `TrainingError` if it cannot be read.
    """
    folder = home / FOLDER / name
    with suppress(OSError, ValueError):
        if leftovers(folder):
            with locked(folder, 0):
                settle(folder, _is_whole)
    if not (folder / ABOUT_FILE).is_file():
        others = [found.about.name for found in _all(home)]
        of_others = f" ({home / FOLDER} has those of {listed(others)})" if others else ""
        raise CommandError(
            f"{name}: there is no checkpoint to resume{of_others}; run the cell without --resume."
        )
    try:
        return _read(folder)
    except (OSError, ValueError, AdapterError, RecursionError) as error:
        raise _unusable(folder, error) from error


def _read(folder: Path) -> Found:
    values = reading.parse_json(reading.read_text(folder / ABOUT_FILE, _ABOUT_BYTES))
    if not isinstance(values, dict):
        raise ValueError(f"{ABOUT_FILE}: expected an object")
    if values.get("format") != _FORMAT:
        raise ValueError(f"format {values.get('format')!r:.40}, expected {_FORMAT}")
    sums = values.pop(_SUMS, None)
    if not isinstance(sums, dict):
        raise ValueError(f"{_SUMS} is missing")
    found = checkpoint.record(About, values, {})
    if found.name != folder.name:
        raise ValueError(f"it is of the adapter {found.name[:64]!r}")
    if found.guard_before is not None and not math.isfinite(found.guard_before):
        raise ValueError("the guard's loss is not finite")
    return Found(folder, found, sums)


def _all(home: Path) -> Iterator[Found]:
    """All checkpoints that can be read."""
    try:
        folders = sorted((home / FOLDER).iterdir())
    except (OSError, ValueError):
        return
    for folder in folders:
        with suppress(OSError, ValueError, AdapterError, RecursionError):
            yield _read(folder)


def resumable(home: Path, base: BaseModel, attached: Mapping[str, LiveAdapter]) -> tuple[str, ...]:
    """A line for each run on this base that can be resumed.

    An adapter that is attached with another spec is not that of the run.
    """
    return tuple(
        f"{own.name} can be resumed at step {own.step:,} of {own.steps:,}: run its cell again with "
        "--resume"
        for own in (found.about for found in _all(home))
        if own.fingerprint == base.fingerprint.digest
        and (own.name not in attached or attached[own.name].spec == own.spec)
    )


def _is_whole(folder: Path) -> bool:
    """Are these the files of one checkpoint?"""
    try:
        found = _read(folder)
    except (OSError, ValueError, AdapterError, RecursionError):
        return False
    return all(found.sums.get(n) == _sum(folder / n) for n in (STATE_FILE, TENSORS_FILE))


def _sum(path: Path) -> str:
    reading.bytes_of(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Writing


def check_every(seconds: Any) -> float:
    """The seconds between two checkpoints; raises `CommandError` for anything but a number ≥ 0."""
    if not is_number(seconds) or not 0 <= seconds < float("inf"):
        raise CommandError(
            f"--checkpoint-every {seconds!r}: expected seconds from 0, 0 for no checkpoints."
        )
    return float(seconds)


class Disk(checkpoint.Keeper):
    """Writes a run's checkpoints into a home folder; `written` says whether the last one was.

    An error of the disk, or a lack of memory, costs the checkpoint and is told once.
    """

    def __init__(self, home: Path, run: About, every: float) -> None:
        self.written = False
        self.home, self.about, self.every, self._warned = home.absolute(), run, every, False
        self._folder = self.home / FOLDER / run.name
        self._due = time.monotonic() + every

    def last(self) -> Found | None:
        """The checkpoint that is there, of this run or of one before; None if none can be read."""
        with suppress(CommandError, TrainingError):
            return find(self.home, self.about.name)
        return None

    def again(self) -> Disk:
        """One for the same run in another process, which begins now."""
        return Disk(self.home, self.about, self.every)

    def between_steps(self, snapshot: Callable[[], Snapshot]) -> None:
        """Write one if it is time."""
        began = time.monotonic()
        if self.every and began >= self._due:
            self._write(snapshot)
            now = time.monotonic()
            self._due = now + max(self.every, (now - began) / _SHARE)

    def stopped(self, snapshot: Callable[[], Snapshot]) -> None:
        """Write one."""
        if self.every:
            self._write(snapshot)

    def remove(self) -> None:
        """Remove the checkpoint, and what a killed process left of one."""
        with suppress(OSError):
            if not self._folder.parent.is_dir():
                return
            with locked(self._folder, 0):
                for leftover in leftovers(self._folder):
                    shutil.rmtree(leftover, ignore_errors=True)
                if self._folder.exists() and not _foreign(self._folder):
                    (self._folder / ABOUT_FILE).unlink(missing_ok=True)
                    shutil.rmtree(self._folder)
            self._folder.parent.rmdir()

    def _write(self, snapshot: Callable[[], Snapshot]) -> None:
        self.written = False
        try:
            found = snapshot()
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            with locked(self._folder, 0):
                settle(self._folder, _is_whole)
                if _foreign(self._folder):
                    raise OSError("it has other files than a checkpoint's")
                replace(self._folder, lambda new: self._fill(new, found))
            self.written = True
        except (OSError, SafetensorError, MemoryError, RuntimeError) as error:
            if type(error) is RuntimeError and not out_of_memory(error):
                raise
            self._warn(error)

    def _fill(self, folder: Path, snapshot: Snapshot) -> None:
        tensors: dict[str, Tensor] = {}
        values = json.dumps(checkpoint.packed(snapshot, tensors))
        (folder / STATE_FILE).write_text(values, encoding="utf-8")
        save_file(tensors, str(folder / TENSORS_FILE))
        # safetensors creates files for their owner alone; these are files like any other.
        (folder / TENSORS_FILE).chmod((folder / STATE_FILE).stat().st_mode & 0o777)
        told = checkpoint.packed(self.about, {})
        told |= {"step": snapshot.progress.steps, "steps": snapshot.total}
        told[_SUMS] = {name: _sum(folder / name) for name in (STATE_FILE, TENSORS_FILE)}
        text = json.dumps(told, indent=2, ensure_ascii=False)
        (folder / ABOUT_FILE).write_text(text + "\n", encoding="utf-8")

    def _warn(self, error: Exception) -> None:
        if self._warned:
            return
        self._warned = True
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        # The run is quiet; this is for the person.
        with warnings.catch_warnings():
            warnings.simplefilter("always", CheckpointWarning)
            warnings.warn(
                f"{self.about.name}: no checkpoint could be written to {self._folder} ({reason}); "
                "the run goes on without. Make room, or choose another home: %lora load MODEL "
                "--home DIR",
                CheckpointWarning,
                stacklevel=2,
            )


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written."""


def _foreign(folder: Path) -> bool:
    """Is there anything but a checkpoint of ours at this path?"""
    if folder.is_symlink() or (os.path.lexists(folder) and not folder.is_dir()):
        return True
    return folder.is_dir() and not {path.name for path in folder.iterdir()} <= set(_FILES)
